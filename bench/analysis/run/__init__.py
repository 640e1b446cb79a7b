"""The analysis of all launches of a case: the estimate, the stop rule, time to quality, the largest batch."""
