"""Trained curves between two minima (Garipov et al. 2018)."""

from .curves import CURVES, arc_length, coefficients, point
from .path import path
from .training import Plan

__all__ = ["CURVES", "Plan", "arc_length", "coefficients", "path", "point"]
