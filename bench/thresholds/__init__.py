"""Thresholds in a project's file: how much each metric may change, and what happens beyond that."""
