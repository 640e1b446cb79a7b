"""How good the harness itself is: each file is one command, `python -m benchmarks.<name>`; --help explains it. The
durations given there are for two quiet cores.

All figures are ratios or differences within one interleaved run. Nothing else should run on the machine meanwhile.
`workload.py` has what they share, `learning.py` the suite of `quality.py`.
"""
