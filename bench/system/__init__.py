"""What every layer may use: git, paths, logs, signals, and JSON in and out."""
