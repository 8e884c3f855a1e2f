"""Digests: what identifies data, params and results by content, never by a file's name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """sha256 over names, types, shapes and bytes, in the order of the names."""
    state = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        state.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        state.update(array.data)
    return state.hexdigest()


def of_settings(settings: Mapping[str, Any]) -> str:
    """sha256 over the canonical JSON of `settings`."""
    return hashlib.sha256(canonical_json(settings).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
