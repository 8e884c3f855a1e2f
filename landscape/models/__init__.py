"""Networks by name, and those that a user brings by SPEC."""

from .registry import BUILTIN, build_model, resolve_model

__all__ = ["BUILTIN", "build_model", "resolve_model"]
