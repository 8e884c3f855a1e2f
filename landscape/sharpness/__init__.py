"""Measures of sharpness at one point, by name or by their functions."""

from .by_name import measure
from .keskar import keskar
from .noise import average, pac_bayes
from .search import settings
from .shared import Shared
from .worst import sam, worst

__all__ = ["Shared", "average", "keskar", "measure", "pac_bayes", "sam", "settings", "worst"]
