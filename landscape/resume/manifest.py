"""The manifest: what fixes the bits of a measurement besides its settings.

Sums over another number of threads, on another device or in other chunks round differently. What was begun under one
manifest goes on under that manifest or is refused, with what differs and the way back named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError

# Settings that fix how a thing is measured, not what is measured.
HOW = ("chunk", "hvp", "device", "version")
WAYS_BACK = {
    "threads": "set OMP_NUM_THREADS={}",
    "cpu": "set ATEN_CPU_CAPABILITY={}",
    "torch": "install torch {}",
    "chunk": "--chunk {}",
    "hvp": "--hvp {}",
    "device": "--device {}",
}


def different(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The names of what differs, or stands in one of them only."""
    names = [*now, *(name for name in before if name not in now)]
    return [name for name in names if before.get(name) != now.get(name)]


def refuse_other(what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """InputError naming all that differs between the manifest of what was begun and that of this run.

    `what` begins the line: what was begun, and where it lies.
    """
    names = different(before, now)
    if not names:
        return
    said = [f"{name} {_short(before.get(name))} (now {_short(now.get(name))})" for name in names]
    ways = [WAYS_BACK[name].format(_short(before[name])) for name in names if name in WAYS_BACK and name in before]
    raise InputError(
        f"cannot resume bit for bit: {what} was begun with {', '.join(said)}; "
        f"{', '.join([*ways, '--overwrite starts again'])}"
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
