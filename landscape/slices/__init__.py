"""Slices: the loss on lines and planes through parameter space."""

from ..resume import Watch
from .directions import NORMALISATIONS, normalised, random_direction
from .line import line
from .plane import plane

__all__ = ["NORMALISATIONS", "Watch", "line", "normalised", "plane", "random_direction"]
