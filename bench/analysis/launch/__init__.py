"""The analysis of one launch: values, warm-up, contamination, learning curve, exact counts, profile."""
