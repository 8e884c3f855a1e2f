"""Adding, finding and reading results."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import digest, files
from ..errors import InputError
from ..results import Result
from . import groups
from .file import changed, opened
from .groups import Entry
from .schema import content


def vectors_path(path: str | os.PathLike[str]) -> Path:
    """The store of large arrays beside a store: FILE.vectors.h5 for FILE.h5."""
    return Path(path).with_name(f"{Path(path).name.removesuffix('.h5')}.vectors.h5")


class Store:
    """An HDF5 file of results: `/<label>/<kind>`.

    A result is identified by the digest of its settings (which hold the contents of params and data), never by a
    file's name. Adding a result whose digest the file holds replaces it, under every label that shares it. Several
    processes may add to one file; readers never wait, and always see a whole file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def add(
        self,
        label: str,
        result: Result,
        provenance: Mapping[str, Any] | None = None,
        manifest: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds or replaces a result under a label; a part (status `stopped`) never replaces what is finished.

        Raises ResourceError where lock or disk refuse, InputError where the file is no store, or where the result
        contradicts itself, which `verify` would call damage.
        """
        _refuse_bad(label)
        _refuse_contradictions(result)
        content(result)  # what cannot be stored is a fault of the result: told before the file is touched
        attributes = {"digest": digest.of_settings(result.settings)}
        for name, known in (("provenance", provenance), ("manifest", manifest)):
            attributes[name] = json.dumps(dict(known or {}), sort_keys=True)
        with changed(self.path) as file:
            groups.put(file, label, result, attributes)

    def share(self, label: str, entry: Entry) -> None:
        """Puts an entry of this store under one more label; the file holds it once."""
        _refuse_bad(label)
        with changed(self.path) as file:
            groups.share(file, label, entry.result.kind, entry.digest)

    def entries(self) -> list[Entry]:
        """All results, in the order of labels and kinds in the file."""
        with opened(self.path) as file:
            return [groups.read_entry(place) for place in groups.groups(file)]

    def find(self, *, kind: str | None = None, label: str | None = None) -> list[Entry]:
        """The results of a kind and a label."""
        return [e for e in self.entries() if kind in (None, e.result.kind) and label in (None, e.label)]

    def same(self, settings: Mapping[str, Any], label: str | None = None) -> list[Entry]:
        """The entries with exactly these settings, parts included, of one label or of any; none without a file."""
        if not files.exists(self.path):
            return []
        key = digest.of_settings(settings)
        with opened(self.path) as file:
            return [
                groups.read_entry(place)
                for place in groups.groups(file)
                if place.digest == key
                and label in (None, place.label)
                and place.kind == settings.get("kind", place.kind)
            ]

    def about(self) -> dict[str, Any]:
        """Of the file: schema version, when it was created, and its bytes."""
        with opened(self.path) as file:
            created = str(file.attrs.get("created", ""))
            version = int(file.attrs["schema_version"])  # pyright: ignore[reportArgumentType] - opened() checked it
            return {"schema_version": version, "created": created, "bytes": self.path.stat().st_size}

    def check(self) -> None:
        """Raises InputError if something that is no store stands at the path, ResourceError if it cannot be written."""
        if files.exists(self.path) and not self.path.is_dir():
            with opened(self.path):
                pass
        files.require_writable(self.path)


def _refuse_bad(label: str) -> None:
    if not label or "/" in label or label in (".", "..") or not label.isprintable():
        raise InputError(f"a label must be a printable name without '/', got {label!r}")


def _refuse_contradictions(result: Result) -> None:
    """A command that made such a result has a fault; refused as input, so that what was computed is printed still."""
    for problem in result.problems():
        raise InputError(f"a {result.kind} that contradicts itself is not stored: {problem}; please report this")
