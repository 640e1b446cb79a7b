"""Computations on records: no files, no torch, no texts for people."""
