"""Epochbench by its other name: what is installed as the package `bench`, so that `from bench import Suite` goes on."""

from epochbench.alias import take_over

take_over()
