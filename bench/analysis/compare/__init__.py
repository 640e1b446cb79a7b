"""From two sides to verdicts: what is compared, the ratio with its interval, the verdict, and which phase moved."""
