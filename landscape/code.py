"""Fingerprints of code, for digests: two models of equal names and params may still compute different things."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

from torch import nn


def of_model(model: nn.Module) -> str:
    """sha256 over the model's structure and the source of its classes that are not torch's own."""
    classes = {type(module) for module in model.modules()}
    own = sorted(c.__qualname__ + _source(c) for c in classes if not c.__module__.startswith("torch."))
    return hashlib.sha256("\0".join([repr(model), *own]).encode()).hexdigest()


def of_function(function: Any) -> str | None:
    """sha256 over the source of a user's callable; None where there is none."""
    if function is None:
        return None
    return hashlib.sha256(_source(function if inspect.isroutine(function) else type(function)).encode()).hexdigest()


def _source(thing: Any) -> str:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):  # typed at a prompt, or compiled
        return ""
