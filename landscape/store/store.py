"""Adding, finding and reading results. A file is built in memory and renamed into place; readers never wait."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
import h5py
import numpy as np

from .. import digest, files
from ..errors import InputError, LandscapeError, ResourceError, one_line
from ..results import Result
from .schema import SCHEMA_NAME, SCHEMA_VERSION, read_result, write_result
from .seal import sealed, unsealed

LOCK_SECONDS = 60.0
DEPTH = 2  # levels of groups: labels, results


@dataclass(frozen=True)
class Entry:
    """One stored result and what is known about it."""

    label: str
    name: str  # of its group: the kind, with a suffix where one label has several
    digest: str
    result: Result
    provenance: Mapping[str, Any]


def vectors_path(path: str | os.PathLike[str]) -> Path:
    """The store of large arrays beside a store: FILE.vectors.h5 for FILE.h5."""
    return Path(path).with_suffix(".vectors.h5")


class Store:
    """An HDF5 file of results: `/<label>/<kind>`.

    A result is identified by the digest of its settings (which hold the contents of params and data), never by a
    file's name. Adding a result of the same label and digest replaces it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def add(self, label: str, result: Result, provenance: Mapping[str, Any] | None = None) -> None:
        """Adds or replaces a result under a label.

        Raises ResourceError where lock or disk refuse, InputError where the file is no store.
        """
        if not label or "/" in label or label in (".", ".."):
            raise InputError(f"a label must be a name without '/', got {label!r}")
        key = digest.of_settings(result.settings)
        with self._locked():
            files.sweep_temporaries(self.path)
            content = unsealed(self.path.read_bytes(), self.path) if self.path.exists() else None
            with self._damage_told(), self._image(content) as file:
                owner = file.get(label) or file.create_group(label, track_order=True)
                if not isinstance(owner, h5py.Group):
                    raise InputError(f"{self.path}:/{label} holds data of another program; choose another --label")
                group = _place(owner, result.kind, key)
                write_result(group, result)
                group.attrs["digest"] = key
                group.attrs["provenance"] = json.dumps(dict(provenance or {}), sort_keys=True)
                file.flush()
                image = file.id.get_file_image()
            files.write_atomically(self.path, sealed(image))

    def entries(self) -> list[Entry]:
        """All results, in the order of labels and kinds in the file."""
        with self._opened() as file:
            return [_entry(label, name, group) for label, name, group in _groups(file)]

    def find(self, *, kind: str | None = None, label: str | None = None) -> list[Entry]:
        """The results of a kind and a label."""
        return [e for e in self.entries() if kind in (None, e.result.kind) and label in (None, e.label)]

    def same(self, label: str, settings: Mapping[str, Any]) -> Entry | None:
        """The entry of this label with exactly these settings, if there is one (partial ones included)."""
        if not files.exists(self.path):
            return None
        key = digest.of_settings(settings)
        with self._opened() as file:
            for owner, name, group in _groups(file):
                if owner == label and group.attrs.get("digest") == key:
                    return _entry(owner, name, group)
        return None

    def check(self) -> None:
        """Raises InputError if something that is no store stands at the path, ResourceError if it cannot be written."""
        if files.exists(self.path) and not self.path.is_dir():
            with self._opened():
                pass
        files.require_writable(self.path)

    # -- the file ----------------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Hidden, since it stays behind: to delete a lock that others may wait for would break it.
        lock = self.path.with_name(f".{self.path.name}.lock")
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(lock, timeout=LOCK_SECONDS):
                yield
        except filelock.Timeout as error:
            raise ResourceError(
                f"another process has held {lock} for {LOCK_SECONDS:.0f} s; wait for it or use another --out"
            ) from error
        except OSError as error:
            raise ResourceError(f"cannot write {self.path}: {error.strerror or error}; choose another place") from error

    @contextmanager
    def _opened(self) -> Iterator[h5py.File]:
        if not files.exists(self.path):
            raise InputError(f"no store at {self.path}; check the path")
        path = files.require_file(self.path, "HDF5 file")
        try:
            content = unsealed(path.read_bytes(), path)
        except OSError as error:
            raise InputError(f"cannot read {path}: {files.one_reason(error)}") from error
        with self._damage_told(), self._image(content) as file:
            yield file

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        """What h5py raises for a damaged file, as an InputError."""
        try:
            yield
        except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, LandscapeError):
                raise
            raise InputError(f"{self.path} is damaged: {one_line(error)[:120]}") from error

    @contextmanager
    def _image(self, content: bytes | None) -> Iterator[h5py.File]:
        """A store in memory; a new one for None. Whole files are small: large arrays go beside, not inside."""
        try:
            # readable by HDF5 1.10 and later, whatever the library that wrote it
            options = {"track_order": True} if content is None else {}
            file = h5py.File.in_memory(content, libver=("v108", "v110"), **options)
        except OSError as error:
            raise InputError(f"{self.path} is no HDF5 file, or is damaged: {one_line(error)[:120]}") from error
        with file:
            if content is None:
                file.attrs["schema_name"] = SCHEMA_NAME
                file.attrs["schema_version"] = SCHEMA_VERSION
                file.attrs["created"] = datetime.now(UTC).isoformat(timespec="seconds")
            self._refuse_foreign(file)
            yield file

    def _refuse_foreign(self, file: h5py.File) -> None:
        if file.attrs.get("schema_name") != SCHEMA_NAME:
            raise InputError(f"{self.path} is an HDF5 file of another program, no store; name another file")
        version = file.attrs.get("schema_version")
        if not isinstance(version, (int, np.integer)):
            raise InputError(f"{self.path} has no readable schema version; it is damaged or of another program")
        if version > SCHEMA_VERSION:
            raise InputError(
                f"{self.path} has schema version {version}, this program knows {SCHEMA_VERSION}; update landscape"
            )
        _refuse_outside_links(file, str(self.path), DEPTH)


