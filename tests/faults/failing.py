"""A disk whose calls are counted, and fail when they are told to."""

from __future__ import annotations

import builtins
import os
from contextlib import ExitStack
from unittest.mock import patch


class Disk:
    """Stands between this process and the files under a folder while it is entered.

    Counts what opens a file for writing, writes, closes, syncs and renames; call number `at` raises `number`, and with
    `lasting` so does every later one, those that remove files among them.
    """

    def __init__(self, folder, at=0, number=0, lasting=False):
        self.folder, self.at, self.number, self.lasting = str(folder), at, number, lasting
        self.calls = []  # (what, path), the one that fails among them
        self._names = {}  # of descriptors

    def __enter__(self):
        self._stack = ExitStack()
        for owner, name, stand_in in (
            (builtins, "open", self._open),
            (os, "open", self._os_open),
            (os, "fsync", self._fsync),
            (os, "replace", self._renaming("replace")),
            (os, "rename", self._renaming("rename")),
            (os, "unlink", self._removing),
        ):
            setattr(self, f"_real_{name}" if owner is os else "_real_builtin", getattr(owner, name))
            self._stack.enter_context(patch.object(owner, name, stand_in))
        return self

    def __exit__(self, *_):
        self._stack.close()

    @property
    def failed(self):
        """The call that was to fail, (what, path); None where it never came."""
        return self.calls[self.at - 1] if 0 < self.at <= len(self.calls) else None

    def note(self, what, path):
        """Counts a call; OSError where it is to fail."""
        self.calls.append((what, str(path)))
        if len(self.calls) == self.at or (self.lasting and len(self.calls) > self.at):
            raise OSError(self.number, os.strerror(self.number), str(path))

    def _here(self, path):
        return isinstance(path, (str, os.PathLike)) and os.path.abspath(path).startswith(self.folder)

    def _open(self, path, mode="r", *rest, **named):
        if not self._here(path) or not set(mode) & set("wxa+"):
            return self._real_builtin(path, mode, *rest, **named)
        self.note("open", path)
        return _File(self, path, self._real_builtin(path, mode, *rest, **named))

    def _os_open(self, path, *rest, **named):
        if not self._here(path):
            return self._real_open(path, *rest, **named)
        self.note("os.open", path)
        descriptor = self._real_open(path, *rest, **named)
        self._names[descriptor] = str(path)
        return descriptor

    def _fsync(self, descriptor):
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if self._here(path):
            self.note("fsync", path)
        self._real_fsync(descriptor)

    def _renaming(self, name):
        def rename(source, target, **named):
            if self._here(target):
                self.note(name, target)
            getattr(self, f"_real_{name}")(source, target, **named)

        return rename

    def _removing(self, path, **named):
        if self.lasting and self._here(path) and len(self.calls) >= self.at > 0:
            self.note("unlink", path)
        self._real_unlink(path, **named)


class _File:
    """A file open for writing on such a disk."""

    def __init__(self, disk, path, real):
        self._disk, self._path, self._real = disk, path, real

    def __getattr__(self, name):
        return getattr(self._real, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def write(self, content):
        self._disk.note("write", self._path)
        return self._real.write(content)

    def flush(self):
        self._disk.note("flush", self._path)
        self._real.flush()

    def close(self):
        if not self._real.closed:
            self._real.close()
            self._disk.note("close", self._path)
