"""The gate on time: two versions measured side by side, in one session."""
