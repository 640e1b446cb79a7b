"""The run folder: everything else in it can be rebuilt from the journal."""
