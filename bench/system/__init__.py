"""Modules that every layer may use: git, paths, logs, signals, JSON."""
