"""landscape line"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from . import options, slicing
from .computing import bar, checked_store, numerical_as_json, obtain, present, tell

if TYPE_CHECKING:
    from landscape.results import LayerLines, Line
    from landscape.store import Store
    from landscape.studies.keeping import Attempt
    from landscape.studies.measured import Minimum


@click.command("line")
@click.argument("checkpoints", nargs=-1, metavar="[CKPT] [CKPT2]")
@click.option(
    "--range",
    "span",
    metavar="FROM:TO:NUM",
    help="Positions.  [default: -1:2:61 between minima, else -1:1:51]",
)
@click.option(
    "--direction",
    type=click.Choice(["random", "eigen", "gradient", "file"]),
    help="Direction from one minimum: random, the Hessian's leading eigenvector, the gradient, or from a file.  "
    "[default: random]",
)
@slicing.direction_files
@slicing.normalize
@click.option(
    "--curve",
    type=click.Choice(["linear", "sincos"]),
    default="linear",
    show_default=True,
    help="Between minima: (1-a) w + a w', or cos(pi a/2) w + sin(pi a/2) w' (Keskar et al. 2017).",
)
@click.option(
    "--align",
    type=click.Choice(["none", "permutation"]),
    default="none",
    show_default=True,
    help="Between minima: permute the second's hidden units to fit the first's (Ainsworth et al. 2023).",
)
@click.option("--restarts", type=int, help="Random starts of --align; the best is kept.  [default: 3]")
@click.option("--layers", is_flag=True, help="Move one layer at a time, each on a line of its own.")
@click.option("--curvature", is_flag=True, help="Add the Hessian's largest eigenvalue at each point.")
@options.what_to_measure("float32", None, bn=False, samples=False)
@slicing.samples
@slicing.bn
@options.resume
@options.storing
def command(checkpoints: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Loss and accuracy between two minima, or along a direction from one.

    \b
    Example:
      landscape line runs/small.safetensors runs/large.safetensors --out r.h5
    """
    with numerical_as_json("layer-lines" if flags["layers"] else "line", as_json):
        return _line(checkpoints, as_json, **flags)


def _line(
    checkpoints: tuple[str, ...],
    as_json: bool,
    span: str | None,
    direction: str | None,
    files: tuple[str, ...],
    normalize: str | None,
    with_biases: bool,
    curve: str,
    align: str,
    restarts: int | None,
    layers: bool,
    curvature: bool,
    samples: str | None,
    share: float | None,
    bn: str | None,
    resume: bool,
    out: str | None,
    overwrite: bool,
    **flags: Any,
) -> int:
    directed = bool(direction or files or normalize or with_biases)
    _check(checkpoints, curve, align, restarts, layers=layers, curvature=curvature, directed=directed)
    slicing.check_policy(bn, flags["split"])
    count, auto, wanted = slicing.numbers(samples, share)
    default = "-1:2:61" if len(checkpoints) == 2 else "-1:1:51"
    alphas = options.positions(span or default, "--range")
    directions = slicing.chosen(direction or "random", normalize, with_biases, files, flags["seed"], count=1)
    store = checked_store(out, resume=resume)
    asked = options.request(bn="batch" if bn == "batch" else "eval", samples=count, **flags)
    from landscape.studies.measured import set_up

    job = _Job(
        store,
        partial(obtain, store, overwrite=overwrite, resume=resume),
        directions,
        {"bn": None if bn == "batch" else bn, "bn_batch": asked.bn_batch},
        alphas,
        curve=curve,
        restarts=(3 if restarts is None else restarts) if align == "permutation" else None,
        layers=layers,
        curvature=curvature,
    )
    setup = set_up(asked, list(checkpoints))
    minima, (label, result, provenance) = slicing.measure(job, setup, count, auto, wanted)
    _tell_lost(label, result, minima[0])
    return present(result, label, provenance, _text(result), as_json)


def _check(
    checkpoints: tuple[str, ...],
    curve: str,
    align: str,
    restarts: int | None,
    *,
    layers: bool,
    curvature: bool,
    directed: bool,
) -> None:
    from landscape.errors import UsageError

    if len(checkpoints) > 2:
        raise UsageError(f"a line takes one or two checkpoints, got {len(checkpoints)}")
    if len(checkpoints) < 2 and (curve != "linear" or align != "none"):
        raise UsageError("--curve sincos and --align permutation are between two minima; give two checkpoints")
    if layers and (curve != "linear" or curvature):
        raise UsageError("--layers goes with neither --curve sincos nor --curvature")
    if directed and len(checkpoints) == 2:
        raise UsageError("--direction, --normalize and --with-biases are for a line from one minimum, not between two")
    if restarts is not None and (restarts < 0 or align == "none"):
        raise UsageError(f"--restarts needs --align permutation and must not be negative, got {restarts}")


