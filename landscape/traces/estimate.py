"""`trace`: one function over the estimators."""

from __future__ import annotations

import math
from typing import Any

import torch

from ..errors import UsageError
from ..operators import AbstractOperator
from ..results import Status, Trace
from .hutchinson import hutchinson
from .hutchpp import hutchpp
from .sums import Budget, Estimate, Progress
from .xtrace import xtrace

VERSION = 1
METHODS = ("hutchinson", "hutch++", "xtrace")


def settings(
    operator: AbstractOperator, *, method: str, tol: float, max_matvecs: int, per_layer: bool, seed: int
) -> dict[str, Any]:
    """What identifies the result of `trace` with these arguments."""
    return operator.settings(
        Trace.kind, VERSION, method=method, tol=tol, max_matvecs=max_matvecs, per_layer=per_layer, seed=seed
    )


def trace(
    operator: AbstractOperator,
    *,
    method: str = "hutchinson",
    tol: float = 0.01,
    max_matvecs: int = 1000,
    per_layer: bool = False,
    of: str = "trace",
    seed: int = 0,
    progress: Progress | None = None,
) -> Trace:
    """tr A with its standard error, and |A|_F with its own, from products with random vectors.

    Stops where the standard error is tol |tr A| after at least 30 probes; tol |A|_F where |tr A| is smaller than
    that. Where as many products as params would be needed and the budget has them, a whole basis is taken: exact.

    Args:
        method: `hutchinson` (Hutchinson 1990), `hutch++` (Meyer et al. 2021) or `xtrace` (Epperly et al. 2024); the
            last two need fewer products where few eigenvalues make up most of the trace.
        tol: relative standard error.
        max_matvecs: budget; where it runs out the status is `not converged` and the estimate is returned.
        per_layer: the parts of the trace by param tensor too (hutchinson only).
        of: `trace`, or `frobenius` where the error of |A|_F is to be the one that is tol of it (hutchinson only).
        progress: called with (products so far, relative standard error, nan before there is one).

    Returns a Trace; `diagonal` and `diagonal_stderr` (n,), in memory, by hutchinson and where exact. Raises
    UsageError for arguments out of range, NumericalError for non-finite products or a contradicted self-check.
    """
    if method not in METHODS:
        raise UsageError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if not 0 < tol < math.inf or max_matvecs < 4:
        raise UsageError(f"tol must be positive and max_matvecs at least 4, got {tol} and {max_matvecs}")
    if per_layer and method != "hutchinson":
        raise UsageError(f"the parts of the trace come with --method hutchinson, not {method}")
    if of not in ("trace", "frobenius") or (of == "frobenius" and method != "hutchinson"):
        raise UsageError(f"of is trace, or frobenius by the method hutchinson, got {of!r} by {method}")
    given = settings(operator, method=method, tol=tol, max_matvecs=max_matvecs, per_layer=per_layer, seed=seed)
    given |= {} if of == "trace" else {"of": of}
    check = operator.self_check(seed)
    budget = Budget(tol, max_matvecs, progress, of=of)
    generator = torch.Generator().manual_seed(seed)
    blocks = dict(operator.blocks()) if per_layer else {}
    if method == "hutchinson":
        found = hutchinson(operator, budget, generator, list(blocks.values()))
    else:
        found = (hutchpp if method == "hutch++" else xtrace)(operator, budget, generator)
    return Trace(
        status=Status.CONVERGED if found.converged else Status.NOT_CONVERGED,
        settings=given,
        value=found.value,
        stderr=found.stderr,
        method=method if found.num_probes else "exact",
        frobenius=found.frobenius,
        frobenius_stderr=found.frobenius_stderr,
        effective_rank=found.value**2 / found.frobenius**2 if found.frobenius else math.nan,
        num_matvecs=found.num_matvecs,
        num_probes=found.num_probes,
        **operator.described(check),
        **_layers(found, blocks),
        diagonal=_numpy(found.diagonal),
        diagonal_stderr=_numpy(found.diagonal_stderr),
    )


def _layers(found: Estimate, blocks: dict[str, slice]) -> dict[str, Any]:
    if not blocks:
        return {}
    assert found.diagonal is not None
    values = torch.stack([found.diagonal[block].sum() for block in blocks.values()])
    errors = torch.zeros_like(values)
    if found.per_probe is not None:
        errors = found.per_probe.std(0) / math.sqrt(len(found.per_probe))
    return {"layers": tuple(blocks), "layer_value": _numpy(values), "layer_stderr": _numpy(errors)}


def _numpy(tensor: torch.Tensor | None) -> Any:
    return None if tensor is None else tensor.cpu().numpy()
