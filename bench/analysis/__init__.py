"""Pure numbers on records: no files, no torch, no words."""
