"""Every single call to the disk failing, in every kind of write."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from landscape_cli.main import run

from landscape.errors import LandscapeError, one_line
from landscape.resume import points
from landscape.store import Store
from landscape.store.schema import content

from .common import KINDS, Count, Failures, add, temporaries
from .failing import Disk
from .resumed import MODEL

ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES)
# Where a failure may be got over: a lock that exists already is opened in another way, a journal ends where it fails.
SPARE = (".lock", ".journal")
ROWS = 50
FEW = 24  # trials, below which ways of writing that load torch are left out


@dataclass(frozen=True)
class Writing:
    """A way of writing a store: the files before it, and what is done, which gives exit code and stderr."""

    name: str
    work: Callable[[], tuple[int, str]]
    old: bool = True  # whether there is a file before


def writings(few):
    """All ways of writing; of the commands those that load torch are left out for a few trials."""
    store = Store("r.h5")
    found = [
        Writing("Store.add to a new file", lambda: _called(lambda: add(store, "trace", 5, 5, ROWS)), old=False),
        Writing("Store.add", lambda: _called(lambda: add(store, "trace", 5, 5, ROWS))),
        Writing("Store.add of a part", lambda: _called(lambda: add(store, "line", 0, 5, ROWS))),
        Writing("Store.share", lambda: _called(lambda: store.share("shared", store.find(kind="plane")[0]))),
        Writing("merge", lambda: _command("merge", "source.h5", "--out", "r.h5")),
    ]
    if few:
        return found
    eigen = ("eigen", "-k", "1", "--hvp", "double", "--out", "r.h5")
    found += [
        Writing("sharpness", lambda: _command("sharpness", "--iterations", "1", *MODEL, "--out", "r.h5")),
        Writing("line, saved at each point", lambda: _line(stop_at=0)),
        Writing("line, stopped", lambda: _line(stop_at=4)),
        Writing("eigen", lambda: _command(*eigen, *MODEL, "--resume")),
        Writing("eigen with vectors", lambda: _command(*eigen, *MODEL, "--resume", "--save-vectors")),
    ]
    return found


def failing_calls(size, seed, folder):
    """Each call of each way of writing fails, in each way. Of fewer trials than all, evenly many of each."""
    os.chdir(folder)
    old = _before(seed, folder)
    trials, clean = [], {}
    for writing in writings(size < FEW):
        _lay(folder, old, writing)
        with Disk(folder) as disk:
            code, err = writing.work()
        assert code in (0, 6), (writing.name, err)
        clean[writing.name] = code, _held(folder)
        ways = [(number, False) for number in ERRORS] + [(errno.EIO, True)]
        trials += [(writing, at + 1, *way) for at in range(len(disk.calls)) for way in ways]
    chosen = trials if size >= len(trials) else [trials[i * len(trials) // size] for i in range(size)]
    failures, kinds = Failures(), {}
    for writing, at, number, lasting in chosen:
        _lay(folder, old, writing)
        disk = Disk(folder, at, number, lasting)
        wrong = _judged(writing, disk, folder, old, clean[writing.name])
        what = disk.failed[0] if disk.failed else "none"
        kinds[what] = kinds.get(what, 0) + 1
        name = f"{writing.name}, call {at} ({what}) {errno.errorcode[number]}{' and all after' if lasting else ''}"
        failures += [f"seed {seed}, {name}: {line}" for line in wrong]
    told = ", ".join(f"{what} {number}" for what, number in sorted(kinds.items()))
    return Count("failing calls", len(chosen), failures, f"{len(clean)} ways of writing; {told}")


# -- what is there before, and what is done -------------------------------------------------------------------------


def _before(seed, folder):
    """The files there are before each write: a store of all kinds; one to be merged, with vectors beside."""
    for name, kinds, slot in (("r", KINDS, 0), ("source", KINDS, 1), ("source.vectors", ["eigenvectors"], 1)):
        store = Store(folder / f"{name}.h5")
        for kind in kinds:
            add(store, kind, slot, seed, ROWS)
    return {path.name: path.read_bytes() for path in folder.glob("*.h5")}


def _lay(folder, old, writing):
    """Only these files."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, content_ in old.items():
        if writing.old or name != "r.h5":
            (folder / name).write_bytes(content_)


