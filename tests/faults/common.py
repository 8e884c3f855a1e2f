"""What the campaigns share: counts, results that say which write they came from, and processes that may be killed."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from kinds import MAKERS, as_it_is

from landscape import digest
from landscape.errors import LandscapeError, one_line
from landscape.store.schema import content

KINDS = tuple(MAKERS)
HANG = 60.0  # seconds after which a process counts as hanging
TESTS = Path(__file__).resolve().parent.parent
# The field of each kind that says which write a result came from. The arrays among them get a length of their own.
VARIED = {
    "batch-errors": "predicted",
    "batch-size": "efficiency",
    "comparison": "value",
    "correlation": "value",
    "noise": "layer_trace",
    "trade-off": "updates",
    "density": "weights",
    "eigenpairs": "eigenvalues",
    "eigenvectors": "vectors",
    "layer-lines": "loss",
    "line": "loss",
    "path": "loss",
    "plane": "loss",
    "sharpness": "value",
    "sharpness-series": "value",
    "sweep": "distance",
    "trace": "value",
    "tracked": "values",
    "training": "initial_params",
    "updates": "loss",
}
LONG = ("eigenvectors", "training")  # kinds with an array of any length: these make a write last
PLANT = "FAULTS_PLANT"  # names the fault that processes of the command line plant
MAIN = "from landscape_cli.main import main; main()"
PLANTED = "import sys; sys.path.insert(0, {!r}); from faults.planted import PLANTS; PLANTS[{!r}](); "


@dataclass
class Count:
    """What a campaign comes to. Each failure is a line that says how to repeat it; `note` says what was hit."""

    name: str
    n: int
    failures: list[str] = field(default_factory=list)
    note: str = ""


class Enough(Exception):
    """One failure was all that was asked for."""


class Failures(list):
    """The failures of a campaign: lines added by `+=`. With `one`, the first ends it."""

    one = False

    def __iadd__(self, lines):
        self.extend(lines)
        if self and Failures.one:
            raise Enough(self[0])
        return self


# -- results --------------------------------------------------------------------------------------------------------


def made(kind, slot, step, rows=40_000):
    """A result whose settings follow from kind and slot and whose numbers follow from the step: they replace another.

    So a file tells of each of its results which write it came from, and whether all of it came from that write.
    """
    chance, name = np.random.default_rng((slot, step)), VARIED[kind]
    result = MAKERS[kind](tag=slot)
    before = getattr(result, name)
    if kind == "eigenvectors":
        number = chance.standard_normal((1 + int(chance.integers(rows)), 2)).astype(np.float32)
    elif kind == "training":
        number = chance.standard_normal(1 + int(chance.integers(rows))).astype(np.float32)
    else:
        number = chance.standard_normal(np.shape(before)) if np.ndim(before) else float(chance.standard_normal())
    return as_it_is(dataclasses.replace(result, **{name: number}))


@functools.lru_cache(maxsize=4096)
def expected(kind, slot, step, rows):
    """The content of such a result."""
    return content(made(kind, slot, step, rows))


def add(store, kind, slot, step, rows=40_000, label=None):
    """Adds such a result."""
    known = {"kind": kind, "slot": slot, "step": step, "rows": rows}
    store.add(label or f"net-{slot}", made(kind, slot, step, rows), known)


def fill(store, slots=2, step=0, rows=40_000):
    """A result of every kind in each slot."""
    for slot in range(slots):
        for kind in KINDS:
            add(store, kind, slot, step, rows)


def read(store):
    """The entries of a store of such results, and a line for all that is wrong with it."""
    try:
        entries = store.entries()
    except LandscapeError as error:
        return [], [f"refused: {one_line(error)}"]
    except Exception as error:
        return [], [f"bug: {one_line(error)}"]
    return entries, [line for entry in entries for line in torn(entry)]


def torn(entry):
    """What tells that an entry is not, bit for bit, one that was written."""
    known, place = entry.provenance, f"/{entry.label}/{entry.name}"
    try:
        written = expected(known["kind"], known["slot"], known["step"], known["rows"])
    except (KeyError, TypeError, ValueError):
        return [f"{place} does not say where it came from"]
    if content(entry.result) != written:
        return [f"{place} is not what step {known['step']} wrote"]
    if entry.digest != digest.of_settings(entry.result.settings):
        return [f"{place} has the digest of other settings"]
    return []


def temporaries(path):
    """What a writer left beside its target."""
    return sorted(found.name for found in Path(path).parent.glob(f".{Path(path).name}.tmp.*"))


# -- processes ------------------------------------------------------------------------------------------------------


class Child:
    """A forked process: `work(say)` runs in it, what it says comes back, and it may be killed at any time.

    A fork of a process that has numpy and h5py starts in milliseconds. `code` is the exit code, minus a signal's
    number, or None where it hung and was killed for it.
    """

    living: ClassVar[set[int]] = set()

    def __init__(self, work):
        self._inbox, outbox = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._inbox)
            _run(work, outbox)
        Child.living.add(self.pid)
        os.close(outbox)
        self._rest = b""
        self._taken = 0
        self.said = []
        self.code = None

    def next(self, seconds=HANG):
        """The next thing said; None where it ends or hangs without."""
        deadline = time.monotonic() + seconds
        while len(self.said) == self._taken:
            if time.monotonic() > deadline or not self._hear(deadline - time.monotonic()):
                return None
        self._taken += 1
        return self.said[self._taken - 1]

    def alive(self, seconds):
        """Whether it is at work still after so many seconds; what it says meanwhile is heard."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not self._hear(left):
                return False
        return True

    def kill(self):
        """kill -9, and all it had said."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self, seconds=HANG):
        """Its end; gives the child back."""
        deadline = time.monotonic() + seconds
        while self._hear(deadline - time.monotonic()):
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                self._bury()
                return self
        self.code = os.waitstatus_to_exitcode(self._bury())
        return self

    def _bury(self):
        os.close(self._inbox)
        Child.living.discard(self.pid)
        return os.waitpid(self.pid, 0)[1]

    def _hear(self, seconds):
        """Waits so long for something said; False once nothing more can come."""
        if not select.select([self._inbox], [], [], max(0.0, seconds))[0]:
            return True
        new = os.read(self._inbox, 1 << 16)
        *lines, self._rest = (self._rest + new).split(b"\n")
        self.said += [json.loads(line) for line in lines]
        return bool(new)


def _run(work, outbox):
    def say(value):
        os.write(outbox, json.dumps(value).encode() + b"\n")

    code = 1
    try:
        work(say)
        code = 0
    except BaseException:
        say(f"bug: {traceback.format_exc(limit=-3)}"[:2000])
    finally:
        os._exit(code)


def command(*arguments, **options):
    """A real process of the command line; with the fault that was planted here, if any."""
    plant = os.environ.get(PLANT)
    code = (PLANTED.format(str(TESTS), plant) if plant else "") + MAIN
    return subprocess.Popen(
        [sys.executable, "-B", "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def ended(process, seconds=HANG):
    """Exit code (None for a hang), stdout and stderr of a process."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return None, *process.communicate()
    return process.returncode, out, err
