"""Texts and pictures of results. No arithmetic except for layout."""
