"""Pages for the terminal, one file each."""
