"""A checksum behind the HDF5 image, where HDF5 does not look.

HDF5 checks its metadata and our arrays (fletcher32), but not the heap that holds text: one flipped bit there can
make the library loop for ever. The seal is checked before a byte is parsed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import InputError

MARK = b"\nlandscape sha256 "
LENGTH = len(MARK) + 64


class ForeignError(InputError):
    """The file of another program, or of a newer version of this one."""


def sealed(image: bytes) -> bytes:
    """The image with its sha256 behind it."""
    return image + MARK + hashlib.sha256(image).hexdigest().encode()


def unsealed(content: bytes, path: Path) -> bytes:
    """The image; InputError where its checksum fails.

    A file without a seal was last written by another program, which drops it: it is read as it is.
    """
    image, seal = content[:-LENGTH], content[-LENGTH:]
    if not seal.startswith(MARK):
        return content
    if sealed(image) != content:
        raise InputError(
            f"{path} is damaged: its checksum fails; use a copy, or take what is whole by `merge --salvage`"
        )
    return image
