"""Faults put in on purpose, by name: a campaign that does not notice the one meant for it counts nothing.

Each replaces a part of landscape in this process by one that looks right until something goes wrong.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import filelock

from landscape import files
from landscape.store import file, groups, schema

from . import common

PIECES = 16
PAUSE = 0.004  # seconds after each: most of the time of a write


def in_place():
    """The target is opened and written, piece by piece."""

    def write(path, content):
        with open(path, "wb") as target:
            for at in range(0, len(content), 1 + len(content) // PIECES):
                target.write(content[at : at + 1 + len(content) // PIECES])
                target.flush()
                time.sleep(PAUSE)

    files.write_atomically = write


def no_sweep():
    """Nobody clears away what the dead left; a slow disk makes sure that they leave it."""
    fsync = os.fsync

    def slow(descriptor):
        time.sleep(0.02)
        fsync(descriptor)

    os.fsync = slow
    files.sweep_temporaries = lambda path: None


def no_lock():
    """Writers do not wait for each other; a slow disk makes sure that they meet."""
    write = files.write_atomically

    def slow(path, content):
        time.sleep(0.1)
        write(path, content)

    file._locked = lambda path: contextlib.nullcontext()
    files.write_atomically = slow


class _LockFile:
    """A lock that is a file's being there: who is killed leaves it locked."""

    def __init__(self, path, timeout=-1.0):
        self.path = Path(path)

    def __enter__(self):
        deadline = time.monotonic() + 1.0
        while True:
            try:
                return self.path.touch(exist_ok=False)
            except FileExistsError as error:
                if time.monotonic() > deadline:
                    raise filelock.Timeout(str(self.path)) from error
                time.sleep(0.01)

    def __exit__(self, *_):
        self.path.unlink()


def lock_file():
    """A lock that outlives its holder."""
    filelock.FileLock = _LockFile


def no_checks():
    """Neither seal nor watchdog nor checksums of results: whatever HDF5 makes of the bytes is believed."""
    common.HANG = 5.0  # HDF5 then does hang now and then
    follows_links()  # to look for links is to look at all of the file's structure
    file.unsealed = lambda content, path: content
    file.examined = lambda content, path: None
    schema.content = lambda result, **_: "the same for all"
    read = groups.read_result

    def unchecked(group):
        if "content" in group.attrs:
            group.attrs["content"] = "the same for all"
        return read(group)

    groups.read_result = unchecked


def follows_links():
    """Whatever a file leads to is followed."""
    file._refuse_outside_links = lambda *_: None


def swallows():
    """A failing disk is passed over in silence."""
    write = files.write_atomically

    def silent(path, content):
        with contextlib.suppress(Exception):
            write(path, content)

    files.write_atomically = silent


def forgets():
    """A run that is gone on with begins the current epoch's order anew."""
    from landscape.training import batches

    batches.Batches.restore = lambda self, order, position: None


PLANTS = {
    "in-place": in_place,
    "no-sweep": no_sweep,
    "no-lock": no_lock,
    "lock-file": lock_file,
    "no-checks": no_checks,
    "follows-links": follows_links,
    "swallows": swallows,
    "forgets": forgets,
}
