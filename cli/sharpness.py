"""landscape sharpness"""

from __future__ import annotations

import math
from typing import Any

import click

from . import options
from .computing import bar, checked_store, numerical_as_json, obtain, on_test, present


@click.command("sharpness")
@click.argument("checkpoint", required=False, metavar="[CKPT]")
@click.option("--measure", type=click.Choice(["keskar"]), default="keskar", show_default=True, help="Definition.")
@click.option("--epsilon", type=float, default=1e-3, show_default=True, help="Half-width of the box / (|x| + 1).")
@click.option("--space", type=click.Choice(["full"]), default="full", show_default=True, help="Space searched.")
@click.option("--iterations", type=int, default=10, show_default=True, help="L-BFGS-B iterations.")
@options.what_to_measure("float64", "train")
@options.storing
def command(checkpoint: str | None, as_json: bool, **flags: Any) -> int:
    """Keskar's sharpness (metric 2.1): the highest loss in a small box around the params, relative to 1 + loss.

    It follows the train loss, which is printed beside it, and is not invariant to rescaling the layers.

    \b
    Example:
      landscape sharpness runs/small.safetensors --epsilon 5e-4
    """
    with numerical_as_json("sharpness", as_json):
        return _sharpness(checkpoint, as_json, **flags)


def _sharpness(
    checkpoint: str | None,
    as_json: bool,
    measure: str,  # noqa: ARG001 - one definition so far
    space: str,  # noqa: ARG001
    epsilon: float,
    iterations: int,
    out: str | None,
    overwrite: bool,
    **flags: Any,
) -> int:
    from landscape.errors import UsageError

    if not 0 < epsilon < math.inf or iterations < 1:
        raise UsageError("--epsilon must be positive and --iterations at least 1")
    store = checked_store(out)
    asked = options.request(**flags)
    from landscape.results import Sharpness
    from landscape.sharpness import keskar, settings
    from landscape.studies.measured import measured

    (minimum,) = measured(asked, [checkpoint] if checkpoint else [])
    chosen: dict[str, Any] = {"epsilon": epsilon, "iterations": iterations, "seed": asked.seed}

    def compute(*_: object) -> Sharpness:
        with bar("sharpness", None) as update:
            return keskar(minimum.objective, **chosen, progress=update)

    result, provenance = obtain(
        store,
        minimum.label,
        settings(minimum.objective, **chosen),
        compute,
        minima=[minimum],
        overwrite=overwrite,
    )
    assert isinstance(result, Sharpness)
    text = [
        f"sharpness {result.value:.6g}   (keskar, epsilon {result.epsilon:g}, full space, "
        f"{result.iterations} iterations, {result.num_evaluations} evaluations)",
        f"loss {result.loss:.6g} -> {result.max_loss:.6g} over {result.num_samples} samples; "
        f"{result.on_boundary:.1%} of the coordinates on the box",
    ]
    return present(result, minimum.label, provenance, text, as_json, on_test(minimum))
