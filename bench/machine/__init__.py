"""The machine that a run uses: its lock, processors, processes and telemetry, and what disturbs it (`doctor`)."""
