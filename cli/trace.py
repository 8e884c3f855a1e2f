"""landscape trace"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from . import options
from .computing import bar, checked_store, numerical_as_json, obtain, on_test, present

if TYPE_CHECKING:
    from landscape.studies.keeping import Attempt


@click.command("trace")
@click.argument("checkpoint", required=False, metavar="[CKPT]")
@click.option(
    "--method",
    type=click.Choice(["hutchinson", "hutch++", "xtrace"]),
    default="hutchinson",
    show_default=True,
    help="Estimator. The last two pay where few eigenvalues make up most of the trace.",
)
@click.option("--tol", type=float, default=0.01, show_default=True, help="Standard error / max(|trace|, |H|_F).")
@options.max_matvecs
@click.option("--per-layer", is_flag=True, help="The part of each param tensor too (hutchinson).")
@options.of_matrix
def command(checkpoint: str | None, as_json: bool, **flags: Any) -> int:
    """Trace of a curvature matrix with its standard error, and its Frobenius norm.

    \b
    Example:
      landscape trace runs/small.safetensors --method xtrace
      landscape trace runs/small.safetensors --per-layer --tol 0.05
    """
    with numerical_as_json("trace", as_json):
        return _trace(checkpoint, as_json, **flags)


def _trace(
    checkpoint: str | None,
    as_json: bool,
    method: str,
    tol: float,
    max_matvecs: int,
    per_layer: bool,
    operator: str,
    out: str | None,
    overwrite: bool,
    resume: bool,
    **flags: Any,
) -> int:
    from landscape.errors import UsageError

    if not 0 < tol < math.inf or max_matvecs < 4:
        raise UsageError("--tol must be positive and --max-matvecs at least 4")
    if per_layer and method != "hutchinson":
        raise UsageError(f"--per-layer comes with --method hutchinson, not {method}")
    store = checked_store(out, resume=resume)
    asked = options.request(**flags)
    from landscape.results import Trace
    from landscape.studies.matrices import operator_of
    from landscape.studies.measured import measured
    from landscape.traces import settings, trace

    (minimum,) = measured(asked, [checkpoint] if checkpoint else [])
    matrix = operator_of(operator, minimum.objective, asked)
    chosen: dict[str, Any] = {"method": method, "tol": tol, "max_matvecs": max_matvecs, "per_layer": per_layer}
    chosen["seed"] = asked.seed

    def compute(attempt: Attempt) -> Trace:
        with bar("trace", max_matvecs) as update:
            return trace(
                attempt.journaled(matrix),
                **chosen,
                progress=lambda done, error: update(done, error=f"{error:.1e}"),
            )

    identity = settings(matrix, **chosen)
    options_of_store: dict[str, Any] = {"overwrite": overwrite, "resume": resume, "products": True}
    result, provenance = obtain(store, minimum.label, identity, compute, minima=[minimum], **options_of_store)
    assert isinstance(result, Trace)
    return present(result, minimum.label, provenance, _text(result), as_json, on_test(minimum))


def _text(result: Any) -> list[str]:
    lines = [
        f"trace           {result.value: .6e} +- {result.stderr:.1e}   ({result.operator}, {result.method})",
        f"Frobenius norm  {result.frobenius: .6e} +- {result.frobenius_stderr:.1e}",
        f"effective rank  {result.effective_rank: .4g}   (squared trace over squared Frobenius norm)",
    ]
    if result.layer_value is not None:
        width = max(map(len, result.layers))
        parts = zip(result.layers, result.layer_value, result.layer_stderr, strict=True)
        lines += [f"  {name:<{width}}  {value: .4e} +- {error:.1e}" for name, value, error in parts]
    probes = f"{result.num_probes} probes, " if result.num_probes else ""
    lines.append(
        f"{result.status}: {result.num_matvecs} products, {probes}{result.num_params} params, "
        f"{result.num_samples} samples, loss {result.loss:.4g}"
    )
    return lines
