"""Commands killed while they work, again and again, and gone on with until they are done."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from landscape.errors import LandscapeError, one_line
from landscape.results import Status, stored_fields
from landscape.store import Store
from landscape.store.schema import content

from .common import HANG, Count, Failures, command, ended, temporaries

NETWORK = Path(__file__).with_name("network.py")
MODEL = ("--model", f"{NETWORK}:Slow", "--data", f"{NETWORK}:points", "--split", "train")
STARTING = 2.5  # seconds until a command begins to compute; every tenth kill may come before
SLEEP, SAVE_EVERY = "0.02", "0.1"


@dataclass(frozen=True)
class Work:
    """A command, and the seconds it computes before it is killed, at most."""

    name: str
    words: tuple[str, ...]
    span: float
    model: tuple[str, ...] = MODEL


PLANE = Work("killed planes", ("plane", "--x=-1:1:8", "--y=-1:1:8"), 0.8)
# One form of the product, and nothing kept: which form is faster here and now must not matter.
EIGEN = Work("killed eigen", ("eigen", "-k", "6", "--which", "both", "--hvp", "double", "--memory", "0"), 1.0)


def killed_planes(size, seed, folder):
    """kill -9 of `landscape plane --resume`."""
    return _killed(PLANE, size, seed, folder)


def killed_eigen(size, seed, folder):
    """kill -9 of `landscape eigen --resume`; then the end of every other journal is cut off besides."""
    return _killed(EIGEN, size, seed, folder)


NORMED = ("--model", f"{NETWORK}:Normed", "--data", f"{NETWORK}:points", "--split", "train")
# Files of weights are those of `_minima`, beside the result.
SLICES = (
    Work("adaptive planes", ("plane", "--x=-1:1:13", "--y=-1:1:13", "--adaptive", "0.1"), 1.5),
    Work("recomputed lines", ("line", "--bn", "recompute", "--range=-1:1:13"), 0.6, NORMED),
    Work(
        "paths", ("path", "a.safetensors", "b.safetensors", "--epochs", "8", "--batch-size", "8", "--points", "7"), 0.8
    ),
    Work("lines by layer", ("line", "--layers", "--range=-1:1:13"), 0.6),
    Work(
        "comparisons",
        (
            "compare",
            "a.safetensors",
            "b.safetensors",
            "--measures",
            "train-loss,sam,param-norm,barrier",
            "--repeats",
            "2",
        ),
        0.8,
    ),
    Work("aligned lines", ("line", "a.safetensors", "b.safetensors", "--align", "permutation", "--range=0:1:13"), 0.4),
)


def killed_slices(size, seed, folder):
    """kill -9 of planes, lines of several kinds, curves in training and comparisons, gone on with by --resume."""
    counts = []
    for number, work in enumerate(SLICES[:size]):
        place = folder / str(number)
        place.mkdir()
        _minima(place)
        share = size // len(SLICES) + (number < size % len(SLICES))
        counts.append(_killed(work, share, seed + number, place))
    failures = Failures()
    for count in counts:
        failures += [f"{count.name}: {line}" for line in count.failures]
    return Count("killed slices", sum(c.n for c in counts), failures, "; ".join(f"{c.name}: {c.n}" for c in counts))


def _minima(folder):
    """Two files of weights for `Slow`."""
    for number, name in enumerate("ab"):
        draws = np.random.default_rng(number)
        shapes = {"layers.1.weight": (8, 32), "layers.1.bias": (8,), "layers.3.weight": (3, 8), "layers.3.bias": (3,)}
        tensors = {key: (draws.standard_normal(shape) / 3).astype(np.float32) for key, shape in shapes.items()}
        save_file(tensors, folder / f"{name}.safetensors")


@dataclass
class Tally:
    """What was hit on the way."""

    kills: int = 0
    rounds: int = 0
    before: int = 0  # kills before anything was saved
    saving: int = 0  # kills that left a temporary
    cut: int = 0  # journals whose end was cut off


def _killed(work, size, seed, folder):
    chance, tally, failures = random.Random(seed), Tally(), Failures()
    whole = folder / "whole.h5"
    uninterrupted = _start(work, whole, folder / "whole.begun")
    while tally.kills < size:
        tally.rounds += 1
        path = folder / f"{tally.rounds}.h5"
        first = tally.kills
        wrong = _until_done(work, path, size, chance, tally)
        if uninterrupted.returncode is None:
            code, _, err = ended(uninterrupted)
            assert code == 0, err
        wrong += _left_behind(path) or differences(path, whole)
        failures += [f"seed {seed}, kills {first + 1} to {tally.kills}: {line}" for line in wrong]
    note = f"{tally.rounds} runs to the end, {tally.before} kills before a first save, {tally.saving} left a temporary"
    cut = f", {tally.cut} journals cut off besides" if tally.cut else ""
    return Count(work.name, tally.kills, failures, note + cut)


def _start(work, path, begun):
    environment = {"FAULTS_SLEEP": SLEEP, "FAULTS_SAVE_EVERY": SAVE_EVERY, "FAULTS_BEGUN": str(begun)}
    words = [path.with_name(word) if word.endswith(".safetensors") else word for word in work.words]
    return command(*words, *work.model, "--out", path, "--resume", env=os.environ | environment)


def _until_done(work, path, size, chance, tally):
    """Starts, kills and goes on until a run comes to its end; lines for what is wrong on the way."""
    begun, done = path.with_suffix(".begun"), 0
    while True:
        begun.unlink(missing_ok=True)
        process = _start(work, path, begun)
        if tally.kills < size:
            _wait(process, begun, chance, work.span)
            process.send_signal(signal.SIGKILL)
        code, out, err = ended(process)
        if code != -signal.SIGKILL:
            return [] if code == 0 else [f"going on ends with {code}: {err[-300:]!r}"]
        tally.kills += 1
        tally.saving += bool(temporaries(path))
        done, wrong = _progress(path, done)
        if wrong:
            return [wrong]
        journals = _journals(path)
        tally.before += not done and not journals
        if journals and tally.kills % 2:
            _cut(journals[0], chance)
            tally.cut += 1


def _wait(process, begun, chance, span):
    """Until a random time within the work, or once in ten a random time after the start."""
    if chance.random() < 0.1:
        time.sleep(chance.random() * STARTING)
        return
    deadline = time.monotonic() + HANG
    while not begun.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(chance.random() * span)


def _progress(path, before):
    """Points that the file holds, which must be whole and no fewer than before."""
    try:
        entries = Store(path).entries() if path.exists() else []
    except LandscapeError as error:
        return 0, f"after a kill: {one_line(error)}"
    done = sum(int(e.result.evaluated.sum()) if hasattr(e.result, "evaluated") else 1 for e in entries)
    return done, f"after a kill {done} points are left of {before}" if done < before else ""


def _journals(path):
    return sorted(path.parent.glob(f"{path.name}.*.journal"))


def _cut(journal, chance):
    """As a kill amid the writing of its last record would."""
    content = journal.read_bytes()
    journal.write_bytes(content[: max(0, len(content) - chance.randrange(1, 1500))])


def _left_behind(path):
    left = [*_journals(path), *path.parent.glob(f".{path.name}.*.journal.lock")]
    return [f"left behind: {found.name}" for found in left] + temporaries(path)


def differences(resumed, whole):
    """Where the results of two files are not the same bits: a line for each."""
    pairs = [Store(path).entries() for path in (resumed, whole)]
    if [len(entries) for entries in pairs] != [1, 1]:
        return [f"{len(pairs[0])} and {len(pairs[1])} results"]
    (a,), (b,) = pairs
    if a.digest != b.digest or a.result.status not in (Status.COMPLETE, Status.CONVERGED):
        return [f"digest {a.digest[:8]} and {b.digest[:8]}, status {a.result.status}"]
    if content(a.result, of_run=False) == content(b.result, of_run=False):
        return []
    fields = [field.name for field in stored_fields(type(a.result)) if not field.metadata.get("of_run")]
    other = [name for name in fields if repr(getattr(a.result, name)) != repr(getattr(b.result, name))]
    return [f"other bits in {', '.join(other) or 'the last places'}"]
