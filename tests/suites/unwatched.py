"""A script that nobody has put a line into."""

print("nothing to watch")
