"""A file with results of all kinds, and ways to damage its bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass

import h5py

from landscape.store import Store
from landscape.store.schema import write_result
from landscape.store.seal import LENGTH, MARK

from .common import KINDS, made

ROWS = 40  # arrays are short, so that most bytes are structure
KNOWN = ("digest", "provenance", "manifest")  # what is stored beside a result
ORIGIN = {"command": ["landscape", "plane"], "threads": 1, "seconds": 1.5, "created": "2026-01-01T00:00:00+00:00"}
MANIFEST = {"threads": 1, "cpu": "AVX2", "chunk": [64]}


@dataclass(frozen=True)
class Base:
    """A file before it is damaged, and the places of the bytes of its numbers and texts."""

    content: bytes
    values: tuple[int, ...]


def bases(folder):
    """One file three times: as the store wrote it, without its seal, and as another program might rewrite it."""
    store = Store(folder / "base.h5")
    for kind in KINDS:
        store.add("net", made(kind, 0, 0, ROWS), ORIGIN, MANIFEST)
    store.add("other", made("line", 1, 0, ROWS), ORIGIN, MANIFEST)
    store.share("other", store.find(kind="trace")[0])
    content = store.path.read_bytes()
    assert content[-LENGTH:].startswith(MARK)
    found = {"sealed": content, "unsealed": content[:-LENGTH], "old format": _old(store, folder / "old.h5")}
    return store.entries(), {name: Base(content, tuple(_values(content))) for name, content in found.items()}


def _old(store, path):
    """In HDF5's oldest format, which has no checksums of metadata."""
    with h5py.File(store.path) as source, h5py.File(path, "w", libver="earliest") as file:
        for name, value in source.attrs.items():
            file.attrs[name] = value
        for entry in store.entries():
            group = file.create_group(f"{entry.label}/{entry.name}")
            write_result(group, entry.result)
            for name, value in source[group.name].attrs.items():
                group.attrs.setdefault(name, value)
    assert len(Store(path).entries()) == len(store.entries())  # whole, before it is damaged
    return path.read_bytes()


def _values(content):
    """Places of the bytes of single numbers, which HDF5 has no checksum for, and of the texts of results."""
    places, texts = set(), set()

    def look(_name, member):
        if isinstance(member, h5py.Dataset):
            offset = member.id.get_offset()
            if offset is not None:
                places.update(range(offset, offset + member.nbytes))
        elif "settings" in member.attrs:
            texts.update(str(member.attrs[name]).encode() for name in ("settings", "status", *KNOWN))

    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(look)
    for text in texts:
        at = content.find(text)
        while at >= 0:
            places.update(range(at, at + len(text)))
            at = content.find(text, at + 1)
    return sorted(places)


def _flip(content, chance, number):
    for _ in range(number):
        content[_place(content, chance)] ^= chance.randrange(1, 256)
    return content


def _cut(content, chance):
    return content[: chance.randrange(1, len(content))]


def _splice(content, chance):
    """One part of the file over another."""
    length = chance.choice([8, 64, 512, 4096])
    source, target = _place(content, chance), _place(content, chance)
    part = content[source : source + length]
    content[target : target + len(part)] = part[: len(content) - target]
    return content


def _place(content, chance):
    """Most of a file of small results is room that nothing uses, so mostly a byte that is not zero."""
    place = chance.randrange(len(content))
    while content[place] == 0 and chance.random() < 0.95:
        place = chance.randrange(len(content))
    return place


def _value(content, chance, values):
    content[chance.choice(values)] ^= 1 << chance.randrange(8)
    return content


CHANGES = {
    "1 byte": lambda content, chance, _: _flip(content, chance, 1),
    "8 bytes": lambda content, chance, _: _flip(content, chance, 8),
    "64 bytes": lambda content, chance, _: _flip(content, chance, 64),
    "cut": lambda content, chance, _: _cut(content, chance),
    "splice": lambda content, chance, _: _splice(content, chance),
    "1 bit of a value": _value,
}
ROUND = ("sealed", "unsealed", "sealed", "old format")  # every other one is under its seal


def damaged(found, trial, chance):
    """Its base, the name of its change, and the bytes of a damaged file."""
    base, change = ROUND[trial % len(ROUND)], list(CHANGES)[trial // len(ROUND) % len(CHANGES)]
    before = found[base]
    return base, change, CHANGES[change](bytearray(before.content), chance, before.values)