class _Job:
    """One line as it was asked for, at minima over any number of samples."""

    def __init__(
        self,
        store: Store | None,
        obtained: Any,
        directions: Any,
        policy: dict[str, Any],
        alphas: list[float],
        *,
        curve: str,
        restarts: int | None,
        layers: bool,
        curvature: bool,
    ) -> None:
        self.store, self.obtained, self.directions, self.policy = store, obtained, directions, policy
        self.alphas, self.curve, self.restarts = alphas, curve, restarts
        self.layers, self.curvature = layers, curvature

    def ends(self, minima: list[Minimum], store: Store | None, obtained: Any) -> tuple[Any, str, dict[str, Any]]:
        """What the line goes to from the first minimum, its label, and how that came about."""
        start = minima[0]
        if len(minima) == 1:
            from landscape.studies.slicing import chosen_directions

            found, made = chosen_directions(start, self.directions, 1, obtained, store)
            return found[0], start.label, made
        from landscape.slices.courses import refuse_other_objective

        end = minima[1].objective
        refuse_other_objective(start.objective, end)
        made: dict[str, Any] = {"kind": "between", "ends": [minimum.label for minimum in minima]}
        if self.curve != "linear":
            made["curve"] = self.curve
        if self.restarts is not None:
            from landscape.alignment import align

            aligned = align(start.objective, end, restarts=self.restarts, seed=self.directions.seed)
            end = aligned.objective
            made["align"] = {name: getattr(aligned, name) for name in ("distance_before", "distance", "moved")}
        return end, f"{start.label}--{minima[1].label}", made

    def slice(self, start: Minimum, end: Any, alphas: list[float], *, curvature: bool) -> tuple[Any, dict[str, Any]]:
        """The function that makes the slice, its first arguments bound, and what identifies its result."""
        from landscape.slices import Curvature, layer_lines, line
        from landscape.slices.layers import settings as of_layers
        from landscape.slices.line import settings

        about: dict[str, Any] = {"split": start.split, "test": start.test, **self.policy}
        if self.layers:
            identity = of_layers(start.objective, end, alphas, **about)
            return partial(layer_lines, start.objective, end, alphas, **about), identity
        about |= {"curve": self.curve, "curvature": Curvature() if curvature else None}
        return partial(line, start.objective, end, alphas, **about), settings(start.objective, end, alphas, **about)

    def pilot(self, minima: list[Minimum]) -> Line | LayerLines:
        """A thin slice, kept nowhere; without the curvature, which says nothing about samples."""
        from landscape.slices.budget import thinned

        end, _, _ = self.ends(minima, None, partial(obtain, None, overwrite=False))
        make, _ = self.slice(minima[0], end, thinned(self.alphas, slicing.PILOT["line"]), curvature=False)
        return make()

    def measured(self, minima: list[Minimum], about: dict[str, Any]) -> slicing.Measured:
        """Label, result and provenance of the whole slice."""
        from landscape.slices.layers import layers_of

        start = minima[0]
        end, label, made = self.ends(minima, self.store, self.obtained)
        make, identity = self.slice(start, end, self.alphas, curvature=self.curvature)
        slicing.check_statistics(identity)
        lines = len(layers_of(start.objective.layout)) if self.layers else 1

        def compute(attempt: Attempt) -> Any:
            with bar("line", lines * len(identity["alphas"])) as update:
                return make(made=made | about, partial=attempt.partial, watch=attempt.watch(update))

        result, provenance = self.obtained(label, identity, compute, minima=minima)
        return label, result, provenance


def _tell_lost(label: str, result: Any, start: Minimum) -> None:
    from landscape.execution import has_batch_norm
    from landscape.results import NON_FINITE

    lost = int((result.point_status == NON_FINITE).sum())
    if lost:
        hint = "; --bn recompute gives each point its own statistics" if has_batch_norm(start.objective.model) else ""
        tell(f"{label}: {lost} of {result.point_status.size} points are not finite{hint}")


def _text(result: Any) -> list[str]:
    if result.kind == "layer-lines":
        return _of_layers(result)
    names = ["loss", "accuracy", "test_loss", "test_accuracy", "eigenvalue"]
    shown = [name for name in names if getattr(result, name) is not None]
    rows = ["   alpha" + "".join(f"{name:>15}" for name in shown)]
    for i, alpha in enumerate(result.alpha):
        rows.append(f"{alpha:8.3f}" + "".join(f"{getattr(result, name)[i]:15.6g}" for name in shown))
    if "align" in result.direction:
        about = result.direction["align"]
        rows.append(
            f"aligned: distance {about['distance_before']:.4g} to {about['distance']:.4g}, "
            f"{about['moved']:.1%} of the hidden units moved"
        )
    if result.barrier is not None:
        rows.append(
            f"barrier {_with_interval(result, 'barrier')}"
            + ("" if result.error_barrier is None else f"   error barrier {_with_interval(result, 'error_barrier')}")
        )
    return rows


def _with_interval(result: Any, name: str) -> str:
    low, high = getattr(result, f"{name}_low"), getattr(result, f"{name}_high")
    return f"{getattr(result, name):.6g}" + ("" if low is None else f" [{low:.4g}, {high:.4g}]")


def _of_layers(result: Any) -> list[str]:
    """A row a layer: what its line costs at most, and where it ends."""
    import numpy as np

    first = int(np.argmin(np.abs(result.alpha)))  # the position nearest to where all layers are as they were
    at = f"at {result.alpha[first]:.3g}"
    rows = [f"{'layer':<24}{'unit length':>14}{'loss ' + at:>14}{'largest':>14}{'at alpha':>10}{'at the end':>14}"]
    for name, length, loss in zip(result.layers, result.unit_lengths, result.loss, strict=True):
        worst = int(np.nanargmax(loss)) if np.isfinite(loss).any() else 0
        rows.append(
            f"{name:<24}{length:14.4g}{loss[first]:14.6g}{loss[worst]:14.6g}{result.alpha[worst]:10.3f}{loss[-1]:14.6g}"
        )
    return rows
