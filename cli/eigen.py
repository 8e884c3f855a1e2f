"""landscape eigen"""

from __future__ import annotations

import math
from typing import Any

import click

from . import options
from .computing import bar, checked_store, numerical_as_json, obtain, on_test, present, tell

IMPRECISE = 1e-2  # relative error of float32 products above which a warning is due


@click.command("eigen")
@click.argument("checkpoint", required=False, metavar="[CKPT]")
@click.option("-k", "k", type=int, help="Eigenvalues wanted, from each end.  [default: min(10, n)]")
@click.option(
    "--which",
    type=click.Choice(["largest", "smallest", "both"]),
    default="largest",
    show_default=True,
    help="The end of the spectrum (algebraically).",
)
@click.option("--tol", type=float, default=1e-3, show_default=True, help="Relative residual |Hv - lv| / max |l|.")
@click.option("--max-matvecs", type=int, default=1000, show_default=True, help="Budget of products.")
@options.what_to_measure("float32", "train")
@options.storing
def command(checkpoint: str | None, as_json: bool, **flags: Any) -> int:
    """Top and bottom eigenvalues of the Hessian, each with the residual of a fresh product.

    \b
    Example:
      landscape eigen runs/small.safetensors -k 5 --which both --out r.h5
    """
    with numerical_as_json("eigenpairs", as_json):
        return _eigen(checkpoint, as_json, **flags)


def _eigen(
    checkpoint: str | None,
    as_json: bool,
    k: int | None,
    which: str,
    tol: float,
    max_matvecs: int,
    out: str | None,
    overwrite: bool,
    **flags: Any,
) -> int:
    from landscape.errors import UsageError
    from landscape.results import Eigenpairs

    if k is not None and k < 1:
        raise UsageError(f"-k must be at least 1, got {k}")
    if not 0 < tol < math.inf or max_matvecs < 1:
        raise UsageError("--tol must be positive and --max-matvecs at least 1")
    store = checked_store(out)
    asked = options.request(**flags)
    from landscape.operators import Hessian
    from landscape.spectrum import settings, top_eigenpairs
    from landscape.studies.measured import measured

    (minimum,) = measured(asked, [checkpoint] if checkpoint else [])
    operator = Hessian(minimum.objective)
    k = min(10, operator.size) if k is None else k
    chosen: dict[str, Any] = {"which": which, "tol": tol, "max_matvecs": max_matvecs, "seed": asked.seed}

    def compute(*_: object) -> Eigenpairs:
        with bar("eigenpairs", max_matvecs) as update:
            return top_eigenpairs(
                operator, k, **chosen, progress=lambda done, worst: update(done, residual=f"{worst:.1e}")
            )

    result, provenance = obtain(
        store,
        minimum.label,
        settings(operator, k, **chosen),
        compute,
        minima=[minimum],
        overwrite=overwrite,
    )
    assert isinstance(result, Eigenpairs)
    if result.self_check.get("precision", 0.0) > IMPRECISE:
        tell(f"float32 products are off by {result.self_check['precision']:.1e} here; --dtype float64 is exact")
    text = [
        f"{value: .6e}   residual {residual:.1e}"
        for value, residual in zip(result.eigenvalues, result.residuals, strict=True)
    ]
    text.append(
        f"{result.status}: {result.num_matvecs} products, {result.num_params} params, {result.num_samples} samples, "
        f"loss {result.loss:.4g}"
    )
    return present(result, minimum.label, provenance, text, as_json, on_test(minimum))
