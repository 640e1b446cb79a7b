"""The exit codes of the command line; where several apply, the first of 130/143, 70, 2, 4, 5, 1, 3."""

REGRESSED = 1  # a comparison found a regression
USAGE = 2  # something that the user can fix
UNDECIDED = 3  # a comparison could not be decided, or a budget ended before each case had a launch
NOT_COMPARABLE = 4
FAILED = 5  # at least one case failed
FAULT = 70  # a fault of Epochbench itself
INTERRUPTED = 130  # and 143 for SIGTERM: 128 and the number of the signal
