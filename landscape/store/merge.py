"""Joining files of several machines or shards into one."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np

from .. import files
from ..errors import InputError, UsageError, one_line
from ..results import Result, stored_fields
from .file import changed, salvaged
from .groups import Entry, groups, put, read_entry, share
from .schema import content
from .store import Store, vectors_path

PREFERENCES = ("first", "last")


def merge(
    paths: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    prefer: str | None = None,
    lost: dict[str, str] | None = None,
) -> list[Entry]:
    """Joins stores into the one at `out`, and the vectors beside them into the one beside it; returns its entries.

    What stands at `out` already takes part as the first. The same digest twice is one result, under all its labels;
    what is finished takes the place of a part. Two results of one digest that differ in what was measured (not only in
    how the run went) are a conflict: InputError, unless `prefer` says which to take. Nothing is written before all is
    known to fit.

    With a dict for `lost`, of damaged files the results are taken whose own checksums are right; what is not taken is
    put there with the reason, by `file:/label/name`.
    """
    if prefer is not None and prefer not in PREFERENCES:
        raise UsageError(f"prefer must be one of {', '.join(PREFERENCES)}, got {prefer!r}")
    target = Path(out)
    beside = [vectors_path(path) for path in paths if vectors_path(path).exists()]
    joints = [(target, [Path(path) for path in paths]), *([(vectors_path(target), beside)] if beside else [])]
    for joint, _ in joints:
        files.require_writable(joint)
    read = [(joint, [(path, _entries(path, lost)) for path in sources]) for joint, sources in joints]
    with ExitStack() as stack:
        # All are joined in memory before the first is written.
        for joint, sources in read:
            file = stack.enter_context(changed(joint))
            for path, entries in sources:
                for entry in entries:
                    _join(file, joint, entry, path, prefer)
    return Store(target).entries()


def _entries(path: Path, lost: dict[str, str] | None) -> list[Entry]:
    try:
        return Store(path).entries()
    except InputError:
        if lost is None:
            raise
    try:
        entries, reasons = salvaged(path)
    except InputError as error:
        lost[str(path)] = one_line(error)
        return []
    lost |= {f"{path}:/{place}": reason for place, reason in reasons.items()}
    return entries


def _join(file: h5py.File, target: Path, entry: Entry, path: Path, prefer: str | None) -> None:
    kind = entry.result.kind
    held = [read_entry(p) for p in groups(file) if p.digest == entry.digest and p.kind == kind]
    whole = [other for other in held if not other.stopped]
    if entry.stopped and whole:
        share(file, entry.label, kind, entry.digest)
        return
    rivals = [other for other in held if other.stopped == entry.stopped]
    for other in rivals:
        if content(other.result, of_run=False) == content(entry.result, of_run=False):
            share(file, entry.label, kind, entry.digest)
            return
    if rivals and not _extends(entry.result, rivals[0].result):
        if prefer is None and not _extends(rivals[0].result, entry.result):
            raise InputError(
                f"{path}:/{entry.label}/{entry.name} and what {target} then holds at /{rivals[0].label}/"
                f"{rivals[0].name} have the same settings but differ in {difference(rivals[0].result, entry.result)}; "
                f"--prefer first or last"
            )
        if prefer != "last":
            share(file, entry.label, kind, entry.digest)
            return
    known = {"provenance": entry.provenance, "manifest": entry.manifest}
    attributes = {"digest": entry.digest, **{name: json.dumps(v, sort_keys=True) for name, v in known.items()}}
    put(file, entry.label, entry.result, attributes)


def _extends(more: Result, less: Result) -> bool:
    """Whether one part of a result holds all points of another, with the same numbers, and more."""
    if not (more.missing < less.missing):
        return False
    done = getattr(less, "point_status") != 0  # noqa: B009 - only what has points has missing ones
    for field in stored_fields(type(less)):
        a, b = getattr(more, field.name), getattr(less, field.name)
        if not isinstance(b, np.ndarray) or b.shape != done.shape:
            continue
        if not isinstance(a, np.ndarray) or not _equal(a[done], b[done]):
            return False
    return True


def difference(before: Result, now: Result) -> str:
    """The names of the measured fields that differ, arrays and numbers with the largest difference of all."""
    told = []
    for field in stored_fields(type(before)):
        a, b = getattr(before, field.name), getattr(now, field.name)
        if field.metadata.get("of_run") or _equal(a, b):
            continue
        numbers = all(isinstance(value, (np.ndarray, int, float)) for value in (a, b))
        if numbers and np.shape(a) == np.shape(b):
            with np.errstate(invalid="ignore"):
                apart = np.abs(np.asarray(a, dtype=float) - b)
            known = apart[np.isfinite(apart)]
            largest = np.max(np.abs(np.asarray(a)[np.isfinite(apart)]), initial=0.0) or 1.0
            told.append(f"{field.name} (by {np.max(known, initial=0.0) / largest:.1e} of the largest)")
        else:
            told.append(field.name)
    return ", ".join(told)


def _equal(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return np.float64(a).tobytes() == np.float64(b).tobytes() if _numbers(a, b) else a == b  # pyright: ignore


def _numbers(*values: object) -> bool:
    return all(isinstance(value, (int, float)) for value in values)
