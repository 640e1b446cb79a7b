"""Thresholds that a project states in a file: how much each metric may change, and what follows if it does."""
