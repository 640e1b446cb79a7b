"""Untimed launches under torch.profiler: phases, operators, traces, stacks."""
