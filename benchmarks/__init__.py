"""How good the harness itself is: each file is one command, `python -m benchmarks.<name>`.

Everything is a ratio or a difference within one run, interleaved; nothing else should work on the
machine meanwhile.
"""
