"""landscape density"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from . import options
from .computing import bar, checked_store, numerical_as_json, obtain, on_test, present

if TYPE_CHECKING:
    from landscape.studies.keeping import Attempt


@click.command("density")
@click.argument("checkpoint", required=False, metavar="[CKPT]")
@click.option("--probes", type=int, default=5, show_default=True, help="Random vectors; the spread is over these.")
@click.option("--steps", type=int, default=80, show_default=True, help="Lanczos steps for each: nodes of a row.")
@options.of_matrix
def command(checkpoint: str | None, as_json: bool, **flags: Any) -> int:
    """Distribution of the eigenvalues of a curvature matrix, by stochastic Lanczos quadrature.

    Nodes and weights are stored as they are; `landscape figure` smooths them.

    \b
    Example:
      landscape density runs/small.safetensors --out r.h5
      landscape figure r.h5
    """
    with numerical_as_json("density", as_json):
        return _density(checkpoint, as_json, **flags)


def _density(
    checkpoint: str | None,
    as_json: bool,
    probes: int,
    steps: int,
    operator: str,
    out: str | None,
    overwrite: bool,
    resume: bool,
    **flags: Any,
) -> int:
    from landscape.errors import UsageError

    if probes < 1 or steps < 2:
        raise UsageError("--probes must be at least 1 and --steps at least 2")
    store = checked_store(out, resume=resume)
    asked = options.request(**flags)
    from landscape.quadrature import settings, spectral_density
    from landscape.results import Density
    from landscape.studies.matrices import operator_of
    from landscape.studies.measured import measured

    (minimum,) = measured(asked, [checkpoint] if checkpoint else [])
    matrix = operator_of(operator, minimum.objective, asked)
    chosen: dict[str, Any] = {"probes": probes, "steps": steps, "seed": asked.seed}

    def compute(attempt: Attempt) -> Density:
        with bar("density", probes * steps) as update:
            return spectral_density(attempt.journaled(matrix), **chosen, progress=lambda done, _: update(done))

    identity = settings(matrix, **chosen)
    options_of_store: dict[str, Any] = {"overwrite": overwrite, "resume": resume, "products": True}
    result, provenance = obtain(store, minimum.label, identity, compute, minima=[minimum], **options_of_store)
    assert isinstance(result, Density)
    return present(result, minimum.label, provenance, _text(result), as_json, on_test(minimum))


def _text(result: Any) -> list[str]:
    rows, columns = result.nodes.shape

    def error(value: float | None) -> str:
        return "" if value is None else f" +- {value:.2g}"

    classes = "" if result.num_classes is None else f" ({result.num_classes} classes)"
    return [
        f"{result.operator}: eigenvalues in [{result.nodes.min():.4e}, {result.nodes.max():.4e}], "
        f"{rows} probes of {columns} nodes",
        f"trace {result.trace:.4e}{error(result.trace_stderr)}",
        f"{result.num_outliers:.4g}{error(result.num_outliers_stderr)} eigenvalues{classes} above the bulk edge "
        f"{result.bulk_edge:.3e}: {result.outlier_share:.1%} of the trace",
        f"{result.status}: {result.num_matvecs} products, {result.num_params} params, {result.num_samples} samples, "
        f"loss {result.loss:.4g}",
    ]
