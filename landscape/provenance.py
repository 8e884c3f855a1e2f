"""Provenance: where a result came from. Imports no torch, asks for versions only."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

PACKAGES = ("loss-landscape-toolkit", "torch", "numpy", "scipy", "h5py")


def provenance(
    *,
    command: Sequence[str],
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    seconds: float,
    threads: int | None,
    flags: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Command line, resolved settings, versions, machine, kernel flags, sha256 of the inputs by path, time taken."""
    return {
        "command": list(command),
        "settings": dict(settings),
        "versions": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": sys.platform,
        "threads": threads,
        "flags": dict(flags or {}),
        "inputs": dict(inputs),
        "seconds": round(seconds, 3),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
