"""Timed launches: clocks, phases, memory peaks, and what disturbed them."""
