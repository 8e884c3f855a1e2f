"""Processes killed amid a write, and locks that they leave."""

from __future__ import annotations

import itertools
import os
import random
import time

import filelock

from landscape.store import Store
from landscape.store.file import lock_of

from .common import KINDS, LONG, Child, Count, Failures, add, fill, read, temporaries

WINDOW = 3  # every other kill comes within so many times the length of one write,
MOMENT = 0.0005  # the rest within so many seconds after a temporary has appeared
SLOTS = 2
FREED = 15.0  # seconds a write may wait for a lock of the dead; a living holder is waited for for 60


def killed_writers(size, seed, folder):
    """kill -9 of a process that adds results of all kinds, one after another."""
    store, chance, failures, hit, none = Store(folder / "r.h5"), random.Random(seed), Failures(), 0, 0
    fill(store, SLOTS)
    window = WINDOW * _seconds_of(lambda: add(store, "trace", 0, 0))
    for trial in range(size):
        if trial % 10 == 9:
            store.path.unlink(missing_ok=True)  # the first write of all may be cut off as well
        child = Child(lambda say, trial=trial: _add_for_ever(store, trial, seed, say))
        if trial % 2:
            _await_temporary(store, window)
            time.sleep(chance.random() * MOMENT)
        else:
            child.alive(chance.random() * window)
        said = child.kill().said
        left = temporaries(store.path)
        hit += bool(left)
        none += not store.path.exists()
        wrong = [f"ended by itself: {said[-1:]}"] if child.code != -9 else []
        wrong += _lost(store, said) or _next_start(store, trial)
        if wrong:
            for path in folder.iterdir():
                path.unlink()
        failures += [f"seed {seed}, trial {trial}: {line}" for line in wrong]
    return Count("killed writers", size, failures, f"{hit} left a temporary behind, {none} no file yet")


def _add_for_ever(store, trial, seed, say):
    """Each result replaces the one of its kind and slot; what is said was stored."""
    chance = random.Random(f"{seed} {trial}")
    for number in itertools.count():
        # every other one has a long array, so that files are of many lengths
        kind = chance.choice(KINDS if number % 2 else LONG)
        slot, step = chance.randrange(SLOTS), 1 + trial * 1000 + number
        add(store, kind, slot, step)
        say([kind, slot, step])


def _await_temporary(store, seconds):
    deadline = time.monotonic() + seconds
    while not temporaries(store.path) and time.monotonic() < deadline:
        pass


def _next_start(store, trial):
    add(store, "sharpness", SLOTS, trial)
    return [f"a temporary stays: {name}" for name in temporaries(store.path)]


def _lost(store, said):
    """What is torn, and what a writer had been told is stored but is not."""
    if not store.path.exists():
        return [f"the file is gone, {said[-1]} was stored"] if said else []
    entries, wrong = read(store)
    found = {(e.result.kind, e.provenance.get("slot")): e.provenance.get("step", -1) for e in entries}
    for kind, slot, step in {(kind, slot): (kind, slot, step) for kind, slot, step in said}.values():
        if found.get((kind, slot), -1) < step and not wrong:
            wrong.append(f"step {step} of {kind} {slot} was stored and is lost")
    return wrong


def _seconds_of(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def locks_of_the_dead(size, seed, folder):
    """kill -9 of a process that holds the lock, its temporary written; then another writes."""
    failures, slowest = Failures(), 0.0
    for trial in range(size):
        store = Store(folder / f"{trial}.h5")
        if trial % 2:
            add(store, "line", 0, 0)
        holder = Child(lambda say, store=store: _hold(store, say))
        said = holder.next()
        wrong = [] if said == "held" and _held(store) else [f"the lock was not held: {said}"]
        holder.kill()
        if len(temporaries(store.path)) != 1:
            wrong.append("the holder left no temporary")
        began = time.monotonic()
        after = Child(lambda say, store=store, trial=trial: add(store, "plane", 0, trial)).wait(FREED)
        slowest = max(slowest, time.monotonic() - began)
        if after.code != 0:
            wrong.append(f"the next write waits for more than {FREED:.0f} s" if after.code is None else after.said[-1])
        else:
            entries, torn = read(store)
            wrong += torn + temporaries(store.path) + ([] if len(entries) == 1 + trial % 2 else ["a result is lost"])
        failures += [f"seed {seed}, trial {trial}: {line}" for line in wrong]
    return Count("locks of the dead", size, failures, f"the slowest next write took {slowest:.2f} s")


def _hold(store, say):
    """A write that stops before its rename: it holds the lock and has a temporary."""

    def stop(*_):
        say("held")
        time.sleep(600)

    os.replace = stop
    add(store, "line", 0, 1)


def _held(store):
    try:
        with filelock.FileLock(lock_of(store.path), timeout=0):
            return False
    except filelock.Timeout:
        return True
