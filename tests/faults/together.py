"""Processes that work on one file at once."""

from __future__ import annotations

import contextlib
import functools
import io
import os

from landscape_cli.main import run

from landscape.store import Store

from .common import KINDS, Child, Count, Failures, add, fill, read, temporaries


def two_commands(size, seed, folder):
    """Two processes write one file from the same moment on: two commands `merge`, or two calls of Store.add."""
    failures = Failures()
    sources = [Store(folder / f"{name}.h5") for name in ("left", "right")]
    for slot, source in enumerate(sources):
        for kind in KINDS:
            add(source, kind, 10 * seed + slot, slot, rows=2000, label=source.path.stem)
    for trial in range(size):
        store = Store(folder / f"{trial}.h5")
        if trial % 4 > 1:
            add(store, "line", 99, trial)  # else the file is made by them
        work = _merge if trial % 2 else _add
        wrong = _at_once([functools.partial(work, store, source, trial) for source in sources])
        entries, torn = read(store)
        wrong += torn + temporaries(store.path)
        for source in sources:
            lacking = len(KINDS) if trial % 2 else 1
            if sum(entry.label == source.path.stem for entry in entries) != lacking:
                wrong.append(f"what {source.path.stem} wrote is lost")
        if trial % 4 > 1 and not any(entry.label == "net-99" for entry in entries):
            wrong.append("what was there is lost")
        failures += [f"seed {seed}, trial {trial}: {line}" for line in wrong]
        store.path.unlink(missing_ok=True)
    return Count("two commands", size, failures)


def _at_once(works):
    """Forks all, lets them go at once; a line for each that failed."""
    held, gate = os.pipe()

    def waiting(work, say):
        os.close(gate)
        os.read(held, 1)  # ends for all at once, when the last copy of the gate is closed
        work()

    children = [Child(lambda say, work=work: waiting(work, say)) for work in works]
    os.close(gate)
    ends = [child.wait() for child in children]
    os.close(held)
    return [f"a writer ended with {child.code}: {child.said[-1:]}" for child in ends if child.code != 0]


def _merge(store, source, trial):
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        code = run(["merge", str(source.path), "--out", str(store.path)])
    if code:
        raise AssertionError(f"exit {code}: {err.getvalue()}")


def _add(store, source, trial):
    add(store, KINDS[trial % len(KINDS)], len(source.path.stem), trial, label=source.path.stem)


def reader_and_writer(size, seed, folder):
    """One process reads all entries over and over while another writes."""
    store, failures, reads, newest = Store(folder / "r.h5"), Failures(), 0, {}
    fill(store, 1)

    def write(_say):
        for step in range(1, size + 1):
            add(store, KINDS[step % len(KINDS)], 0, step * 1000 + seed % 1000)

    writer = Child(write)
    while True:
        over = not writer.alive(0.0005)
        entries, wrong = read(store)
        reads += 1
        if len(entries) != len(KINDS) and not wrong:
            wrong.append(f"{len(entries)} results")
        for entry in entries:
            kind, step = entry.result.kind, entry.provenance.get("step", -1)
            if step < newest.setdefault(kind, step) and not wrong:
                wrong.append(f"{kind} went back from step {newest[kind]} to {step}")
            newest[kind] = step
        failures += [f"seed {seed}, read {reads} at steps up to {max(newest.values(), default=0)}: {w}" for w in wrong]
        if over:
            break
    if writer.wait().code != 0:
        failures += [f"seed {seed}: the writer ended with {writer.code}: {writer.said[-1:]}"]
    return Count("reader and writer", size, failures, f"{reads} reads meanwhile")
