"""Operators: symmetric matrices known by their products."""

from .base import AbstractOperator
from .congruent import Congruent
from .deflated import Deflated
from .dense import Dense
from .empirical_fisher import EmpiricalFisher
from .fisher import Fisher
from .gauss_newton import GaussNewton
from .gradient_covariance import GradientCovariance
from .hessian import Hessian
from .journaled import Journaled
from .shifted import Shifted

__all__ = [
    "AbstractOperator",
    "Congruent",
    "Deflated",
    "Dense",
    "EmpiricalFisher",
    "Fisher",
    "GaussNewton",
    "GradientCovariance",
    "Hessian",
    "Journaled",
    "Shifted",
]
