"""Results for other programs: CSV, JSON, npz, surface files."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import digest, files
from ..results import Result, finite, stored_fields
from .groups import Entry
from .surface import chosen, surface_of

NAME = 100  # bytes of a label in a file's name at most


def export(entries: Sequence[Entry], form: str, folder: str | os.PathLike[str], stem: str) -> list[Path]:
    """Writes entries into files in a folder, named by `stem`; returns their paths.

    `csv`: STEM.csv with a row for each result (its numbers and texts), and for the arrays of each result that share
    axes a table STEM-LABEL-NAME-AXES.csv with a row for each point. `json`: STEM.json, all fields, non-finite numbers
    null. `npz`: STEM.npz, arrays named `label/name/field`. `surface`: STEM-LABEL-NAME.surface.h5 for each line and
    plane, as loss-landscape writes them (see `surface`); other kinds are passed over. Raises ResourceError where the
    disk refuses, InputError where a format has nothing to write.
    """
    written = []
    for name, content in FORMATS[form](entries, stem):
        files.write_atomically(Path(folder) / name, content)
        written.append(Path(folder) / name)
    return written


def described(entry: Entry) -> dict[str, Any]:
    """All that is stored of an entry, for JSON."""
    result = entry.result
    fields = {f.name: getattr(result, f.name) for f in stored_fields(type(result))}
    units = {name: result.unit(name) for name in fields if result.unit(name) != "1"}
    about = {"label": entry.label, "name": entry.name, "kind": result.kind, "digest": entry.digest}
    known = {"units": units, "provenance": entry.provenance, "manifest": entry.manifest}
    return finite({**about, **fields, **known})


def _json(entries: Sequence[Entry], stem: str) -> Iterator[tuple[str, bytes]]:
    text = json.dumps({"entries": [described(entry) for entry in entries]}, indent=1)
    yield f"{stem}.json", text.encode()


def _npz(entries: Sequence[Entry], stem: str) -> Iterator[tuple[str, bytes]]:
    arrays = {}
    for entry in entries:
        for name, value in _values(entry.result):
            plain = value if isinstance(value, (np.ndarray, int, float, str)) else json.dumps(finite(value))
            arrays[f"{entry.label}/{entry.name}/{name}"] = np.asarray(plain)
    body = io.BytesIO()
    np.savez_compressed(body, **arrays)
    yield f"{stem}.npz", body.getvalue()


def _csv(entries: Sequence[Entry], stem: str) -> Iterator[tuple[str, bytes]]:
    rows = [_row(entry) for entry in entries]
    head = list(dict.fromkeys(itertools.chain.from_iterable(rows)))
    yield f"{stem}.csv", _text([head, *([row.get(name) for name in head] for row in rows)])
    for entry in entries:
        for axes, columns in _tables(entry.result).items():
            name = "-".join((stem, _short(entry.label), entry.name, *axes))
            yield f"{name}.csv", _text([list(columns), *zip(*columns.values(), strict=True)])


def _surface(entries: Sequence[Entry], stem: str) -> Iterator[tuple[str, bytes]]:
    for entry, result in chosen(entries)[0]:
        yield f"{stem}-{_short(entry.label)}-{entry.name}.surface.h5", surface_of(result)


def _short(label: str) -> str:
    """A label that leaves room for the rest of a file's name, and is still that of one label only."""
    if len(label.encode()) <= NAME:
        return label
    return f"{label[: NAME // 4]}-{digest.of_settings({'label': label})[:12]}"


def _row(entry: Entry) -> dict[str, Any]:
    about = {"label": entry.label, "name": entry.name, "kind": entry.result.kind, "digest": entry.digest}
    plain = {name: value for name, value in _values(entry.result) if isinstance(value, (int, float, str))}
    return about | plain


def _tables(result: Result) -> Mapping[tuple[str, ...], Mapping[str, list[Any]]]:
    """Columns by the axes that they share; the positions of each point come first."""
    arrays = {f: getattr(result, f.name) for f in stored_fields(type(result)) if f.metadata.get("dims")}
    arrays = {field: value for field, value in arrays.items() if value is not None}
    positions = {field.name: value for field, value in arrays.items() if field.metadata["dims"] == (field.name,)}
    tables: dict[tuple[str, ...], dict[str, list[Any]]] = {}
    for field, value in arrays.items():
        axes = field.metadata["dims"]
        if field.name in positions:
            continue
        if axes not in tables:
            along = [positions.get(axis, np.arange(size)) for axis, size in zip(axes, np.shape(value), strict=True)]
            grids = np.meshgrid(*along, indexing="ij")
            tables[axes] = {axis: grid.ravel().tolist() for axis, grid in zip(axes, grids, strict=True)}
        tables[axes][field.name] = np.ravel(value).tolist()
    return tables


def _values(result: Result) -> Iterator[tuple[str, Any]]:
    """The stored fields that are there."""
    for field in stored_fields(type(result)):
        value = getattr(result, field.name)
        if value is not None:
            yield field.name, value


def _text(rows: Sequence[Sequence[Any]]) -> bytes:
    body = io.StringIO(newline="")
    csv.writer(body).writerows(rows)
    return body.getvalue().encode()


Writer = Callable[[Sequence[Entry], str], Iterator[tuple[str, bytes]]]
FORMATS: Mapping[str, Writer] = {"csv": _csv, "json": _json, "npz": _npz, "surface": _surface}
