"""The gate on time: two sides measured side by side, in one session."""
