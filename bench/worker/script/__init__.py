"""A launch of a user's script: its loaders watched, its folders isolated."""
