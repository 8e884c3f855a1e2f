"""A journal: the arrays that a deterministic computation made, in order, appended to a file as they come.

To go on, the computation runs again from its start, and is given these arrays in place of making them. So any
algorithm that spends its time in calls of one function can go on, to the same bits, without knowing of it.

The file is a sequence of records: a line of JSON (what was asked, the bytes and their CRC-32, the manifest), then the
array as numpy's `.npy`. The end of a file that was cut off in writing is dropped.
"""

from __future__ import annotations

import contextlib
import glob
import io
import json
import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import filelock
import numpy as np

from ..errors import InputError, ResourceError

SUFFIX = "journal"
FREE_SHARE = 0.25  # of what is free on the disk, that a journal may fill
HEAD = 1 << 20  # bytes of a record's line at most


def journal_path(store: Path, digest: str) -> Path:
    """Where the journal of a computation lies: beside the store that its result is for."""
    target = Path(os.path.realpath(store))
    return target.with_name(f"{target.name}.{digest[:16]}.{SUFFIX}")


def drop_journal(path: Path) -> None:
    """Removes a journal that nobody will go on with; ResourceError where a process is at work on it."""
    if path.exists():
        Journal(path, {}).close(remove=True)


def journals_of(store: Path) -> dict[Path, Mapping[str, Any]]:
    """The journals that wait beside a store, and what each says of its computation."""
    found = {}
    target = Path(os.path.realpath(store))
    for path in sorted(target.parent.glob(f"{glob.escape(target.name)}.{'?' * 16}.{SUFFIX}")):
        try:
            with open(path, "rb") as file:
                about = json.loads(file.readline(HEAD))["about"]
            found[path] = about if isinstance(about["settings"], dict) else {"settings": {}}
        except (OSError, ValueError, KeyError, TypeError):
            found[path] = {"settings": {}}  # cut off in its first line: nothing to go on with
    return found


class Journal:
    """An open journal: read from where it stands, then appended to. One process at a time.

    Args:
        path: the file; made with the first record.
        about: what identifies the computation, the same in each of its runs. What is left out is not compared.

    Raises ResourceError where another process has it open or the disk refuses, InputError where it is of another
    computation.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path, self.about = path, dict(about)
        self.count = 0  # records behind us
        self.manifest: Mapping[str, Any] = {}  # of the last of them; of the first before any
        self._lock = filelock.FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
        self._room: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self.replaying = path.exists()
            self._file: BinaryIO = open(path, "r+b" if self.replaying else "x+b")  # noqa: SIM115 - closed by close()
        except filelock.Timeout as error:
            raise ResourceError(f"another process works on {path}; wait for it") from error
        except OSError as error:
            self._lock.release()
            raise ResourceError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
        if self.replaying:
            head = self._head()
            self._file.seek(0)
            before = {} if head is None else head.get("about", {})
            if head is not None and any(before.get(name) != value for name, value in self.about.items()):
                self.close()
                raise InputError(f"{path} is the journal of another computation; remove it")
            self.manifest = {} if head is None else head["manifest"]

    def next(self, key: str) -> np.ndarray | None:
        """The next recorded array; None where there are no more. `key` tells what is asked now.

        InputError where something else was asked then: the computation does not repeat itself.
        """
        if not self.replaying:
            return None
        start = self._file.tell()
        found = self._record()
        if found is None:
            self._file.seek(start)
            self._file.truncate()
            self.replaying = False
            return None
        head, array = found
        if head["key"] != key:
            raise InputError(
                f"cannot resume bit for bit: {self.path} does not repeat itself at record {self.count + 1}; "
                f"--overwrite starts again"
            )
        self.count, self.manifest = self.count + 1, head["manifest"]
        return array

    def append(self, key: str, array: np.ndarray, manifest: Mapping[str, Any]) -> None:
        """Records an array; drops it where the disk has no room for more, so that going on begins earlier."""
        if self.replaying:
            raise AssertionError("a journal is read to its end before it is written")
        body = io.BytesIO()
        np.save(body, array, allow_pickle=False)
        payload = body.getvalue()
        if self._room is None:
            self._room = int(FREE_SHARE * shutil.disk_usage(self.path.parent).free)
        self._room -= len(payload)
        if self._room < 0:
            return
        head = {"about": self.about} if self.count == 0 else {}
        head |= {"key": key, "bytes": len(payload), "crc": zlib.crc32(payload), "manifest": dict(manifest)}
        try:
            self._file.write(json.dumps(head).encode() + b"\n" + payload)
            self._file.flush()
        except OSError:
            self._room = -1  # what was written in part is dropped when it is read
            return
        self.count += 1

    def close(self, *, remove: bool = False) -> None:
        """Closes the file; removes it where nothing is left to go on with. A disk that refuses leaves it at that."""
        with contextlib.suppress(OSError):  # what a full disk refused is dropped when it is read
            self._file.close()
        with contextlib.suppress(OSError):
            if remove or self.path.stat().st_size == 0:
                self.path.unlink()
        with contextlib.suppress(OSError):
            Path(self._lock.lock_file).unlink()  # while it is held: who waits for it gives up at once
        self._lock.release()

    def _head(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self._file.readline(HEAD))
            return found if {"key", "bytes", "crc", "manifest"} <= set(found) else None
        except (ValueError, TypeError):
            return None

    def _record(self) -> tuple[dict[str, Any], np.ndarray] | None:
        head = self._head()
        if head is None:
            return None
        payload = self._file.read(int(head["bytes"]))
        if len(payload) != head["bytes"] or zlib.crc32(payload) != head["crc"]:
            return None
        return head, np.load(io.BytesIO(payload), allow_pickle=False)
