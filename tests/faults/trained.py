"""Training killed at random updates and at random times, in every regime, and gone on with until it is done."""

from __future__ import annotations

import math
import os
import random
import signal
import time

from .common import Count, Failures, temporaries

SAVE_EVERY = 0.01  # seconds between two states, so that a kill at a random time may meet a save
PATIENCE = 120.0


def killed_training(size, seed, folder):
    """kill -9 of a run, every other one from inside at a random update, the rest from outside at a random time."""
    import torch

    torch.set_num_threads(1)  # a fork has no other threads
    from landscape.data import load_data
    from landscape.studies import runs

    known = {"digits": load_data("digits")}
    from regimes import REGIMES, recipe_of

    runs.run(recipe_of("plain"), None, splits=known["digits"], device="cpu")  # what torch imports at first use, once

    chance, failures, kills, saving, names = random.Random(seed), Failures(), 0, 0, list(REGIMES)
    whole = {}
    while kills < size:
        name = names[kills % len(names)] if kills < len(names) else chance.choice(names)
        if name not in whole:
            whole[name] = _whole(name, folder, known)
        updates, seconds, path = *whole[name], folder / f"{kills}.safetensors"
        wrong, reached, rounds = [], -1, 0
        while not wrong:
            last = rounds >= 2 or kills >= size  # a run is killed twice, then left to end
            at = chance.randrange(updates)
            inside = not last and rounds % 2 == 0
            code = _attempt(
                name, path, known, at if inside else None, None if last or inside else chance.random() * seconds
            )
            saving += bool(temporaries(path.with_suffix(".state")))
            if code == 0:
                wrong = _compared(folder / f"{name}.safetensors", path) + _left(path)
                break
            if code != -signal.SIGKILL:
                wrong = [f"going on ended with {code}"]
            kills, rounds = kills + 1, rounds + 1
            now = _reached(path)
            if now < reached:
                wrong = [f"the state went back from update {reached} to {now}"]
            reached = now
        kills += not rounds  # one that ended before its kill counts as a try
        failures += [f"seed {seed}, {name}, {path.name}: {line}" for line in wrong]
    return Count("killed training", size, failures, f"{len(whole)} regimes, {saving} kills left a temporary behind")


def _whole(name, folder, known):
    """Updates and seconds of a run that nothing stops."""
    from landscape.studies import runfiles

    path = folder / f"{name}.safetensors"
    began = time.monotonic()
    code = _attempt(name, path, known, None, None)
    assert code == 0, f"{name}: an undisturbed run ended with {code}"
    return int(runfiles.read_log(path).updates[-1]), time.monotonic() - began


def _attempt(name, path, known, at, seconds):
    """A process that trains; killed at its `at`-th update, or after so many seconds, or not. Its exit code."""
    pid = os.fork()
    if pid == 0:
        _train(name, path, known, at)
    deadline = time.monotonic() + (PATIENCE if seconds is None else seconds)
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            ended = os.waitpid(pid, 0)
            break
        time.sleep(0.0005)
    return os.waitstatus_to_exitcode(ended[1])


def _train(name, path, known, at):
    code = 1
    try:
        from regimes import recipe_of

        from landscape.studies import runs

        counted = iter(range(10**9))

        def stop():
            if next(counted) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return False

        recipe = recipe_of(name)
        extras = runs.Extras(each_update=True)
        splits = known.get(recipe.data)
        every = SAVE_EVERY
        if at is not None:  # a state before each update, on a machine of any speed
            every, runs.SHARE = 0.0, math.inf
        runs.run(recipe, path, resume=True, stop=stop, extras=extras, splits=splits, save_every=every, device="cpu")
        code = 0
    finally:
        os._exit(code)


def _reached(path):
    """Updates in the state; -1 where there is none."""
    import torch

    state = path.with_suffix(".state")
    return torch.load(state, weights_only=True)["state"]["updates"] if state.exists() else -1


def _compared(whole, parts):
    """What differs between the files of two runs, the times they took aside."""
    import numpy as np
    import torch

    from landscape.checkpoint import load_checkpoint
    from landscape.studies import runfiles

    a, b = (load_checkpoint(path).tensors for path in (whole, parts))
    wrong = [f"{key} differs" for key in a if not torch.equal(a[key], b[key])]
    logs = [{entry.name: entry.result for entry in runfiles.entries(path)} for path in (whole, parts)]
    if logs[0].keys() != logs[1].keys():
        return [*wrong, f"logs {sorted(logs[1])} for {sorted(logs[0])}"]
    for kind, result in logs[0].items():
        arrays = {f: v for f, v in vars(result).items() if isinstance(v, np.ndarray) and f != "seconds"}
        wrong += [
            f"{kind} {f} differs" for f, v in arrays.items() if v.tobytes() != getattr(logs[1][kind], f).tobytes()
        ]
    return wrong


def _left(path):
    """Temporaries beside the files of a finished run."""
    places = (path, path.with_suffix(".state"), path.with_suffix(".run.h5"))
    return [f"a temporary stays: {name}" for place in places for name in temporaries(place)]
