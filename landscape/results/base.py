"""What all results share: fields that say their axes, units and meaning, and the settings that identify a result.

The metadata of a field says how it is stored and labelled: `dims` names its axes (a field named like its only
axis is that axis's coordinate), `unit` and `about` go into the file. A field with `stored=False` stays in memory; one
with `of_run=True` tells how this run went, so that it may differ between runs of one result.
Every result carries `settings`, all that identifies it; its digest is `landscape.digest.of_settings(settings)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np

Array = np.ndarray


class Status(StrEnum):
    """How a measurement ended."""

    CONVERGED = "converged"
    COMPLETE = "complete"
    NOT_CONVERGED = "not converged"
    NOT_RESOLVED = "not resolved"
    STOPPED = "stopped"
    NON_FINITE = "non-finite"


def quantity(
    about: str, *, dims: tuple[str, ...] = (), unit: str = "1", optional: bool = False, of_run: bool = False
) -> Any:
    """A stored field: its meaning, its axes and its unit ("1" where it has none)."""
    metadata = {"about": about, "dims": dims, "unit": unit, "of_run": of_run}
    return field(default=None, metadata=metadata) if optional else field(metadata=metadata)


def mapping(about: str, *, of_run: bool = False, optional: bool = False) -> Any:
    """A stored field of names and JSON values; empty by default, None where it is optional."""
    if optional:
        return field(default=None, metadata={"about": about, "of_run": of_run}, repr=False)
    return field(default_factory=dict, metadata={"about": about, "of_run": of_run}, repr=False)


def in_memory(about: str) -> Any:
    """A field that is not stored."""
    return field(default=None, metadata={"about": about, "stored": False}, repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What all results share."""

    kind: ClassVar[str]
    status: Status = field(metadata={"about": "how the measurement ended"})
    settings: Mapping[str, Any] = field(metadata={"about": "all that identifies the result"}, repr=False)

    @property
    def missing(self) -> int:
        """Points that were not evaluated yet."""
        return 0

    def problems(self) -> list[str]:
        """Where the result contradicts itself, a line each: status against numbers, numbers against each other."""
        return []

    def unit(self, name: str) -> str:
        """The unit of a stored field of this result."""
        return next(f.metadata.get("unit", "1") for f in dataclasses.fields(self) if f.name == name)


def finite(value: Any) -> Any:
    """`value` for JSON: numpy to Python, non-finite numbers to None."""
    if isinstance(value, np.ndarray):
        return finite(value.tolist())
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value


def stored_fields(result_type: type[Result]) -> list[dataclasses.Field[Any]]:
    """The fields of a result type that go into a file, in order."""
    return [f for f in dataclasses.fields(result_type) if f.metadata.get("stored", True)]
