"""Trace, diagonal and Frobenius norm of an operator from products with random vectors."""

from .estimate import METHODS, settings, trace

__all__ = ["METHODS", "settings", "trace"]
