"""Files that lead out of themselves, to a named pipe that tells when it is opened."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import sys

import h5py
from landscape_cli.main import run

from landscape.errors import LandscapeError, one_line
from landscape.store import Store
from landscape.store.seal import sealed

from .common import Child, Count, Failures, add, fill, temporaries

PLACES = {"root": "/", "label": "/net-0", "result": "/net-0/plane"}
TARGET = "outside"
IN_OPEN = 0x20  # of inotify


def _external(parent, name):
    parent[name] = h5py.ExternalLink(TARGET, "/")


def _soft(parent, name):
    parent[name] = h5py.SoftLink("/net-0/line/loss")


def _dangling(parent, name):
    parent[name] = h5py.SoftLink("/nowhere")


def _storage(parent, name):
    parent.create_dataset(name, (15,), "f8", external=[(TARGET, 0, 120)])


def _virtual(parent, name):
    layout = h5py.VirtualLayout((15,), "f8")
    layout[:] = h5py.VirtualSource(TARGET, "secret", (15,))
    parent.create_virtual_dataset(name, layout)


def _virtual_unlimited(parent, name):
    layout = h5py.VirtualLayout((15,), "f8", maxshape=(None,))
    source = h5py.VirtualSource(TARGET, "secret", (15,), maxshape=(None,))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    parent.create_virtual_dataset(name, layout)


PLANTED = (_external, _soft, _dangling, _storage, _virtual, _virtual_unlimited)


def _show(path, _other):
    return run(["show", str(path)])


def _show_json(path, _other):
    return run(["show", str(path), "--json"])


def _merge(path, other):
    return run(["merge", str(path), "--out", str(other)])


def _add(path, _other):
    try:
        add(Store(path), "line", 0, 0)
    except LandscapeError as error:
        sys.stderr.write(one_line(error) + "\n")
        return error.exit_code
    return 0


READERS = (_show, _show_json, _merge, _add)


def links(size, seed, folder):
    """Every kind of way out, at every level, under a seal or not, to each way of reading."""
    cases = [
        (plant, place, under, reader)
        for plant in PLANTED
        for place in PLACES
        for under in (True, False)
        for reader in READERS
    ]
    step = 1 if size >= len(cases) else max(1, len(cases) // size)
    # a stride that shares no factor with the inner loops meets all of their values
    chosen = cases[:: step + 1 - step % 2] if step > 1 else cases
    plain, failures = folder / "plain.h5", Failures()
    fill(Store(plain), 1, rows=10)
    os.chdir(folder)
    for number, (plant, place, under, reader) in enumerate(chosen):
        path = folder / f"{number}.h5"
        path.write_bytes(plain.read_bytes())
        _spoil(path, plant, PLACES[place], under)
        name = f"{plant.__name__[1:]} at the {place}, {'sealed' if under else 'unsealed'}, {reader.__name__[1:]}"
        failures += [f"seed {seed}, {name}: {line}" for line in _judged(path, reader, folder)]
    return Count("links", len(chosen), failures)


def _spoil(path, plant, place, under):
    """Plants the way out while its target is a plain file, which then becomes a named pipe."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(TARGET)
    with h5py.File(path, "r+") as file:
        parent = file[place]
        name = "loss" if "loss" in parent else "way-out"
        if name in parent:
            del file[f"{place}/{name}"]
        plant(parent, name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(TARGET)
    os.mkfifo(TARGET)
    if under:
        path.write_bytes(sealed(path.read_bytes()))


def _judged(path, reader, folder):
    before, other = path.read_bytes(), folder / "other.h5"
    other.unlink(missing_ok=True)

    def work(say):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = reader(path, other)
        say([code, out.getvalue(), err.getvalue()])

    with Canary(TARGET) as canary:
        child = Child(work)
        while child.alive(0.01):
            canary.release()
        child.wait()
        if canary.opened():
            return ["what lies outside was opened"]
    if child.code != 0:
        return [f"ended with {child.code}: {child.said[-1:]}"]
    code, out, err = child.said[0]
    wrong = [] if code == 3 else [f"exit {code}: {err[-200:]!r}"]
    if out or err.count("\n") != 1 or "refused" not in err:
        wrong.append(f"not refused in one line: {out[-200:]!r} {err[-200:]!r}")
    if path.read_bytes() != before or temporaries(path) or other.exists():
        wrong.append("something was written")
    return wrong


class Canary:
    """A named pipe that knows whether it was opened, also by one who asks for reading and writing and never waits."""

    def __init__(self, path):
        self._path, libc = path, ctypes.CDLL(None, use_errno=True)
        self._events = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert libc.inotify_add_watch(self._events, os.fsencode(path), IN_OPEN) >= 0, os.strerror(ctypes.get_errno())
        self._seen = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._events)

    def opened(self):
        """Whether anybody has opened it so far."""
        with contextlib.suppress(BlockingIOError):
            self._seen = bool(os.read(self._events, 1 << 12)) or self._seen
        return self._seen

    def release(self):
        """Lets go who waits in opening it, for good."""
        if self.opened():
            with contextlib.suppress(OSError):
                os.close(os.open(self._path, os.O_WRONLY | os.O_NONBLOCK))