def _refuse_outside_links(group: h5py.Group, path: str, depth: int) -> None:
    """An external link, storage or virtual data set could read any file of this machine; deeper groups are not ours."""
    for name in group:
        if isinstance(group.get(name, getlink=True), (h5py.ExternalLink, h5py.SoftLink)):
            raise InputError(f"{path}:{group.name}/{name} is a link out of its place; refused")
        member = group[name]
        if isinstance(member, h5py.Dataset) and (member.external or member.is_virtual):
            raise InputError(f"{path}:{member.name} keeps its data outside the file; refused")
        if isinstance(member, h5py.Group):
            if depth == 0:
                raise InputError(f"{path}:{member.name} lies deeper than results do; refused")
            _refuse_outside_links(member, path, depth - 1)


def _groups(file: h5py.File) -> Iterator[tuple[str, str, h5py.Group]]:
    for label, owner in file.items():
        if isinstance(owner, h5py.Group):
            for name, group in owner.items():
                if isinstance(group, h5py.Group):
                    yield label, name, group


def _entry(label: str, name: str, group: h5py.Group) -> Entry:
    return Entry(label, name, str(group.attrs.get("digest", "")), read_result(group), _provenance(group))


def _provenance(group: h5py.Group) -> Mapping[str, Any]:
    try:
        return json.loads(str(group.attrs.get("provenance", "{}")))
    except ValueError as error:
        raise InputError(f"{group.name} is damaged: its provenance is no JSON") from error


def _place(owner: h5py.Group, kind: str, key: str) -> h5py.Group:
    """An empty group for a result: in the place of one with the same digest, else under the next free name."""
    for name, group in owner.items():
        if group.attrs.get("digest") == key:
            del owner[name]
            return owner.create_group(name, track_order=True)
    name, count = kind, 1
    while name in owner:
        count += 1
        name = f"{kind}-{count}"
    return owner.create_group(name, track_order=True)
