"""Where results lie in a store's file: `/<label>/<kind>`, with a suffix where one label has several of a kind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import h5py

from .. import digest
from ..errors import InputError
from ..results import Result, Status
from .schema import SCHEMA_VERSION, content, describe_anew, is_plain_scale, read_result, write_result


@dataclass(frozen=True)
class Entry:
    """One stored result and what is known about it."""

    label: str
    name: str  # of its group: the kind, with a suffix where one label has several
    digest: str
    result: Result
    provenance: Mapping[str, Any]
    manifest: Mapping[str, Any]  # what fixes its bits beside the settings: needed to go on with it
    size: int  # bytes of its arrays and numbers

    @property
    def stopped(self) -> bool:
        """Whether it is a part that waits for the rest."""
        return self.result.status is Status.STOPPED


class Place(NamedTuple):
    """A result's group and its names."""

    label: str
    name: str
    group: h5py.Group

    @property
    def digest(self) -> str:
        """Of the settings, as it was stored."""
        return str(self.group.attrs.get("digest", ""))

    @property
    def kind(self) -> str:
        """Of the result."""
        return str(self.group.attrs.get("kind", ""))

    @property
    def stopped(self) -> bool:
        """Whether a part of a result lies here."""
        return self.group.attrs.get("status") == Status.STOPPED


def groups(file: h5py.File) -> Iterator[Place]:
    """All results' groups, in the order of labels and results in the file."""
    for label, owner in file.items():
        if isinstance(owner, h5py.Group):
            for name, group in owner.items():
                if isinstance(group, h5py.Group):
                    if not (label.isprintable() and name.isprintable()):
                        raise InputError(f"the name {f'/{label}/{name}'!r} is damaged: it is no text")
                    yield Place(label, name, group)


def read_entry(place: Place) -> Entry:
    """The entry of a group; InputError where it is damaged."""
    group = place.group
    members = [member for member in group.values() if isinstance(member, h5py.Dataset)]
    size = sum(member.nbytes for member in members if not is_plain_scale(member))
    provenance, manifest = (_json(group, name) for name in ("provenance", "manifest"))
    result = read_result(group)
    if group.file.attrs["schema_version"] != 1 and group.attrs.get("origin") != _origin(group):  # 1 had none
        raise InputError(f"{group.name} is damaged: where it came from differs from its checksum; compute it again")
    if place.digest != digest.of_settings(result.settings):
        raise InputError(f"{group.name} is damaged: its digest is not that of its settings; compute it again")
    return Entry(place.label, place.name, place.digest, result, provenance, manifest, size)


def put(file: h5py.File, label: str, result: Result, attributes: Mapping[str, str]) -> None:
    """Puts a result into a file under a label, and in the place of all that is the same, under any label.

    `attributes` are its digest and what else is known of it. A part of a result takes the place of a part only: what
    is finished stays until the whole is there.
    """
    part = result.status is Status.STOPPED
    same = _same(file, result.kind, attributes["digest"])
    if part and any(_reaches_further(place, result, attributes["manifest"]) for place in same):
        return  # of another process at work on the same
    # By name: HDF5 gives the space of a group that is still open free only when it is closed.
    replaced = [(place.label, place.name) for place in same if place.stopped or not part]
    del same
    owner = _owner(file, label)
    owned = [name for place, name in replaced if place == label]
    others = {place: name for place, name in reversed(replaced) if place != label}
    orders = {place: list(_owner(file, place)) for place, _ in replaced}
    for place, name in replaced:
        del file[f"{place}/{name}"]
    group = owner.create_group(owned[0] if owned else free_name(owner, result.kind), track_order=True)
    write_result(group, result)
    group.attrs.update(attributes)
    group.attrs["origin"] = _origin(group)
    for other, name in others.items():
        _owner(file, other)[name] = group  # a hard link: one result under several labels
    for name, order in orders.items():
        _reorder(_owner(file, name), order)


def _reaches_further(place: Place, part: Result, manifest: str) -> bool:
    """Whether a part that was made under the same conditions, so to the same bits, has fewer missing points."""
    alike = place.stopped and place.group.attrs.get("manifest") == manifest
    return alike and read_result(place.group).missing < part.missing


def upgrade(file: h5py.File) -> None:
    """Brings a file of an older version to the current one, before it is written into."""
    if file.attrs["schema_version"] < SCHEMA_VERSION:  # pyright: ignore[reportOperatorIssue] - checked on opening
        for place in groups(file):
            result = read_result(place.group)
            describe_anew(place.group, result)
            place.group.attrs["content"] = content(result)
            place.group.attrs["origin"] = _origin(place.group)
        file.attrs["schema_version"] = SCHEMA_VERSION


def _origin(group: h5py.Group) -> str:
    """sha256 of what is stored beside a result."""
    known = [str(group.attrs.get(name, "")) for name in ("digest", "provenance", "manifest")]
    return digest.of_settings({"known": known})


def _reorder(owner: h5py.Group, order: list[str]) -> None:
    """Puts members back into an order: that in which their links were made is that in which they are listed."""
    for name in order:
        if name in owner:
            owner.move(name, f".{name}")
            owner.move(f".{name}", name)


def share(file: h5py.File, label: str, kind: str, key: str) -> None:
    """Puts a result that the file holds under one more label, without a copy."""
    held = _same(file, kind, key)
    if held and all(place.label != label for place in held):
        owner = _owner(file, label)
        owner[free_name(owner, kind)] = next((place for place in held if not place.stopped), held[0]).group


def _same(file: h5py.File, kind: str, key: str) -> list[Place]:
    return [place for place in groups(file) if place.digest == key and place.kind == kind]


def free_name(owner: h5py.Group, kind: str) -> str:
    """The kind, or with the first number that is free."""
    name, count = kind, 1
    while name in owner:
        count += 1
        name = f"{kind}-{count}"
    return name


def _owner(file: h5py.File, label: str) -> h5py.Group:
    owner = file.get(label) or file.create_group(label, track_order=True)
    if not isinstance(owner, h5py.Group):
        raise InputError(f"{file.filename}:/{label} holds data of another program; choose another --label")
    return owner


def _json(group: h5py.Group, name: str) -> Mapping[str, Any]:
    try:
        found = json.loads(str(group.attrs.get(name, "{}")))
    except ValueError as error:
        raise InputError(f"{group.name} is damaged: its {name} is no JSON") from error
    if not isinstance(found, dict):
        raise InputError(f"{group.name} is damaged: its {name} is no mapping")
    return found
