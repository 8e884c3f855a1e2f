"""landscape path"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from . import options, slicing
from .computing import bar, checked_store, numerical_as_json, obtain, present, tell

if TYPE_CHECKING:
    from landscape.studies.keeping import Attempt
    from landscape.studies.measured import Minimum

ROWS = 13  # of the printed table; --json and --out have all points


@click.command("path")
@click.argument("checkpoints", nargs=-1, metavar="CKPT CKPT2")
@click.option(
    "--curve",
    type=click.Choice(["bezier", "polychain"]),
    default="bezier",
    show_default=True,
    help="Bezier curve, or straight segments.",
)
@click.option("--bends", type=int, default=1, show_default=True, help="Trained points between the two minima.")
@click.option("--epochs", type=int, default=500, show_default=True, help="Epochs of the curve's training.")
@click.option("--batch-size", type=int, default=128, show_default=True, help="Samples an update.")
@click.option("--lr", type=float, default=0.1, show_default=True, help="Learning rate; falls to 1 % after half of it.")
@click.option("--momentum", type=float, default=0.9, show_default=True, help="Momentum.")
@click.option("--points", metavar="NUM", type=int, default=61, show_default=True, help="Points evaluated, t in [0, 1].")
@click.option(
    "--align",
    type=click.Choice(["none", "permutation"]),
    default="none",
    show_default=True,
    help="Permute the second's hidden units to fit the first's (Ainsworth et al. 2023).",
)
@click.option("--restarts", type=int, default=3, show_default=True, help="Random starts of --align; the best is kept.")
@options.what_to_measure("float32", None, bn=False)
@click.option(
    "--bn",
    type=click.Choice(["eval", "batch", "recompute", "interpolate"]),
    help="Batch norm: statistics of the first minimum, of batches, re-estimated at each point, or moving with t.  "
    "[default: recompute]",
)
@options.resume
@options.storing
def command(checkpoints: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Train a curve between two minima on which the loss stays low; loss and accuracy along it.

    Garipov et al. 2018. It is trained on the samples of --split (both: train). On large networks lower --epochs: each
    costs a pass forward and back over the samples.

    \b
    Example:
      landscape path runs/small.safetensors runs/large.safetensors --out r.h5
    """
    with numerical_as_json("path", as_json):
        return _path(checkpoints, as_json, **flags)


def _path(
    checkpoints: tuple[str, ...],
    as_json: bool,
    curve: str,
    bends: int,
    epochs: int,
    batch_size: int,
    lr: float,
    momentum: float,
    points: int,
    align: str,
    restarts: int,
    bn: str | None,
    resume: bool,
    out: str | None,
    overwrite: bool,
    **flags: Any,
) -> int:
    """The curve between two checkpoints, found, gone on with or trained; returns the exit code.

    The second minimum is aligned first where that is asked for. Points that are not finite are counted on stderr; the
    bends, n numbers each, go to --out alone.
    """
    least = {"--points": (points, 2), "--restarts": (restarts, 0)}
    least |= {"--bends": (bends, 1), "--epochs": (epochs, 1), "--batch-size": (batch_size, 1)}
    _refuse(checkpoints, least)
    slicing.check_policy(bn, flags["split"])
    store = checked_store(out, resume=resume)
    asked = options.request(bn="batch" if bn == "batch" else "eval", **flags)
    from landscape.execution import has_batch_norm
    from landscape.paths import Plan, path
    from landscape.paths.path import positions_of, settings
    from landscape.results import NON_FINITE, Path
    from landscape.slices.courses import refuse_other_objective
    from landscape.studies.measured import measured

    plan = Plan(curve, bends, epochs, batch_size, lr, momentum, asked.seed)
    minima = measured(asked, list(checkpoints))
    start, label = minima[0], f"{minima[0].label}--{minima[1].label}"
    if bn is None and has_batch_norm(start.objective.model):
        slicing.check_policy("recompute", start.split)
    refuse_other_objective(start.objective, minima[1].objective)
    made: dict[str, Any] = {"kind": "between", "ends": [minimum.label for minimum in minima]}
    if align == "permutation":
        minima[1], made["align"] = _aligned(start, minima[1], restarts, asked.seed)
    end = minima[1].objective
    positions = positions_of([i / (points - 1) for i in range(points)]).tolist()
    about: dict[str, Any] = {"positions": positions, "split": start.split, "test": start.test}
    about |= {"bn": None if bn == "batch" else bn, "bn_batch": asked.bn_batch}

    def compute(attempt: Attempt) -> Path:
        with bar("path", epochs * plan.updates(start.objective.num_samples) + points) as update:
            going_on: dict[str, Any] = {"partial": attempt.partial, "watch": attempt.watch(update)}
            training = dataclasses.asdict(plan)
            return path(start.objective, end, **training, **about, made=made, **going_on)

    identity = settings(start.objective, end, plan, **about)
    result, provenance = obtain(store, label, identity, compute, minima=minima, overwrite=overwrite, resume=resume)
    assert isinstance(result, Path)
    lost = int((result.point_status == NON_FINITE).sum())
    if lost:
        tell(f"{label}: {lost} of {len(result.t)} points are not finite")
    text = _text(result)
    # n numbers a bend: they lie in --out
    shown = dataclasses.replace(result, bends=None, velocity=None)  # pyright: ignore[reportArgumentType]
    return present(shown, label, provenance, text, as_json)


def _refuse(checkpoints: tuple[str, ...], least: Mapping[str, tuple[int, int]]) -> None:
    """UsageError for other than two checkpoints, and for a number below the least that it may be."""
    from landscape.errors import UsageError

    if len(checkpoints) != 2:
        raise UsageError(f"a path takes two checkpoints, got {len(checkpoints)}")
    for name, (value, bound) in least.items():
        if value < bound:
            raise UsageError(f"{name} must be at least {bound}, got {value}")


def _aligned(reference: Minimum, other: Minimum, restarts: int, seed: int) -> tuple[Minimum, dict[str, Any]]:
    """The second minimum with its hidden units in another order, and what to tell of it."""
    from landscape.alignment import align

    found = align(reference.objective, other.objective, restarts=restarts, seed=seed)
    told = {name: getattr(found, name) for name in ("distance_before", "distance", "moved")}
    return dataclasses.replace(other, objective=found.objective), told


def _text(result: Any) -> list[str]:
    """Some of the points, the ends among them; then the barriers and the largest errors over all."""
    names = ["loss", "accuracy", "test_loss", "test_accuracy"]
    shown = [name for name in names if getattr(result, name) is not None]
    last = len(result.t) - 1
    rows = ["       t" + "".join(f"{name:>15}" for name in shown)]
    for i in sorted({round(last * k / (ROWS - 1)) for k in range(ROWS)}):
        rows.append(f"{result.t[i]:8.3f}" + "".join(f"{getattr(result, name)[i]:15.6g}" for name in shown))
    for name in ("barrier", "error_barrier"):
        value, low, high = (getattr(result, name + end) for end in ("", "_low", "_high"))
        if value is not None:
            rows.append(f"{name.replace('_', ' ')} {value:.6g} [{low:.6g}, {high:.6g}]")
    for split, prefix in ((result.split, "max_"), ("test", "max_test_")):
        found, ends = getattr(result, f"{prefix}error"), getattr(result, f"{prefix}end_error")
        if found is not None:
            rows.append(f"largest error on the curve {found:.6g}, at its ends {ends:.6g} ({split})")
    rows.append(f"length {result.length:.6g}, {result.length / result.distance:.4g} times the distance of the minima")
    return rows
