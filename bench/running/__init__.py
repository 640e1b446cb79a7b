"""Launches in their order: worker processes as the parent sees them, rounds, and the search for the largest batch."""
