"""What all launches of a case say together: the estimate, the stop rule, time to quality, the largest batch."""
