"""Disks that fill up amid a command."""

from __future__ import annotations

import resource

from landscape.store import Store

from .common import KINDS, Count, Failures, add, command, ended, read, temporaries

ROWS = 10_000


def full_disk(size, seed, folder):
    """`landscape merge` into a file that exists, with files limited to sizes from 0 to beyond what is needed."""
    source, store = Store(folder / "source.h5"), Store(folder / "r.h5")
    for target, slot in ((source, 1), (store, 2)):
        for kind in KINDS:
            add(target, kind, slot, seed, ROWS)
    before = store.path.read_bytes()
    arguments = ("merge", source.path, "--out", store.path)
    code, _, err = ended(command(*arguments))
    assert code == 0, err
    need = store.path.stat().st_size
    failures, refused = Failures(), 0
    for limit in _limits(need, size):
        store.path.write_bytes(before)
        wrong, full = _limited(store, arguments, before, limit, need)
        refused += full
        failures += [f"seed {seed}, RLIMIT_FSIZE {limit} of {need}: {line}" for line in wrong]
    note = f"{refused} refused, {size - refused} written; the file needs {need} bytes"
    return Count("full disk", size, failures, note)


def _limits(need, size):
    """The two sides of what is needed, and the rest evenly from 0 to a fifth beyond."""
    return sorted({need - 1, need, *(round(1.2 * need * i / max(1, size - 3)) for i in range(size - 2))})


def _limited(store, arguments, before, limit, need):
    """Lines for what is wrong, and whether it was refused."""

    def narrow():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    code, out, err = ended(command(*arguments, preexec_fn=narrow))
    wrong = []
    if code != (0 if limit >= need else 5):
        wrong.append(f"exit {code}: {err[-200:]!r}")
    if limit < need and (out or err.count("\n") != 1 or not err.startswith("landscape: cannot write ")):
        wrong.append(f"not one line: {out!r} {err[-200:]!r}")
    if limit < need and store.path.read_bytes() != before:
        wrong.append("the old file is not what it was")
    if limit >= need:
        entries, torn = read(store)
        wrong += torn + ([] if len(entries) == 2 * len(KINDS) else ["a result is lost"])
    return wrong + temporaries(store.path), code != 0
