"""The results of a store by the names that figures give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from ..results import Result
from ..store import Entry

R = TypeVar("R", bound=Result)


def by_label(entries: list[Entry], kind: type[R]) -> Mapping[str, R]:
    """The results of a kind by label; where one label has several, by label and group."""
    found = [entry for entry in entries if isinstance(entry.result, kind)]
    labels = [entry.label for entry in found]
    names = [e.label if labels.count(e.label) == 1 else f"{e.label}, {e.name}" for e in found]
    return {name: e.result for name, e in zip(names, found, strict=True) if isinstance(e.result, kind)}
