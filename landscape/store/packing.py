"""Giving back the space of what was replaced: HDF5 does not reclaim it, and a part is replaced every second."""

from __future__ import annotations

import h5py
from h5py import h5a, h5o  # pyright: ignore[reportAttributeAccessIssue] - modules in C

from .groups import groups, read_entry

PACKED = "packed_bytes"  # root attribute: the size when it was packed last
GROWTH = 1.5  # times that, and SLACK, after which it is packed again: the cost of packing then follows what is written
SLACK = 256 * 1024
REFERENCES = (b"DIMENSION_LIST", b"REFERENCE_LIST")


def image_of(file: h5py.File) -> bytes:
    """The bytes of a file in memory, packed where too much of them is waste."""
    file.flush()
    image = file.id.get_file_image()
    if len(image) <= GROWTH * file.attrs.get(PACKED, 0) + SLACK:  # pyright: ignore[reportOperatorIssue]
        return image
    try:
        new = _packed(file)
    except (KeyError, OSError, RuntimeError, TypeError, ValueError):
        return image  # another program's data may not bear copying: better large than lost
    return new if len(new) < len(image) else image


def _packed(file: h5py.File) -> bytes:
    """A new file with all that is reachable, links between labels and axes included; each result read for a check."""
    with h5py.File.in_memory(libver=("v108", "v110"), track_order=True) as new:
        new.attrs.update(file.attrs)
        copied: dict[int, str] = {}
        for label, owner in file.items():
            if not isinstance(owner, h5py.Group):
                file.copy(owner, new, name=label)
                continue
            own = new.create_group(label, track_order=True)
            own.attrs.update(owner.attrs)
            for name, member in owner.items():
                address = h5o.get_info(member.id).addr
                if address in copied:
                    own[name] = new[copied[address]]
                else:
                    copied[address] = f"{label}/{name}"
                    file.copy(member, own, name=name)
        _attach_again(file, new)
        for place in groups(new):
            read_entry(place)
        new.flush()
        new.attrs[PACKED] = len(new.id.get_file_image())
        new.flush()
        return new.id.get_file_image()


def _attach_again(file: h5py.File, new: h5py.File) -> None:
    """Axes are object references, which point nowhere after a copy."""
    axes: dict[str, list[list[str]]] = {}

    def note(name: str, member: h5py.Dataset | h5py.Group) -> None:
        if isinstance(member, h5py.Dataset) and "DIMENSION_LIST" in member.attrs:
            axes[name] = [[scale.name or "" for scale in dimension.values()] for dimension in member.dims]

    file.visititems(note)

    def drop(name: str, member: h5py.Dataset | h5py.Group) -> None:  # noqa: ARG001
        for attribute in REFERENCES:
            if h5a.exists(member.id, attribute):
                h5a.delete(member.id, attribute)

    new.visititems(drop)
    for name, scales in axes.items():
        target = new[name]
        assert isinstance(target, h5py.Dataset)
        for dimension, places in zip(target.dims, scales, strict=True):
            for place in places:
                dimension.attach_scale(new[place])
