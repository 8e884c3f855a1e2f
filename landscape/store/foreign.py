"""Arrays and texts of another program's HDF5 file, read by a process of its own.

The rules of a store hold for it too: nothing outside the file is read, and nothing that claims to be larger than it.
Damage can make HDF5 loop for ever or crash, so this process parses no byte of the file: it gets the arrays as npz.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from .. import files
from ..errors import InputError, one_line
from . import watchdog
from .schema import SCHEMA_NAME

LEFT_OUT = 20  # names of other members to be told at most


@dataclass(frozen=True)
class Foreign:
    """What was found in a file of another program."""

    path: Path
    sha256: str
    arrays: Mapping[str, np.ndarray]  # float64
    texts: Mapping[str, str]
    left_out: Sequence[str]  # names of what else its root holds


def foreign(path: str | os.PathLike[str], what: str, arrays: Sequence[str], texts: Sequence[str] = ()) -> Foreign:
    """Those of the named data sets that the root of an HDF5 file holds; `what` says in messages what it should be.

    Raises InputError for what is missing, damaged, a store of landscape, not made of numbers, or kept elsewhere.
    """
    try:
        content = files.require_file(path, what).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {files.one_reason(error)}") from error
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
    asked = json.dumps([what, list(arrays), list(texts)])
    call = [sys.executable, "-c", "from landscape.store.foreign import hand_over; hand_over()", str(path), asked]
    limit = watchdog.SECONDS
    try:
        ran = subprocess.run(call, input=content, capture_output=True, timeout=limit, env=environment, check=False)
    except subprocess.TimeoutExpired as cut:
        raise InputError(f"{path} is damaged: reading it did not end in {limit:.0f} s; use a copy of it") from cut
    except OSError as error:
        raise InputError(f"cannot look through {path}: {one_line(error)}") from error
    if ran.returncode == watchdog.REFUSED:
        raise InputError(ran.stderr.decode(errors="replace"))
    if ran.returncode:
        raise InputError(f"{path} is damaged: reading it crashes HDF5; use a copy of it")
    with np.load(io.BytesIO(ran.stdout), allow_pickle=False) as found:
        numbers = {name: found[f"array/{name}"] for name in arrays if f"array/{name}" in found}
        words = {name: str(found[f"text/{name}"]) for name in texts if f"text/{name}" in found}
        left_out = found["left_out"].tolist()
    return Foreign(Path(path), hashlib.sha256(content).hexdigest(), numbers, words, left_out)


def hand_over() -> None:
    """Reads a file from stdin and writes what is asked for to stdout; leaves with 3 and a line on stderr if refused."""
    path, (what, arrays, texts) = sys.argv[1], json.loads(sys.argv[2])
    content, code = sys.stdin.buffer.read(), 0
    try:
        with h5py.File.in_memory(content) as file:
            if file.attrs.get("schema_name") == SCHEMA_NAME:
                raise InputError(f"{path} is a store of landscape, no {what}")
            names = list(file)
            found = dict(_found(file, path, len(content), names, arrays, texts))
        left_out = [name for name in names if name not in (*arrays, *texts)]
        found["left_out"] = np.array(left_out[:LEFT_OUT], dtype=str)
        body = io.BytesIO()
        np.savez(body, **found)  # pyright: ignore[reportArgumentType] - its own flags are no names of ours
        sys.stdout.buffer.write(body.getvalue())
    except Exception as error:  # whatever HDF5 makes of damage
        known = isinstance(error, InputError)
        sys.stderr.write(one_line(error) if known else f"{path} is no {what}, or damaged: {one_line(error)[:120]}")
        code = watchdog.REFUSED
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # without HDF5's own cleaning up, which may crash on what is damaged


def _found(
    file: h5py.File, path: str, size: int, names: Sequence[str], arrays: Sequence[str], texts: Sequence[str]
) -> Iterator[tuple[str, np.ndarray]]:
    for name in (name for name in (*arrays, *texts) if name in names):
        place = f"{path}:/{name}"
        # The link is looked at before it is followed: an external one could open any file of this machine.
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise InputError(f"{place} is a link out of its place; refused")
        member = file[name]
        if not isinstance(member, h5py.Dataset) or member.shape is None:
            raise InputError(f"{place} is no data set; refused")
        if member.external or member.is_virtual:
            raise InputError(f"{place} keeps its data outside the file; refused")
        if member.nbytes > size:
            raise InputError(f"{place} claims to be larger than the file; it is damaged")
        if name in arrays:
            if member.dtype.kind not in "iuf":
                raise InputError(f"{place} holds no numbers, but {member.dtype}; refused")
            yield f"array/{name}", np.asarray(member[()], dtype=np.float64)
        elif h5py.check_string_dtype(member.dtype) is not None and member.shape == ():
            yield f"text/{name}", np.array(member.asstr(errors="replace")[()])
