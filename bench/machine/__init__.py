"""The machine that a run uses: its lock, processors, processes and telemetry, and its sources of noise (`doctor`)."""
