"""Slices: the loss on lines and planes through parameter space."""

from ..resume import Watch
from .curvature import Curvature
from .directions import (
    NORMALISATIONS,
    Direction,
    direction_from_file,
    gradient_direction,
    normalised,
    orthogonalised,
    random_direction,
)
from .layers import layer_lines
from .line import line
from .plane import plane
from .projection import Marks, Trajectory, through_minima

__all__ = [
    "NORMALISATIONS",
    "Curvature",
    "Direction",
    "Marks",
    "Trajectory",
    "Watch",
    "direction_from_file",
    "gradient_direction",
    "layer_lines",
    "line",
    "normalised",
    "orthogonalised",
    "plane",
    "random_direction",
    "through_minima",
]
