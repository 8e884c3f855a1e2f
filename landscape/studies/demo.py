"""The main job on the embedded digits data: three networks from one initial point, measured and drawn.

Small batch; large batch (a tenth of the training set) for as many epochs; and the same large batch for as many
updates, the arm that most comparisons leave out: without it batch size and number of updates change together.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import quadrature, sharpness, slices, spectrum, traces
from ..checkpoint import load_checkpoint
from ..comparing.table import preset
from ..operators import Hessian
from ..recipe import Recipe
from ..results import Eigenpairs, Result, Sharpness
from ..slices.ground import Directions
from ..slices.line import settings as line_settings
from ..slices.plane import settings as plane_settings
from ..store import Store
from . import runfiles, runs
from .cells import Plan
from .compare import compare, minima_of
from .compare import settings as comparison_settings
from .figures import draw_store
from .groups import subjects
from .keeping import Attempt, Compute, Keeper
from .measured import Minimum, Request, measured
from .slicing import described, directions_from

COMMAND = ("landscape", "demo")
SMALL_BATCH = 16
EPOCHS = 60
TRAIN_SAMPLES = 1437
LARGE_BATCH = math.ceil(TRAIN_SAMPLES / 10)
UPDATES = EPOCHS * math.ceil(TRAIN_SAMPLES / SMALL_BATCH)

ARMS: Mapping[str, Mapping[str, Any]] = {
    "small": {"batch_size": SMALL_BATCH, "epochs": EPOCHS},
    "large": {"batch_size": LARGE_BATCH, "epochs": EPOCHS},
    "large-updates": {"batch_size": LARGE_BATCH, "updates": UPDATES},
}
NUM_EIGENVALUES = 10
DENSITY = {"probes": 4, "steps": 60}
EPSILON = 1e-3
LINE = np.linspace(-1, 2, 61)
GRID = np.linspace(-1, 1, 41)
COMPARED = preset("quick")
REPEATS = 5

Say = Callable[[str], None]


@dataclass(frozen=True)
class Demo:
    """What the demo made."""

    checkpoints: list[Path]
    store: Path
    figures: list[Path]
    rows: list[dict[str, Any]]

    @property
    def inputs(self) -> dict[str, str]:
        """sha256 of the checkpoints, by path."""
        return {str(path): load_checkpoint(path).sha256 for path in self.checkpoints}


def recipe(arm: str) -> Recipe:
    """The recipe of an arm: a 64-128-128-10 network, SGD .05 with momentum .9, from one seed."""
    return Recipe(data="digits", model="mlp", lr=0.05, momentum=0.9, seed=0, **ARMS[arm])


def run_demo(folder: str | os.PathLike[str], *, overwrite: bool = False, say: Say = print) -> Demo:
    """Trains what is missing, measures what the store lacks, draws all, and returns the table's rows.

    A second run in the same folder finds what the first one left, whole or in part.
    """
    target = Path(folder)
    store = Store(target / "demo.h5")
    store.check()
    checkpoints = [_trained(arm, checkpoint_of(arm, target), overwrite, say) for arm in ARMS]
    rows = analyse(checkpoints, store, overwrite=overwrite, say=say)
    say("drawing")
    figures = draw_store(store.path, target)
    return Demo(checkpoints, store.path, figures, rows)


def checkpoint_of(arm: str, folder: Path) -> Path:
    """Where an arm's checkpoint lies."""
    return folder / f"digits-{arm}.safetensors"


def analyse(
    checkpoints: Sequence[Path], store: Store, *, overwrite: bool = False, say: Say = print
) -> list[dict[str, Any]]:
    """Measures the three arms' checkpoints into a store, all in float64; returns the table's rows."""
    for arm, path in zip(ARMS, checkpoints, strict=True):
        entry = runfiles.read_entry(path)
        store.add(arm, entry.result, entry.provenance)
    minima = measured(Request(labels=tuple(ARMS), dtype="float64", split=None), [str(path) for path in checkpoints])
    analyst = _Analyst(Keeper(store, COMMAND, overwrite=overwrite, resume=True), say)
    rows = [_measure(minimum, analyst) for minimum in minima]
    _slices(minima, analyst)
    _compared(checkpoints, analyst)
    return rows


def _trained(arm: str, path: Path, overwrite: bool, say: Say) -> Path:
    wanted = recipe(arm)
    if not overwrite and runfiles.stored_run(path, wanted) is not None:
        say(f"{arm}: trained already, {path}")
        return path
    say(f"{arm}: training, batch size {wanted.batch_size}")
    runs.run(wanted, path, overwrite=True, device="cpu", command=COMMAND)
    return path


@dataclass(frozen=True)
class _Analyst:
    """Has results obtained, and says what is computed."""

    keeper: Keeper
    say: Say

    def __call__(self, what: str, minima: Sequence[Minimum], settings: Mapping[str, Any], compute: Compute) -> Any:
        """The result of these settings; under the label of the minimum, or of the two ends of a line."""
        label = "--".join(minimum.label for minimum in minima)

        def aloud(attempt: Attempt) -> Result:
            self.say(f"{label}: {what}")
            return compute(attempt)

        products = "operator" in settings
        return self.keeper.obtain(label, settings, aloud, minima=minima, products=products)[0]


