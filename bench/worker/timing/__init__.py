"""Timed launches: clocks, phases, memory peaks, and signs of contamination."""
