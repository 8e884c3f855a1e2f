"""Operators: symmetric matrices known by their products."""

from .base import AbstractOperator, to_scipy
from .dense import Dense
from .hessian import Hessian

__all__ = ["AbstractOperator", "Dense", "Hessian", "to_scipy"]
