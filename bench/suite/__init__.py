"""What is measured: suites, their axes and cases, selection by -k, and scripts as suites."""

from .matrix import Suite

__all__ = ["Suite"]
