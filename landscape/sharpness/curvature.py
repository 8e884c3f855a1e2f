"""Measures of the Hessian at one point: plain, and in units that rescaling cannot change; the Fisher-Rao norm."""

from __future__ import annotations

import glob
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..errors import InputError, NumericalError
from ..objective import Objective
from ..operators import AbstractOperator, Congruent, Fisher, Hessian
from ..results import Eigenpairs, Sharpness, Status, Trace
from ..slices.directions import normalised
from ..spectrum import top_eigenpairs
from ..traces import trace
from .layers import last_layer
from .search import Progress, described, settings
from .shared import Shared, hessian_of

EIGENVALUE_TOL = 1e-3  # residual, of the largest value: the default of `top_eigenpairs`
TRACE_METHOD = "hutchinson"
TRACE_TOL = 0.05  # standard error, of the trace: 25 times the products would be needed for 1 %
MOST_PRODUCTS = 1000


def eigenvalue(
    objective: Objective, *, seed: int = 0, progress: Progress | None = None, shared: Shared | None = None
) -> Sharpness:
    """l_1, the largest eigenvalue of the Hessian (Hochreiter & Schmidhuber 1997), to 1e-3 of max |l|.

    In loss/param^2; the l2 penalty adds its coefficient. See `landscape.top_eigenpairs` for cost and errors;
    `progress` is called with the products so far.
    """
    return _top("eigenvalue", objective, hessian_of(objective, shared), seed, progress)


def filter_eigenvalue(
    objective: Objective, *, seed: int = 0, progress: Progress | None = None, shared: Shared | None = None
) -> Sharpness:
    """The largest eigenvalue of C H C, in units of loss; C as in `filter_trace`. Costs as `eigenvalue`."""
    return _top("filter-eigenvalue", objective, by_filter(objective, shared), seed, progress)


def hessian_trace(
    objective: Objective, *, seed: int = 0, progress: Progress | None = None, shared: Shared | None = None
) -> Sharpness:
    """tr H = sum_i l_i (Yao et al. 2020), in loss/param^2, with a standard error of 5 % of it or of |H|_F.

    30 to 1,000 products (`landscape.trace`, hutchinson), no more than n where that is exact; the status says where
    they did not do. The l2 penalty adds n times its coefficient.
    """
    return _trace("trace", objective, hessian_of(objective, shared), seed, progress)


def frobenius(
    objective: Objective, *, seed: int = 0, progress: Progress | None = None, shared: Shared | None = None
) -> Sharpness:
    """|H|_F = (sum_i l_i^2)^(1/2) (Thomas et al. 2020), in loss/param^2, with a standard error of 5 % of it.

    By the probes of `hessian_trace`, as many as its own error needs: with `shared` those of the trace are not
    multiplied again. Costs as it.
    """
    return _trace("frobenius", objective, hessian_of(objective, shared), seed, progress)


def filter_trace(
    objective: Objective, *, seed: int = 0, progress: Progress | None = None, shared: Shared | None = None
) -> Sharpness:
    """tr C H C, C = diag(c), c_i = |w_f| / n_f^(1/2) for the n_f params of filter f, 0 for biases and norms; in loss.

    The mean of d'Hd over directions d that are random within each filter and of its norm (Li et al. 2018, section 4).
    Costs as `hessian_trace`. Raises InputError where nothing but biases and norms is measured.
    """
    return _trace("filter-trace", objective, by_filter(objective, shared), seed, progress)


def relative_flatness(objective: Objective, *, seed: int = 0, progress: Progress | None = None) -> Sharpness:
    """sum_{s,s'} <w_s, w_s'> tr H_{s,s'} in loss (Petzka et al. 2021, definition 3), w_s the rows of one layer.

    That layer is the param tensor of two or more dimensions (filters of a convolution are rows), among those measured,
    that is the last to be used when the network runs, whatever the order in which the layers were made; `layer` names
    it. H_{s,s'} is the block of the Hessian between two rows. Estimated as tr B H B, B = (W W')^(1/2) on rows, by
    products with the layer's own block; costs as `hessian_trace`. The l2 penalty adds its coefficient times |W|^2 and
    the length of a row, which is no property of the function: measure without it. Raises InputError where there is no
    layer.
    """
    name = last_layer(objective)
    block = objective.restricted(glob.escape(name))
    operator = Congruent.rows(Hessian(block), block.layout.split(block.params)[0])
    return _trace("relative-flatness", objective, operator, seed, progress, layer=name)


