"""How long a file takes to open, list and read."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from landscape.store import Store

from .common import HANG, KINDS, Count, Failures, add

REPEATS = 3
READING = """
import json, sys, time
began = time.perf_counter()
from landscape_cli.main import run
from landscape.store import Store
imported = time.perf_counter()
found = len(Store(sys.argv[1]).entries())
read = time.perf_counter()
code = run(["show", sys.argv[1]])
shown = time.perf_counter()
print(json.dumps({"found": found, "code": code, "torch": "torch" in sys.modules, "import": imported - began,
                  "read": read - imported, "show": shown - read}))
"""


def listing(size, seed, folder):
    """Opening, listing and reading a file of results of all kinds, in a process of its own, without torch."""
    store, failures, rows = Store(folder / "r.h5"), Failures(), []
    for number in range(size):
        add(store, KINDS[number % len(KINDS)], number, seed, rows=1000, label=f"net-{number // 20}")
    for repeat in range(REPEATS):
        call = [sys.executable, "-c", READING, str(store.path)]
        done = subprocess.run(call, capture_output=True, text=True, timeout=HANG, check=False)
        told = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
        if (told.get("found"), told.get("code"), told.get("torch")) != (size, 0, False):
            failures += [f"seed {seed}, repeat {repeat}: {told or done.stderr[-300:]}"]
        else:
            rows.append(told)
    read, show, start = (statistics.median([row[name] for row in rows] or [float("nan")]) for name in _PARTS)
    note = f"median of {REPEATS}: {start:.2f} s to import, {read:.2f} s to open and read all, {show:.2f} s for `show`"
    return Count("listing", size, failures, note)


_PARTS = ("read", "show", "import")
