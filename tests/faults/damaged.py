"""Files whose bytes were changed, read and salvaged."""

from __future__ import annotations

import contextlib
import functools
import io
import random

from landscape_cli.main import run

from landscape.errors import LandscapeError, one_line
from landscape.store import Store
from landscape.store.schema import content

from . import common, mutations
from .common import Child, Count, Failures, temporaries

ATONCE = 2
SHOWN = (["--json"], ["--settings", "--fields"], [])


def mutated(size, seed, folder):
    """`landscape show` of damaged files. Half pass the seal: it is dropped, and HDF5 parses what is damaged."""
    return _damaged("mutated files", _shown, common.HANG, size, seed, folder)


def salvaged(size, seed, folder):
    """`landscape merge --salvage` of such files, each other result of which may take the watchdog's time to give up."""
    return _damaged("salvaged files", _merged, 5 * common.HANG, size, seed, folder)


def _damaged(name, task, seconds, size, seed, folder):
    """`task(path, trial, whole, say)` for each file, in a process of its own: says what came of it, and what is wrong.

    `whole` are the entries before.
    """
    whole, bases = mutations.bases(folder)
    failures, outcomes = Failures(), {}
    for start in range(0, size, ATONCE):
        running = []
        for trial in range(start, min(size, start + ATONCE)):
            path = folder / f"{trial}.h5"
            base, change, spoilt = mutations.damaged(bases, trial, random.Random(f"{name} {seed} {trial}"))
            path.write_bytes(spoilt)
            running.append((trial, base, change, Child(functools.partial(task, path, trial, whole))))
        for trial, base, change, child in running:
            verdict, wrong = _judged(child.wait(seconds), seconds)
            outcomes[base, verdict] = outcomes.get((base, verdict), 0) + 1
            failures += [f"seed {seed}, trial {trial} ({base}, {change}): {line}" for line in wrong]
    told = ", ".join(f"{base}: {number} {verdict}" for (base, verdict), number in sorted(outcomes.items()))
    return Count(name, size, failures, told)


def _judged(child, seconds):
    if child.code is None:
        return "hung", [f"it takes more than {seconds:.0f} s"]
    if child.code != 0:
        return "crashed", [f"ended with {child.code}: {child.said[-1:]}"]
    return child.said[0]


def _shown(path, trial, whole, say):
    code, err = _command("show", path, *SHOWN[trial % len(SHOWN)])
    wrong = [] if code in (0, 3) else [f"exit {code}: {err[-200:]!r}"]
    if code == 0:
        wrong += _other(Store(path), whole)[1]
    elif err.count("\n") != 1:
        wrong.append(f"not one line: {err[-400:]!r}")
    path.unlink()
    say(["read" if code == 0 else "refused", wrong])


def _merged(path, _trial, whole, say):
    target = Store(path.with_suffix(".out.h5"))
    code, err = _command("merge", path, "--salvage", "--out", target.path)
    wrong = [] if code in (0, 3) else [f"exit {code}: {err[-200:]!r}"]
    number, other = _other(target, whole) if target.path.exists() else (0, [])
    if code == 3 and (number or err.count("\n") != 1):
        wrong.append(f"{number} results, {err[-400:]!r}")
    path.unlink()
    verdict = "all" if number == len(whole) else "some" if number else "none"
    say([verdict, wrong + other + temporaries(target.path)])


def _command(*words):
    # as strict as the streams of a process: not every text that comes out of a damaged file can be printed
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(word) for word in words])
    return code, err.getvalue()


def _other(store, whole):
    """The number of entries, and a line for each that is none of those before."""
    try:
        entries = store.entries()
    except LandscapeError as error:
        return 0, [f"shown, then refused: {one_line(error)}"]
    before = {(content(e.result), e.digest): (e.provenance, e.manifest) for e in whole}
    wrong = []
    for entry in entries:
        known, place = before.get((content(entry.result), entry.digest)), f"/{entry.label}/{entry.name}"
        if known is None:
            contents = {key for key, _ in before}
            wrong.append(f"{place} has another {'digest' if content(entry.result) in contents else 'content'}")
        elif known != (entry.provenance, entry.manifest):
            wrong.append(f"{place} has another origin")
    return len(entries), wrong