def fisher_rao(objective: Objective, *, seed: int = 0, progress: Progress | None = None) -> Sharpness:
    """(w' F w)^(1/2) in loss^(1/2) (Liang et al. 2019, definition 2), F the exact Fisher matrix, w the params measured.

    F takes labels from the model itself; neither the given ones nor the l2 penalty have a part in it. One product,
    and the self-check. Raises InputError for a loss that has no likelihood.
    """
    given = settings(objective, "fisher-rao", seed=seed)
    operator = Fisher(objective, hvp="double")  # one product: no time to gain from a path of its own
    check = operator.self_check(seed)
    product = operator.matvec(objective.params).double()
    square = float(objective.params.double() @ product)
    if not math.isfinite(square):
        raise NumericalError("a matrix-vector product is not finite; are the params and the outputs?")
    if progress:
        progress(1)
    return Sharpness(
        status=Status.CONVERGED,
        settings=given,
        value=math.sqrt(max(square, 0.0)),  # not below zero but by rounding
        num_matvecs=1,
        parts={"square": square},
        **_found("fisher-rao", objective, operator.described(check)),
    )


def by_filter(objective: Objective, shared: Shared | None = None) -> Congruent:
    """C H C, with C as in `filter_trace`. InputError where C is zero."""
    ones = torch.ones(objective.layout.size, dtype=torch.float64)
    try:
        scale = normalised(ones, objective)  # entries of 1 become |w_f| / n_f^(1/2)
    except InputError as error:
        raise InputError(
            "there are no filters: all params measured are biases, norms or zero; use another measure"
        ) from error
    return Congruent.diagonal(hessian_of(objective, shared), scale)


def _top(
    measure: str, objective: Objective, operator: AbstractOperator, seed: int, progress: Progress | None
) -> Sharpness:
    given = settings(objective, measure, seed=seed)
    pairs = top_eigenpairs(
        operator, 1, tol=EIGENVALUE_TOL, max_matvecs=MOST_PRODUCTS, seed=seed, progress=_told(progress)
    )
    return Sharpness(
        status=pairs.status,
        settings=given,
        value=float(pairs.eigenvalues[0]),
        num_matvecs=pairs.num_matvecs,
        parts={"residual": float(pairs.residuals[0])},
        **_found(measure, objective, pairs),
    )


def _trace(
    measure: str,
    objective: Objective,
    operator: AbstractOperator,
    seed: int,
    progress: Progress | None,
    layer: str | None = None,
) -> Sharpness:
    given = settings(objective, measure, seed=seed)
    which = "frobenius" if measure == "frobenius" else "trace"
    found = trace(
        operator,
        of=which,
        method=TRACE_METHOD,
        tol=TRACE_TOL,
        max_matvecs=MOST_PRODUCTS,
        seed=seed,
        progress=_told(progress),
    )
    both = {
        "trace": found.value,
        "trace_stderr": found.stderr,
        "frobenius": found.frobenius,
        "frobenius_stderr": found.frobenius_stderr,
    }
    return Sharpness(
        status=found.status,
        settings=given,
        value=both[which],
        stderr=both[f"{which}_stderr"],
        num_matvecs=found.num_matvecs,
        layer=layer,
        parts={**both, "method": found.method, "size": operator.size},
        **_found(measure, objective, found),
    )


def _found(measure: str, objective: Objective, result: Eigenpairs | Trace | Mapping[str, Any]) -> dict[str, Any]:
    """The fields that every measure of an operator has."""
    fields = result if isinstance(result, Mapping) else vars(result)
    kept = {key: fields[key] for key in ("loss", "self_check", "hvp")}
    return {"measure": measure, "space": "full", **kept, **described(objective)}


def _told(progress: Progress | None) -> Callable[[int, float], None] | None:
    """What the estimators call with products and error, for one who is told products alone."""
    return (lambda products, _: progress(products)) if progress else None
