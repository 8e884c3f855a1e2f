"""Whether a store's file is what it says: checksums, schema, digests, masks against numbers, what waits beside it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py

from .. import files
from ..errors import InputError, one_line
from ..results import stored_fields
from ..resume import journals_of
from .file import opened
from .groups import Entry, Place, groups, read_entry
from .schema import SCHEMA_VERSION, described, is_plain_scale
from .seal import LENGTH, MARK, ForeignError
from .store import vectors_path


@dataclass(frozen=True)
class Problem:
    """Something about a file that its reader should know."""

    where: str  # the file, or the result in it
    what: str
    severe: bool  # what is stored is wrong; else only unfinished, or untidy


def verify(path: str | os.PathLike[str]) -> list[Problem]:
    """All problems of a store's file and of the vectors beside it, the severe ones first; empty where all is well.

    Reads everything once, and the inputs that provenance names where they still exist. Raises InputError where there
    is no file, or where it is that of another program or of a newer version.
    """
    own = Path(path)
    files.require_file(own, "HDF5 file")
    found = [*_of_file(own), *_beside(own)]
    vectors = vectors_path(own)
    if vectors.exists():
        found += [*_of_file(vectors), *_beside(vectors)]
    return sorted(found, key=lambda problem: not problem.severe)


def _of_file(path: Path) -> Iterator[Problem]:
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - LENGTH))
        if not file.read().startswith(MARK):
            what = "has no checksum at its end: it was cut off, or last written by another program"
            yield Problem(str(path), what, severe=False)
    changed: dict[str, bool] = {}
    try:
        with opened(path) as file:
            for place in groups(file):
                yield from _of_result(f"{path}:/{place.label}/{place.name}", place, changed)
    except ForeignError:
        raise
    except InputError as error:
        yield Problem(str(path), one_line(error), severe=True)


def _of_result(where: str, place: Place, changed: dict[str, bool]) -> Iterator[Problem]:
    try:
        entry = read_entry(place)
    except InputError as error:
        yield Problem(where, one_line(error), severe=True)
        return
    result = entry.result
    for line in result.problems():
        yield Problem(where, line, severe=True)
    if entry.stopped:
        yield Problem(where, f"is a part: {result.missing} points are missing; --resume goes on", severe=False)
    yield from _of_members(where, place.group, entry)
    for source, sha256 in _inputs(entry).items():
        if source not in changed:
            changed[source] = Path(source).is_file() and _sha256(Path(source)) != sha256
        if changed[source]:
            yield Problem(where, f"{source} has changed since this was measured", severe=False)


def _of_members(where: str, group: h5py.Group, entry: Entry) -> Iterator[Problem]:
    """Data sets that the schema does not know, or that lack what it says of them."""
    fields = {field.name: field for field in stored_fields(type(entry.result))}
    current = group.file.attrs["schema_version"] == SCHEMA_VERSION  # the texts belong to their version
    for name, member in group.items():
        if name not in fields:
            if not (isinstance(member, h5py.Dataset) and is_plain_scale(member)):
                yield Problem(where, f"holds {name}, which the schema does not know", severe=False)
            continue
        for attribute, expected in (described(fields[name], entry.result) if current else {}).items():
            if member.attrs.get(attribute) != expected:
                found = member.attrs.get(attribute)
                yield Problem(where, f"{attribute} of {name} is {found!r}, the schema says {expected!r}", severe=False)


def _beside(path: Path) -> Iterator[Problem]:
    for stale in files.stale_temporaries(path):
        yield Problem(str(stale), "was left by a killed process; the next write removes it", severe=False)
    for journal, about in journals_of(path).items():
        kind = about["settings"].get("kind", "computation")
        yield Problem(str(journal), f"is the journal of a stopped {kind}; --resume goes on", severe=False)


def _inputs(entry: Entry) -> Mapping[str, str]:
    found = entry.provenance.get("inputs", {})
    return found if isinstance(found, dict) else {}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
