"""landscape plane"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from . import options, slicing
from .computing import bar, checked_store, numerical_as_json, obtain, present, tell

if TYPE_CHECKING:
    from landscape.results import Plane
    from landscape.store import Store
    from landscape.studies.keeping import Attempt
    from landscape.studies.measured import Minimum
    from landscape.studies.planes import View

AROUND = "-1:1:25"
COVERING = 25  # positions along each axis of a plane that covers what is marked in it


@click.command("plane")
@click.argument("checkpoints", nargs=-1, metavar="[CKPT] [CKPT2] [CKPT3]")
@click.option("--x", "first", metavar="FROM:TO:NUM", help="Positions, alpha.  [default: -1:1:25, or what is marked]")
@click.option("--y", "second", metavar="FROM:TO:NUM", help="Positions, beta.  [default: as --x]")
@click.option(
    "--directions",
    type=click.Choice(["random", "eigen", "gradient", "minima", "trajectory", "file"]),
    help="Two random ones; the Hessian's two leading eigenvectors; the gradient and the leading eigenvector; through "
    "three minima (two: and the initial point); principal components of the runs' points; from two files.  "
    "[default: random for one minimum, else minima]",
)
@slicing.direction_files
@slicing.normalize
@click.option(
    "--mark", "marked", metavar="CKPT", multiple=True, help="Project this minimum onto the plane; repeatable."
)
@click.option("--trajectories", is_flag=True, help="Project the points that the runs kept (train --save-every).")
@click.option(
    "--adaptive",
    type=float,
    metavar="TOL",
    help="Evaluate only where interpolation errs by more than this fraction of the range; interpolate the rest.",
)
@options.what_to_measure("float32", None, bn=False, samples=False)
@slicing.samples
@slicing.bn
@options.resume
@options.storing
def command(checkpoints: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Loss and accuracy over a plane: around a minimum, through minima, or along a run. Rows follow alpha (--x).

    \b
    Example:
      landscape plane runs/small.safetensors --x -1:1:51 --y -1:1:51 --adaptive 0.01 --out r.h5 --resume
    """
    with numerical_as_json("plane", as_json):
        return _plane(checkpoints, as_json, **flags)


def _plane(
    checkpoints: tuple[str, ...],
    as_json: bool,
    first: str | None,
    second: str | None,
    directions: str | None,
    files: tuple[str, ...],
    normalize: str | None,
    with_biases: bool,
    marked: tuple[str, ...],
    trajectories: bool,
    adaptive: float | None,
    samples: str | None,
    share: float | None,
    bn: str | None,
    resume: bool,
    out: str | None,
    overwrite: bool,
    **flags: Any,
) -> int:
    from landscape.errors import UsageError

    kind = directions or ("random" if len(checkpoints) < 2 else "minima")
    _check(kind, len(checkpoints), trajectories, adaptive, plain=normalize is not None or with_biases)
    slicing.check_policy(bn, flags["split"])
    if marked and not checkpoints:
        raise UsageError("--mark needs checkpoints; give the minimum of the centre as CKPT")
    count, auto, wanted = slicing.numbers(samples, share)
    spans = [None if s is None else options.positions(s, name) for s, name in ((first, "--x"), (second, "--y"))]
    picked = slicing.chosen(kind, normalize, with_biases, files, flags["seed"], count=2)
    store = checked_store(out, resume=resume)
    asked = options.request(bn="batch" if bn == "batch" else "eval", samples=count, **flags)
    from landscape.studies.measured import set_up

    policy = {"bn": None if bn == "batch" else bn, "bn_batch": asked.bn_batch}
    job = _Job(store, partial(obtain, store, overwrite=overwrite, resume=resume), picked, policy, spans,
               centres=max(1, len(checkpoints)), trajectories=trajectories, adaptive=adaptive)  # fmt: skip
    setup = set_up(asked, [*checkpoints, *marked])
    _, (label, result, provenance) = slicing.measure(job, setup, count, auto, wanted)
    lost = int((result.point_status == 2).sum())
    if lost:
        tell(f"{label}: {lost} of {result.point_status.size} points are not finite")
    return present(result, label, provenance, _text(result), as_json)


def _check(kind: str, checkpoints: int, trajectories: bool, adaptive: float | None, *, plain: bool) -> None:
    from landscape.errors import UsageError

    if checkpoints > 3:
        raise UsageError(f"a plane takes at most three checkpoints, got {checkpoints}; --mark projects others onto it")
    if plain and kind in ("minima", "trajectory"):
        raise UsageError(f"--directions {kind} takes neither --normalize nor --with-biases")
    if kind == "minima" and checkpoints < 2:
        raise UsageError(f"--directions minima needs two or three checkpoints, got {checkpoints}")
    if kind not in ("minima", "trajectory") and checkpoints > 1:
        raise UsageError(f"--directions {kind} is around one minimum, got {checkpoints} checkpoints; use --mark")
    if (kind == "trajectory" or trajectories) and not checkpoints:
        raise UsageError("a trajectory needs the checkpoint of its run")
    if adaptive is not None and not 0 < adaptive < 1:
        raise UsageError(f"--adaptive is a fraction of the range between 0 and 1, got {adaptive}")


