"""The run folder: the journal is the truth, and everything else can be rebuilt from it."""
