"""The one rule by which a result becomes an HDF5 group and back.

Arrays become data sets with dimension scales; numbers become scalar data sets; both carry `units` and `long_name`.
Text becomes an attribute; mappings and lists of text become JSON attributes. What is None is left out. The attribute
`content` is a sha256 over all of it. docs/schema.md is written from the same types.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from ..digest import canonical_json
from ..errors import InputError
from ..results import KINDS, Result, Status, finite, stored_fields

SCHEMA_NAME = "landscape"
# Rises with every change of the result types or of the rule; a file of each version lies in tests/stores.
SCHEMA_VERSION = 7
PLAIN_SCALE = b"This is a netCDF dimension but not a netCDF variable."


def write_result(group: h5py.Group, result: Result) -> None:
    """Fills an empty group with a result."""
    group.attrs["kind"] = result.kind
    for field in stored_fields(type(result)):
        value = getattr(result, field.name)
        if value is None:
            continue
        if isinstance(value, np.ndarray):
            _write_array(group, field, value, described(field, result))
        elif isinstance(value, str):
            group.attrs[field.name] = str(value)
        elif isinstance(value, (bool, int, float, np.bool_, np.number)):
            group.create_dataset(field.name, data=value).attrs.update(described(field, result))
        else:
            group.attrs[field.name] = json.dumps(finite(value), sort_keys=True)
    group.attrs["content"] = content(result)


def content(result: Result, *, of_run: bool = True) -> str:
    """sha256 over kind, fields, types, shapes and bits; without `of_run`, over what two runs must agree in."""
    state = hashlib.sha256(result.kind.encode())
    for field in stored_fields(type(result)):
        value = getattr(result, field.name)
        if value is None or (field.metadata.get("of_run", False) and not of_run):
            continue
        state.update(f"|{field.name}|".encode())
        if isinstance(value, np.ndarray):
            state.update(f"{value.dtype.str}{value.shape}".encode())
            state.update(np.ascontiguousarray(value).data)
        elif isinstance(value, (float, np.floating)):
            state.update(np.float64(value).tobytes())
        else:
            state.update(canonical_json(finite(value)).encode())
    return state.hexdigest()


def _write_array(group: h5py.Group, field: dataclasses.Field[Any], value: np.ndarray, about: Mapping[str, str]) -> None:
    dims: tuple[str, ...] = field.metadata["dims"]
    dataset = group.create_dataset(field.name, data=value, fletcher32=True)
    dataset.attrs.update(about)
    if dims == (field.name,):
        dataset.make_scale(field.name)
        return
    for axis, (name, size) in enumerate(zip(dims, value.shape, strict=True)):
        if name not in group:
            # The netCDF-4 convention for an axis without coordinates: a scale of which no bytes are stored.
            scale = group.create_dataset(name, shape=(size,), dtype=">f4")
            scale.make_scale(f"{PLAIN_SCALE.decode()}{size:10d}")
        scale = group[name]
        assert isinstance(scale, h5py.Dataset)
        if scale.shape != (size,):
            raise InputError(f"{field.name} has {size} points along {name}, which has {scale.shape[0]}; not stored")
        dataset.dims[axis].attach_scale(scale)


def is_plain_scale(dataset: h5py.Dataset) -> bool:
    """Whether a data set stands for an axis without coordinates only."""
    return dataset.attrs.get("NAME", b"").startswith(PLAIN_SCALE)


def described(field: dataclasses.Field[Any], result: Result) -> dict[str, str]:
    """What a data set says of itself."""
    return {"long_name": field.metadata["about"], "units": result.unit(field.name)}


def describe_anew(group: h5py.Group, result: Result) -> None:
    """Puts what the current version says of the fields in the place of what an older one said."""
    for field in stored_fields(type(result)):
        if isinstance(member := group.get(field.name), h5py.Dataset):
            member.attrs.update(described(field, result))


def read_result(group: h5py.Group) -> Result:
    """The result that `write_result` wrote. Raises InputError for a group of another make."""
    kind = group.attrs.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(f"{group.name} holds no known kind of result: {kind!r}")
    result_type = KINDS[str(kind)]
    values: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    try:
        for field in stored_fields(result_type):
            if field.name in group:
                values[field.name] = _read_member(group, field, sizes)
            elif field.name in group.attrs and _textual(field):
                values[field.name] = _text(field, group.attrs[field.name])
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise InputError(f"{group.name} is damaged: {error}") from error
    lacking = [f.name for f in stored_fields(result_type) if f.name not in values and _required(f)]
    if lacking:
        raise InputError(f"{group.name} lacks {', '.join(lacking)}: damaged, or of another version; compute it again")
    result = result_type(**values)
    written = group.attrs.get("content")
    if written is None and group.file.attrs["schema_version"] == 1:  # which had none
        return result
    if written != content(result):
        raise InputError(f"{group.name} is damaged: its content differs from its checksum; compute it again")
    return result


def _read_member(group: h5py.Group, field: dataclasses.Field[Any], sizes: dict[str, int]) -> Any:
    """A number or an array of the axes that the field names; ValueError where the file holds something else."""
    member, dims = group[field.name], field.metadata.get("dims", ())
    if not isinstance(member, h5py.Dataset) or member.dtype.kind not in "biuf" or len(member.shape or ()) != len(dims):
        raise ValueError(f"{field.name} is no array of {len(dims)} axes of numbers")
    if member.nbytes > group.file.id.get_filesize():
        raise ValueError(f"{field.name} claims to be larger than the file")
    for name, size in zip(dims, member.shape, strict=True):
        if sizes.setdefault(name, size) != size:
            raise ValueError(f"the axis {name} has {sizes[name]} and {size} points")
    return member[()] if dims else member[()].item()


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _text(field: dataclasses.Field[Any], value: Any) -> Any:
    if field.name == "status":
        return Status(str(value))
    kind = str(field.type)
    if "Mapping" in kind or "tuple" in kind:
        loaded = json.loads(value)
        if not isinstance(loaded, dict if "Mapping" in kind else list):
            raise ValueError(f"{field.name} holds JSON of another form")
        return loaded if isinstance(loaded, dict) else tuple(loaded)
    return str(value)


def _textual(field: dataclasses.Field[Any]) -> bool:
    return any(word in str(field.type) for word in ("str", "Status", "Mapping"))