def _called(work):
    """A call of the library, told as a command would."""
    try:
        work()
    except LandscapeError as error:
        return error.exit_code, f"landscape: {one_line(error)}\n"
    return 0, ""


def _command(*words):
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        code = run(list(words))
    return code, err.getvalue()


def _line(stop_at):
    """A line that is saved after each point, or stopped on the way: the model sends SIGTERM in that call."""
    every, points.SAVE_EVERY = points.SAVE_EVERY, 1e9 if stop_at else 0.0
    os.environ["FAULTS_STOP_AT"] = str(stop_at)
    try:
        return _command("line", "--range=-1:1:3", *MODEL, "--out", "r.h5", "--resume")
    finally:
        del os.environ["FAULTS_STOP_AT"]
        points.SAVE_EVERY = every


# -- what has to hold -----------------------------------------------------------------------------------------------


def _judged(writing, disk, folder, old, clean):
    """Lines for what is wrong after a write on a failing disk, and after the same on a sound one."""
    try:
        with disk:
            code, err = writing.work()
    except BaseException as error:
        return [f"bug: {one_line(error)}"]
    if disk.failed is None:
        return ["the call never came"]
    done = disk.calls[: disk.at - 1] + ([] if disk.lasting else disk.calls[disk.at :])
    renamed = {path for what, path in done if what in ("replace", "rename")}
    hit = disk.calls[disk.at - 1 :] if disk.lasting else [disk.failed]
    spare = all(any(word in path for word in SPARE) for _, path in hit)
    wrong = []
    if code != 5 and not (spare and code == clean[0]):
        wrong.append(f"exit {code}: {err[-200:]!r}")
    if code == 5 and (err.count("\n") != 1 or not err.startswith("landscape: cannot write ")):
        wrong.append(f"not one line: {err[-300:]!r}")
    wrong += _other_files(folder, old, writing, renamed if code == 5 else None)
    if not any(what == "unlink" for what, _ in disk.calls):
        wrong += _temporaries(folder)
    return wrong + _again(writing, folder, clean)


def _other_files(folder, old, writing, renamed):
    """Files that are neither what they were nor whole; `renamed`: those that may be new, None for any."""
    wrong = []
    for path in folder.glob("*.h5"):
        before = old.get(path.name) if writing.old or path.name != "r.h5" else None
        if path.read_bytes() == before:
            continue
        if renamed is not None and str(path) not in renamed:
            wrong.append(f"{path.name} is not what it was")
        try:
            Store(path).entries()
        except LandscapeError as error:
            wrong.append(one_line(error))
    return wrong + [f"{name} is gone" for name in old if (writing.old or name != "r.h5") and not Path(name).exists()]


def _again(writing, folder, clean):
    """The same on a sound disk must end as if nothing had been: the lock is free, parts and journals go on."""
    code, err = writing.work()
    if code != clean[0]:
        return [f"then, on a sound disk, exit {code}: {err[-300:]!r}"]
    wrong = [] if _held(folder) == clean[1] else ["then, on a sound disk, other results"]
    return wrong + _temporaries(folder) + [f"left behind: {path.name}" for path in folder.glob("*.journal*")]


def _temporaries(folder):
    return [f"a temporary is left: {name}" for path in folder.glob("*.h5") for name in temporaries(path)]


def _held(folder):
    """The results of all files there are."""
    found = {}
    for path in sorted(folder.glob("*.h5")):
        entries = Store(path).entries()
        found[path.name] = sorted((e.label, e.name, e.digest, content(e.result, of_run=False)) for e in entries)
    return found
