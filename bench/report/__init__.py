"""Words and pictures: what was found, as people read it. No arithmetic beyond layout."""
