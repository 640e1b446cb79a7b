"""A module beside a suite, as users have them."""

WIDTH = 8
