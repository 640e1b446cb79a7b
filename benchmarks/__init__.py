"""How good the harness itself is: each file is one command, `python -m benchmarks.<name>`; --help says what it does.
Times given there are those of two quiet cores.

All figures are ratios or differences within one interleaved run. Nothing else should run on the machine meanwhile.
`workload.py` is what they share, `learning.py` the suite of `quality.py`.
"""
