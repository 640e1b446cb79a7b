"""Untimed launches that count: operators, FLOPs, bytes, allocations."""
