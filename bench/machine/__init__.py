"""What surrounds a run on this machine."""
