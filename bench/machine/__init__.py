"""The machine that a run uses: its lock, processors, processes, telemetry, and what disturbs measurements (`doctor`)."""
