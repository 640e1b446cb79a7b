"""Epochbench under its other name: installed as the package `bench`, so that `from bench import Suite` works."""

from epochbench.alias import take_over

take_over()
