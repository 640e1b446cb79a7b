"""Launches in their order: the process border seen from the parent, rounds, and searches made of launches."""
