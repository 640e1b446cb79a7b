"""What one launch says: its values, its warm-up, whether something disturbed it, what its counts and profile show."""
