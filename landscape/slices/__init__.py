"""Slices: the loss on lines and planes through parameter space."""

from .directions import NORMALISATIONS, normalised, random_direction
from .line import line
from .plane import plane
from .points import Watch

__all__ = ["NORMALISATIONS", "Watch", "line", "normalised", "plane", "random_direction"]
