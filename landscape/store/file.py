"""The file of a store: read whole into memory, changed there, and renamed into place. Readers never wait."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import filelock
import h5py
import numpy as np
from h5py import h5d, h5g, h5l, h5o  # pyright: ignore[reportAttributeAccessIssue] - modules in C

from .. import files
from ..errors import InputError, LandscapeError, ResourceError, one_line
from .groups import Entry, groups, read_entry, upgrade
from .packing import image_of
from .schema import SCHEMA_NAME, SCHEMA_VERSION
from .seal import LENGTH, MARK, ForeignError, sealed, unsealed
from .watchdog import examined, surveyed

LOCK_SECONDS = 60.0
DEPTH = 2  # levels of groups: labels, results


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """A store's file for reading. InputError where there is none, or where it is damaged, foreign or newer."""
    if not files.exists(path):
        raise InputError(f"no store at {path}; check the path")
    found = files.require_file(path, "HDF5 file")
    try:
        content = found.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {files.one_reason(error)}") from error
    with _damage_told(path), image(_checked(content, path), path) as file:
        yield file


def salvaged(path: Path) -> tuple[list[Entry], dict[str, str]]:
    """The results of a damaged file whose own checksums are right, and why the others are lost, by `label/name`."""
    content = files.require_file(path, "HDF5 file").read_bytes()
    inner = content[:-LENGTH] if content[-LENGTH:].startswith(MARK) else content
    whole, lost = surveyed(inner, path)
    with _damage_told(path), image(inner, path) as file:
        return [read_entry(place) for place in groups(file) if f"{place.label}/{place.name}" in whole], lost


@contextmanager
def changed(path: Path) -> Iterator[h5py.File]:
    """A store's file for changing, a new one where there is none; replaced on leaving, and as it was on failure.

    The lock is held meanwhile, so what needs long is done before. Raises ResourceError where lock or disk refuse.
    """
    with _locked(path):
        files.sweep_temporaries(path)
        content = _checked(path.read_bytes(), path) if path.exists() else None
        with _damage_told(path), image(content, path) as file:
            upgrade(file)
            yield file
            new = image_of(file)
        files.write_atomically(path, sealed(new))


@contextmanager
def image(content: bytes | None, path: Path) -> Iterator[h5py.File]:
    """A store in memory; a new one for None. Whole files are small: large arrays go beside, not inside."""
    try:
        # readable by HDF5 1.10 and later, whatever the library that wrote it
        options = {"track_order": True} if content is None else {}
        file = h5py.File.in_memory(content, libver=("v108", "v110"), **options)
    except OSError as error:
        kind = InputError if b"landscape" in (content or b"") else ForeignError
        raise kind(f"{path} is no HDF5 file, or is damaged: {one_line(error)[:120]}") from error
    with file:
        if content is None:
            file.attrs["schema_name"] = SCHEMA_NAME
            file.attrs["schema_version"] = SCHEMA_VERSION
            file.attrs["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        else:
            _refuse_foreign(file, path)
        yield file


def lock_of(path: Path) -> Path:
    """Hidden, since it stays behind: to delete a lock that others may wait for would break it.

    Of the file itself, not of a link to it: all who write it must meet there.
    """
    target = Path(os.path.realpath(path))
    return target.with_name(f".{target.name}.lock")


def _checked(content: bytes, path: Path) -> bytes:
    """The HDF5 image within a file. One without a seal is looked through by a process that may hang or crash."""
    inner = unsealed(content, path)
    if inner is content:
        examined(content, path)
    return inner


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = lock_of(path)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(lock, timeout=LOCK_SECONDS):
            yield
    except filelock.Timeout as error:
        raise ResourceError(
            f"another process has held {lock} for {LOCK_SECONDS:.0f} s; wait for it or use another --out"
        ) from error
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """What h5py raises for a damaged file, as an InputError."""
    try:
        yield
    except (KeyError, OSError, RuntimeError, SystemError, TypeError, ValueError) as error:
        if isinstance(error, InputError) and str(error).startswith("/") and not str(error).startswith(str(path)):
            raise InputError(f"{path}:{error}") from error
        if isinstance(error, LandscapeError):
            raise
        raise InputError(f"{path} is damaged: {one_line(error)[:120]}") from error


def _refuse_foreign(file: h5py.File, path: Path) -> None:
    if file.attrs.get("schema_name") != SCHEMA_NAME:
        raise ForeignError(f"{path} is an HDF5 file of another program, no store; name another file")
    version = file.attrs.get("schema_version")
    if not isinstance(version, (int, np.integer)):
        raise InputError(f"{path} has no readable schema version; it is damaged or of another program")
    if version > SCHEMA_VERSION:
        raise ForeignError(
            f"{path} has schema version {version}, this program knows {SCHEMA_VERSION}; update landscape"
        )
    _refuse_outside_links(file, path)


def _refuse_outside_links(file: h5py.File, path: Path) -> None:
    """An external link, storage or virtual data set could read any file of this machine; deeper groups are not ours.

    By HDF5's own walk over the links, which opens no target: ten times faster than h5py's objects one by one.
    """

    def look(name: bytes, link: h5l.LinkInfo) -> str | None:
        place = f"{path}:/{name.decode(errors='replace')}"
        if link.type != h5l.TYPE_HARD:
            return f"{place} is a link out of its place; refused"
        member = h5o.open(file.id, name)
        if isinstance(member, h5g.GroupID) and name.count(b"/") >= DEPTH:
            return f"{place} lies deeper than results do; refused"
        if isinstance(member, h5d.DatasetID):
            plan = member.get_create_plist()
            if plan.get_layout() == h5d.VIRTUAL or plan.get_external_count():
                return f"{place} keeps its data outside the file; refused"
        return None

    found = file.id.links.visit(look, info=True)
    if found is not None:
        raise InputError(found)
