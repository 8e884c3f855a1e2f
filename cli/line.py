"""landscape line"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from . import options
from .computing import bar, checked_store, numerical_as_json, obtain, present, tell

if TYPE_CHECKING:
    from landscape.studies.keeping import Attempt


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
    type=click.Choice(["random"]),
    default="random",
    show_default=True,
    help="Direction from one minimum.",
)
@options.normalize
@options.what_to_measure("float32", None, bn=False)
@click.option(
    "--bn",
    type=click.Choice(["eval", "interpolate", "batch"]),
    help="Batch norm: stored statistics of the first minimum, statistics that move with the params, or those of "
    "batches of --bn-batch samples.  [default: interpolate between minima, else eval]",
)
@options.resume
@options.storing
def command(checkpoints: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Loss and accuracy between two minima, or along a random direction from one.

    \b
    Example:
      landscape line runs/small.safetensors runs/large.safetensors --out r.h5
    """
    with numerical_as_json("line", as_json):
        return _line(checkpoints, as_json, **flags)


def _line(
    checkpoints: tuple[str, ...],
    as_json: bool,
    span: str | None,
    direction: str,  # noqa: ARG001 - one kind so far
    normalize: str,
    bn: str | None,
    resume: bool,
    out: str | None,
    overwrite: bool,
    **flags: Any,
) -> int:
    from landscape.errors import UsageError

    if len(checkpoints) > 2:
        raise UsageError(f"a line takes one or two checkpoints, got {len(checkpoints)}")
    default = "-1:2:61" if len(checkpoints) == 2 else "-1:1:51"
    alphas = options.positions(span or default, "--range")
    store = checked_store(out, resume=resume)
    asked = options.request(bn="batch" if bn == "batch" else "eval", **flags)
    from landscape.execution import has_batch_norm
    from landscape.results import NON_FINITE, Line
    from landscape.slices import line
    from landscape.slices.line import settings
    from landscape.studies.measured import measured
    from landscape.studies.slicing import described, directions_from

    minima = measured(asked, list(checkpoints))
    start = minima[0]
    if len(minima) == 2:
        end, label = minima[1].objective, f"{start.label}--{minima[1].label}"
        made = {"kind": "between", "ends": [minimum.label for minimum in minima]}
    else:
        end, label = directions_from(start.objective, asked.seed, normalize)[0], start.label
        made = described(asked.seed, normalize)
    about: dict[str, Any] = {"split": start.split, "test": start.test, "bn": None if bn == "batch" else bn}

    def compute(attempt: Attempt) -> Line:
        with bar("line", len(alphas)) as update:
            going_on: dict[str, Any] = {"partial": attempt.partial, "watch": attempt.watch(update)}
            return line(start.objective, end, alphas, **about, made=made, **going_on)

    identity = settings(start.objective, end, alphas, **about)
    result, provenance = obtain(store, label, identity, compute, minima=minima, overwrite=overwrite, resume=resume)
    assert isinstance(result, Line)
    lost = int((result.point_status == NON_FINITE).sum())
    if lost:
        hint = "; --bn batch evaluates with batch statistics" if has_batch_norm(start.objective.model) else ""
        tell(f"{label}: {lost} of {len(result.alpha)} points are not finite{hint}")
    return present(result, label, provenance, _text(result), as_json)


def _text(result: Any) -> list[str]:
    names = ["loss", "accuracy", "test_loss", "test_accuracy"]
    shown = [name for name in names if getattr(result, name) is not None]
    rows = ["   alpha" + "".join(f"{name:>15}" for name in shown)]
    for i, alpha in enumerate(result.alpha):
        rows.append(f"{alpha:8.3f}" + "".join(f"{getattr(result, name)[i]:15.6g}" for name in shown))
    if result.barrier is not None:
        rows.append(
            f"barrier {result.barrier:.6g}"
            + ("" if result.error_barrier is None else f"   error barrier {result.error_barrier:.6g}")
        )
    return rows