def _measure(minimum: Minimum, obtain: _Analyst) -> dict[str, Any]:
    """A row of the table: training metrics, top eigenvalue, sharpness; the rest of the spectrum is stored."""
    operator = Hessian(minimum.objective)
    chosen: dict[str, Any] = {"which": "largest", "tol": 1e-4, "max_matvecs": 1000, "seed": 0}
    pairs: Eigenpairs = obtain(
        "eigenvalues of the Hessian",
        [minimum],
        spectrum.settings(operator, NUM_EIGENVALUES, **chosen),
        lambda attempt: spectrum.top_eigenpairs(attempt.journaled(operator), NUM_EIGENVALUES, **chosen),
    )
    _spectrum(minimum, operator, obtain)
    sharp: Sharpness = obtain(
        "Keskar's sharpness",
        [minimum],
        sharpness.settings(minimum.objective, "keskar", epsilon=EPSILON, iterations=10, seed=0),
        lambda _: sharpness.keskar(minimum.objective, epsilon=EPSILON),
    )
    assert minimum.path is not None
    trained = runfiles.metrics(recipe(minimum.label), runfiles.read_log(minimum.path))
    return {
        "label": minimum.label,
        **{name: trained[name] for name in ("batch_size", "updates", "train_accuracy", "test_accuracy", "train_loss")},
        "top_eigenvalue": float(pairs.eigenvalues[0]),
        "sharpness": sharp.value,
        "distance": trained["distance"],
    }


def _spectrum(minimum: Minimum, operator: Hessian, obtain: _Analyst) -> None:
    """The trace by layer, and the distribution of the eigenvalues."""
    parts: dict[str, Any] = {"method": "hutchinson", "tol": 0.05, "max_matvecs": 1000, "per_layer": True, "seed": 0}
    obtain(
        "trace of the Hessian",
        [minimum],
        traces.settings(operator, **parts),
        lambda attempt: traces.trace(attempt.journaled(operator), **parts),
    )
    rule: dict[str, Any] = {**DENSITY, "seed": 0}
    obtain(
        "density of its eigenvalues",
        [minimum],
        quadrature.settings(operator, **rule),
        lambda attempt: quadrature.spectral_density(attempt.journaled(operator), **rule),
    )


def _slices(minima: Sequence[Minimum], obtain: _Analyst) -> None:
    """The line from the small-batch minimum to each other one, and a plane around each."""
    start = minima[0]
    for end in minima[1:]:

        def between(attempt: Attempt, end: Minimum = end) -> Result:
            about: dict[str, Any] = {"made": {"kind": "between", "ends": [start.label, end.label]}}
            about |= {"partial": attempt.partial, "watch": attempt.watch()}
            return slices.line(start.objective, end.objective, LINE.tolist(), test=start.test, **about)

        obtain(
            "the line between the minima",
            [start, end],
            line_settings(start.objective, end.objective, LINE.tolist(), split="train", test=start.test),
            between,
        )
    grid = GRID.tolist()
    for minimum in minima:
        pair = directions_from(minimum.objective, 0, "filter")

        def around(attempt: Attempt, minimum: Minimum = minimum, pair: Directions = pair) -> Result:
            about: dict[str, Any] = {"partial": attempt.partial, "watch": attempt.watch()}
            return slices.plane(minimum.objective, pair, grid, grid, made=described(0, "filter"), **about)

        obtain(
            f"the loss at {len(GRID)} x {len(GRID)} points of a plane",
            [minimum],
            plane_settings(minimum.objective, pair, grid, grid, split="train", test=None),
            around,
        )


def _compared(checkpoints: Sequence[Path], obtain: _Analyst) -> None:
    """The three arms side by side."""
    request = Request(labels=tuple(ARMS), dtype="float64", split=None)
    arms = subjects(request, [str(path) for path in checkpoints], {})
    measures, pairs = COMPARED
    plan = Plan(measures=measures, pairs=pairs, repeats=REPEATS, seed=0)
    obtain(
        "comparison",
        minima_of(arms),
        comparison_settings(arms, plan, grouped=False),
        lambda attempt: compare(arms, plan, attempt=attempt),
    )


COLUMNS = (
    ("arm", "label", "{}"),
    ("batch", "batch_size", "{}"),
    ("updates", "updates", "{}"),
    ("test acc", "test_accuracy", "{:.2%}"),
    ("train loss", "train_loss", "{:.2e}"),
    ("top eigenvalue", "top_eigenvalue", "{:.3g}"),
    ("sharpness", "sharpness", "{:.3g}"),
    ("distance", "distance", "{:.2f}"),
)


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The rows as aligned text, and what they say, computed from them."""
    cells = [[title for title, _, _ in COLUMNS]]
    cells += [[form.format(row[key]) for _, key, form in COLUMNS] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return [*lines, "", *_reading(rows)]


def _reading(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How much of the difference remains at equal updates, and what the train loss has to do with it."""
    small, large, equal = rows
    lines = ["Large batch relative to small batch, one training seed:"]
    for name, title in (
        ("top_eigenvalue", "top eigenvalue"),
        ("sharpness", "sharpness"),
        ("train_loss", "train loss"),
    ):
        at_epochs, at_updates = large[name] / small[name], equal[name] / small[name]
        left = math.log(at_updates) / math.log(at_epochs)
        lines.append(
            f"  {title:<15} {at_epochs:>8.3g} x at equal epochs, {at_updates:>6.3g} x at equal updates"
            f"  ({left:.0%} of the logarithm is left)"
        )
    return [
        *lines,
        "Curvature and sharpness follow the train loss: near an interpolating minimum both shrink with it. So part of",
        "what batch size seems to do is done by the number of updates; compare minima at equal train loss before",
        "calling one sharper because of its batch size.",
    ]
