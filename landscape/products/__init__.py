"""Matrix-vector products of an objective's curvature matrices, chunk by chunk: right first, then fast."""

from .engine import PATHS, Engine
from .forms import Form, GramForm, HessianForm

__all__ = ["PATHS", "Engine", "Form", "GramForm", "HessianForm"]