class _Job:
    """One plane as it was asked for, at minima over any number of samples."""

    def __init__(
        self,
        store: Store | None,
        obtained: Any,
        directions: Any,
        policy: dict[str, Any],
        spans: list[list[float] | None],
        *,
        centres: int,
        trajectories: bool,
        adaptive: float | None,
    ) -> None:
        self.store, self.obtained, self.directions, self.policy = store, obtained, directions, policy
        self.spans, self.centres, self.trajectories, self.adaptive = spans, centres, trajectories, adaptive

    def view(self, minima: list[Minimum], store: Store | None, obtained: Any) -> View:
        """Directions, marks and trajectories. The first minima span the plane, the others are marked in it."""
        from landscape.slices import Marks
        from landscape.slices.courses import refuse_other_objective
        from landscape.studies import planes
        from landscape.studies.slicing import chosen_directions

        through, marked = minima[: self.centres], minima[self.centres :]
        for minimum in minima[1:]:
            refuse_other_objective(minima[0].objective, minimum.objective)
        if self.directions.kind == "minima":
            view = planes.through(through, marked)
        elif self.directions.kind == "trajectory":
            view = planes.along_trajectory(through, marked)
        else:
            pair, made = chosen_directions(through[0], self.directions, 2, obtained, store)
            shown = Marks({minimum.label: minimum.objective for minimum in minima}) if marked else None
            view = planes.View((pair[0], pair[1]), made, shown)
        return planes.with_trajectories(view, through) if self.trajectories else view

    def axes(self, view: View, minima: list[Minimum]) -> tuple[list[float], list[float]]:
        """Positions: those asked for, else around the centre, else covering what is marked."""
        first, second = self.spans
        if first is not None:
            return first, second or first
        if view.marks is None and view.trajectory is None:
            around = options.positions(AROUND, "--x")
            return around, second or around
        alphas, betas = view.covering(minima[0].objective, COVERING)
        return alphas, second or betas

    def arguments(self, view: View, minima: list[Minimum]) -> dict[str, Any]:
        """Those of `slices.plane` that identify its result."""
        bn = self.policy["bn"]
        if bn is None and minima[0].objective.bn != "batch":
            bn = view.bn
        shown = {"marks": view.marks, "trajectory": view.trajectory}
        return {"split": minima[0].split, "test": minima[0].test, **self.policy, "bn": bn, **shown}

    def pilot(self, minima: list[Minimum]) -> Plane:
        """A thin plane, kept nowhere."""
        from landscape.slices import plane
        from landscape.slices.budget import thinned

        view = self.view(minima, None, partial(obtain, None, overwrite=False))
        alphas, betas = (thinned(axis, slicing.PILOT["plane"]) for axis in self.axes(view, minima))
        return plane(minima[0].objective, view.directions, alphas, betas, **self.arguments(view, minima))

    def measured(self, minima: list[Minimum], about: dict[str, Any]) -> slicing.Measured:
        """Label, result and provenance of the whole plane."""
        from landscape.slices import plane
        from landscape.slices.plane import settings

        view = self.view(minima, self.store, self.obtained)
        alphas, betas = self.axes(view, minima)
        given = {**self.arguments(view, minima), "adaptive": self.adaptive}
        place = (minima[0].objective, view.directions, alphas, betas)

        def compute(attempt: Attempt) -> Plane:
            with bar("plane", len(alphas) * len(betas)) as update:
                going_on: dict[str, Any] = {"partial": attempt.partial, "watch": attempt.watch(update)}
                return plane(*place, **given, explained=view.explained, made=view.made | about, **going_on)

        label = "--".join(minimum.label for minimum in minima[: self.centres])
        identity = settings(*place, **given)
        slicing.check_statistics(identity)
        result, provenance = self.obtained(label, identity, compute, minima=minima)
        return label, result, provenance


def _text(result: Any) -> list[str]:
    import numpy as np

    finite = result.loss[np.isfinite(result.loss)]
    low, high = (finite.min(), finite.max()) if finite.size else (np.nan, np.nan)
    left_out = int((result.point_status == 2).sum())
    text = [
        f"{len(result.alpha)} x {len(result.beta)} points, loss {low:.6g} ... {high:.6g}"
        + (f", {left_out} non-finite" if left_out else ""),
        f"one unit is {result.unit_lengths[0]:.4g} along alpha, {result.unit_lengths[1]:.4g} along beta; "
        f"cosine {result.cosine:.3f}",
    ]
    if result.tolerance is not None and result.interpolation_error is not None:
        text.append(
            f"{int(result.evaluated.sum())} of {result.loss.size} points evaluated, the others interpolated; "
            f"largest error about {result.interpolation_error:.2%} of the range (asked: {result.tolerance:.2%})"
        )
    for i, name in enumerate(result.marks or ()):
        text.append(
            f"{name}: alpha {result.mark_alpha[i]:.4g}, beta {result.mark_beta[i]:.4g}, "
            f"{result.mark_residual[i]:.3g} off the plane, loss {result.mark_loss[i]:.6g}"
        )
    if result.explained is not None:
        text.append(
            f"{result.explained[0]:.1%} of the trajectory's variance along alpha, {result.explained[1]:.1%} along beta"
        )
    return text
