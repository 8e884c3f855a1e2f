"""landscape eigen"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from . import options
from .computing import bar, checked_store, numerical_as_json, obtain, on_test, present, tell

if TYPE_CHECKING:
    from landscape.results import Eigenpairs
    from landscape.store import Store
    from landscape.studies.keeping import Attempt

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
@options.max_matvecs
@click.option("--save-vectors", is_flag=True, help="Store the eigenvectors beside --out, in FILE.vectors.h5.")
@options.of_matrix
def command(checkpoint: str | None, as_json: bool, **flags: Any) -> int:
    """Top and bottom eigenvalues of a curvature matrix, each with its residual and the interval it gives.

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
    save_vectors: bool,
    operator: str,
    out: str | None,
    overwrite: bool,
    resume: bool,
    **flags: Any,
) -> int:
    """The eigenpairs of the matrix that `--operator` names, found or computed; returns the exit code.

    Products go into a journal beside the store. With `--save-vectors` the pairs are computed again where the store has
    them and the file beside it lacks the vectors.
    """
    _refuse(k, tol, max_matvecs, without_place=save_vectors and out is None)
    store = checked_store(out, resume=resume)
    asked = options.request(**flags)
    from landscape.results import Eigenpairs, Eigenvectors
    from landscape.spectrum import settings, top_eigenpairs
    from landscape.store import Store, vectors_path
    from landscape.studies.matrices import operator_of
    from landscape.studies.measured import measured

    (minimum,) = measured(asked, [checkpoint] if checkpoint else [])
    matrix = operator_of(operator, minimum.objective, asked)
    k = min(10, matrix.size) if k is None else k
    chosen: dict[str, Any] = {"which": which, "tol": tol, "max_matvecs": max_matvecs, "seed": asked.seed}

    def compute(attempt: Attempt) -> Eigenpairs:
        with bar("eigenpairs", max_matvecs) as update:
            return top_eigenpairs(
                attempt.journaled(matrix),
                k,
                **chosen,
                progress=lambda done, worst: update(done, residual=f"{worst:.1e}"),
            )

    identity = settings(matrix, k, **chosen)
    of_vectors = {**identity, "kind": Eigenvectors.kind}
    beside = Store(vectors_path(out)) if save_vectors and out is not None else None
    lacking = beside is not None and store is not None and store.same(identity) and not beside.same(of_vectors)
    result, provenance = obtain(
        store,
        minimum.label,
        identity,
        compute,
        minima=[minimum],
        overwrite=overwrite or bool(lacking),
        resume=resume,
        products=True,
    )
    assert isinstance(result, Eigenpairs)
    if beside is not None:
        provenance = _with_vectors(beside, minimum.label, result, of_vectors, provenance)
    if result.self_check.get("precision", 0.0) > IMPRECISE:
        tell(f"float32 products are off by {result.self_check['precision']:.1e} here; --dtype float64 is exact")
    return present(result, minimum.label, provenance, _text(result), as_json, on_test(minimum))


def _refuse(k: int | None, tol: float, max_matvecs: int, *, without_place: bool) -> None:
    """UsageError for numbers out of range, or for vectors without a place to go."""
    from landscape.errors import UsageError

    if k is not None and k < 1:
        raise UsageError(f"-k must be at least 1, got {k}")
    if not 0 < tol < math.inf or max_matvecs < 1:
        raise UsageError("--tol must be positive and --max-matvecs at least 1")
    if without_place:
        raise UsageError("--save-vectors needs --out, beside which the vectors go")


def _with_vectors(
    beside: Store, label: str, result: Eigenpairs, of_vectors: dict[str, Any], provenance: dict[str, Any]
) -> dict[str, Any]:
    """Puts the vectors beside, or shares those that are there; the provenance says where the disk refuses."""
    from landscape.errors import ResourceError, one_line

    try:
        if result.vectors is None:
            beside.share(label, beside.same(of_vectors)[0])
        else:
            beside.add(label, result.eigenvectors(), provenance)
    except ResourceError as error:
        return {**provenance, "not_saved": one_line(error)}
    return provenance


def _text(result: Any) -> list[str]:
    rows = zip(result.eigenvalues, result.residuals, result.low, result.high, strict=True)
    text = [
        f"{value: .6e}   residual {residual:.1e}   in [{low:.6e}, {high:.6e}]" for value, residual, low, high in rows
    ]
    if result.gradient_fraction is not None:
        text.append(
            f"gradient: norm {result.gradient_norm:.3e}, {result.gradient_fraction:.1%} of its square in the span of "
            f"these {len(result.eigenvalues)} vectors; g'Hg / |g||Hg| {result.gradient_overlap:.3f}"
        )
    text.append(
        f"{result.status}: {result.num_matvecs} products, {result.num_params} params, {result.num_samples} samples, "
        f"loss {result.loss:.4g}"
    )
    return text
