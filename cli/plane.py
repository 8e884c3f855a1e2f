"""landscape plane"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from . import options
from .computing import bar, checked_store, numerical_as_json, obtain, present

if TYPE_CHECKING:
    from landscape.studies.keeping import Attempt


@click.command("plane")
@click.argument("checkpoint", required=False, metavar="[CKPT]")
@click.option("--x", "first", metavar="FROM:TO:NUM", default="-1:1:25", show_default=True, help="Positions, alpha.")
@click.option("--y", "second", metavar="FROM:TO:NUM", default="-1:1:25", show_default=True, help="Positions, beta.")
@click.option(
    "--directions",
    type=click.Choice(["random"]),
    default="random",
    show_default=True,
    help="The two directions.",
)
@options.normalize
@options.what_to_measure("float32", None)
@options.resume
@options.storing
def command(checkpoint: str | None, as_json: bool, **flags: Any) -> int:
    """Loss over a plane of two random directions around a minimum. Rows follow alpha (--x).

    \b
    Example:
      landscape plane runs/small.safetensors --x -1:1:51 --y -1:1:51 --out r.h5 --resume
    """
    with numerical_as_json("plane", as_json):
        return _plane(checkpoint, as_json, **flags)


def _plane(
    checkpoint: str | None,
    as_json: bool,
    first: str,
    second: str,
    directions: str,  # noqa: ARG001 - one kind so far
    normalize: str,
    resume: bool,
    out: str | None,
    overwrite: bool,
    **flags: Any,
) -> int:
    alphas, betas = options.positions(first, "--x"), options.positions(second, "--y")
    store = checked_store(out, resume=resume)
    asked = options.request(**flags)
    from landscape.results import Plane
    from landscape.slices import plane
    from landscape.slices.plane import settings
    from landscape.studies.measured import measured
    from landscape.studies.slicing import described, directions_from

    (minimum,) = measured(asked, [checkpoint] if checkpoint else [])
    pair = directions_from(minimum.objective, asked.seed, normalize)
    about: dict[str, Any] = {"split": minimum.split, "test": minimum.test}
    made = described(asked.seed, normalize)

    def compute(attempt: Attempt) -> Plane:
        with bar("plane", len(alphas) * len(betas)) as update:
            going_on: dict[str, Any] = {"partial": attempt.partial, "watch": attempt.watch(update)}
            return plane(minimum.objective, pair, alphas, betas, **about, made=made, **going_on)

    identity = settings(minimum.objective, pair, alphas, betas, **about)
    result, provenance = obtain(
        store, minimum.label, identity, compute, minima=[minimum], overwrite=overwrite, resume=resume
    )
    assert isinstance(result, Plane)
    return present(result, minimum.label, provenance, _text(result), as_json)


def _text(result: Any) -> list[str]:
    import numpy as np

    finite = result.loss[np.isfinite(result.loss)]
    low, high = (finite.min(), finite.max()) if finite.size else (np.nan, np.nan)
    left_out = int((result.point_status == 2).sum())
    return [
        f"{len(result.alpha)} x {len(result.beta)} points, loss {low:.6g} ... {high:.6g}"
        + (f", {left_out} non-finite" if left_out else ""),
        f"one unit is {result.unit_lengths[0]:.4g} along alpha, {result.unit_lengths[1]:.4g} along beta; "
        f"cosine {result.cosine:.3f}",
    ]
