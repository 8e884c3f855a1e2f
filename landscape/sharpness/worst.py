"""Worst-case sharpness: the largest rise of the loss in a ball, by one step or by projected ascent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import Samples
from ..errors import InputError, NumericalError
from ..objective import Objective
from ..results import Sharpness, Status
from . import ascent
from .apgd import apgd
from .ascent import Bounds, ball, box
from .search import DISPLACEMENT, Progress, Search, Space, described, settings

FIRST = 20  # steps of Auto-PGD before a search that is to converge takes others
TOLERANCE = 1e-8  # of the rise, that a converged search may leave to first order, or gain in its last round


def sam(
    objective: Objective,
    *,
    rho: float | None = None,
    norm: str = "2",
    adaptive: bool = False,
    m: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sharpness:
    """The rise of the loss after the one step that SAM takes: L(w + d) - L(w).

    d = rho g/|g| in norm 2, rho sign(g) in norm inf (Foret et al. 2021, section 2); `adaptive`: rho c^2 g/|c g| and
    rho c sign(g) with c = |w| (Kwon et al. 2021, section 3). It is a step, not a maximum: far outside the range of the
    gradient it may even be negative. Unit: loss; rho in units of params, `adaptive` relative to them; .05 (2) and .001
    (inf) by default, `adaptive` .5 and .002. `m`, `seed` and errors as in `worst`. Two gradient passes.
    """
    name = "sam-adaptive" if adaptive else "sam"

    def step(search: Search, bounds: Bounds, _base: float, start: Tensor) -> _Ended:
        _, gradient = search.evaluate(start)
        return _Ended(search.value(bounds.furthest(gradient)), 1)

    return _over_batches(objective, name, step, progress, {"rho": rho, "norm": norm, "m": m, "seed": seed})


def worst(
    objective: Objective,
    *,
    rho: float | None = None,
    norm: str = "2",
    adaptive: bool = False,
    m: int | None = None,
    iterations: int | None = None,
    converge: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sharpness:
    """The largest rise of the loss found in a ball: max L(w + d) - L(w) over |d/c|_p <= rho.

    c = 1, or |w| where `adaptive`; p is 2 or inf (Andriushchenko et al. 2023, section 3; Kwon et al. 2021). The maximum
    is sought by `iterations` (20) steps of Auto-PGD (Croce & Hein 2020, algorithm 1) from the centre: a lower bound,
    never below 0. `converge` goes on by steps towards vertices and L-BFGS (`ascent.converge`) until no more than 1e-8
    of the rise is left to first order or gained, for at most 1,000 iterations: a local maximum. To second order at a
    minimum it is, in norm 2, rho^2/2 times the largest eigenvalue of H.

    `m`: the maximum is taken for each batch of m consecutive samples by itself, and the value is their mean by the
    weights that the loss gives them, samples where it gives none (m-sharpness, Foret et al. 2021, section 4.1),
    `stderr` its standard error over batches; m = 128 in Andriushchenko et al. The smaller m, the larger the value. One
    forward pass more.

    Where the gradient vanishes at w the search starts off centre, by draws from `seed`. Unit: loss; rho in units of
    params, `adaptive` relative to them. One gradient pass a step (converging: about 1.2 an iteration). Raises
    UsageError for options out of range, InputError for an m above the samples or samples that cannot be cut,
    NumericalError where the loss is not finite in the ball, with the radius.
    """
    name = "worst-adaptive" if adaptive else "worst"
    asked = {"rho": rho, "norm": norm, "m": m, "iterations": iterations, "converge": converge, "seed": seed}
    given = settings(objective, name, **asked)

    def climb(search: Search, bounds: Bounds, base: float, start: Tensor) -> _Ended:
        steps = min(FIRST, given["iterations"]) if converge else given["iterations"]
        apgd(search, bounds, start, steps)
        if not converge:
            return _Ended(max(base, search.highest), steps, bounds.gap(search, base))
        more, converged = ascent.converge(search, bounds, base, given["iterations"] - steps, TOLERANCE)
        return _Ended(max(base, search.highest), steps + more, bounds.gap(search, base), converged)

    return _over_batches(objective, name, climb, progress, asked)


@dataclass(frozen=True)
class _Ended:
    """What the search over one batch came to."""

    highest: float
    iterations: int
    gap: float | None = None
    converged: bool | None = None
    loss: float = math.nan
    num_evaluations: int = 0
    displaced: bool = False


Climb = Callable[[Search, Bounds, float, Tensor], _Ended]


def _over_batches(
    objective: Objective, name: str, climb: Climb, progress: Progress | None, asked: dict[str, Any]
) -> Sharpness:
    """The mean of what `climb` finds in each batch of m samples, or over all of them."""
    given = settings(objective, name, **asked)
    scale = objective.params.double().abs() if name.endswith("adaptive") else torch.ones_like(objective.params).double()
    batches, m = list(_batches(objective, given["m"])), given["m"]
    weights = np.ones(1)
    if m is not None:
        totals = [_weight(batch) for batch in batches]
        batches = [batch for batch, total in zip(batches, totals, strict=True) if total > 0]
        if not batches:
            raise NumericalError("the weights of all samples are zero, so that there is no loss")
        weights = np.array([total for total in totals if total > 0]) / sum(totals)
    ended: list[_Ended] = []
    before = 0
    for batch in batches:
        offset = before
        counted = None if progress is None else lambda done, offset=offset: progress(offset + done)
        ended.append(_climbed(batch, climb, scale, given, counted))
        before += ended[-1].num_evaluations
    rises = np.array([e.highest - e.loss for e in ended])
    loss = float(weights @ [e.loss for e in ended])
    gaps = [e.gap for e in ended if e.gap is not None]
    return Sharpness(
        status=_status([e.converged for e in ended]),
        settings=given,
        measure=name,
        space="full",
        value=float(weights @ rises),
        loss=loss,
        max_loss=None if name.startswith("sam") else loss + float(weights @ rises),
        iterations=sum(e.iterations for e in ended),
        num_evaluations=sum(e.num_evaluations for e in ended),
        displaced_start=any(e.displaced for e in ended),
        rho=given["rho"],
        norm=given["norm"],
        m=m,
        gap=max(gaps) if gaps else None,
        **described(objective),
        **({} if m is None else _spread(rises, weights)),
    )


def _status(converged: list[bool | None]) -> Status:
    if None in converged:
        return Status.COMPLETE
    return Status.CONVERGED if all(converged) else Status.NOT_CONVERGED


def _spread(rises: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """The values of the batches, and the standard error of their weighted mean."""
    found: dict[str, Any] = {"repeats": len(rises), "values": rises}
    if len(rises) > 1:
        spread = float(rises.std(ddof=1))
        found |= {"std": spread, "stderr": spread * float(np.sqrt((weights**2).sum()))}
    return found


def _climbed(
    objective: Objective, climb: Climb, scale: Tensor, given: dict[str, Any], progress: Progress | None
) -> _Ended:
    """One search, in the variable u = d / c."""
    norm, rho = given["norm"], given["rho"]
    radius = (lambda u: float(u.abs().max())) if norm == "inf" else (lambda u: float(u.norm()))
    space = Space(len(scale), lambda u: scale * u, lambda g: scale * g, radius)
    bounds = box(torch.full_like(scale, rho)) if norm == "inf" else ball(rho)
    search = Search(objective, space, progress)
    start = torch.zeros_like(scale)
    base, gradient = search.evaluate(start)
    displaced = not bool(gradient.any())
    if displaced:
        draws = torch.randn(len(start), generator=torch.Generator().manual_seed(given["seed"]), dtype=torch.float64)
        start = DISPLACEMENT * bounds.furthest(draws.to(start.device))
        search.leave()
    ended = climb(search, bounds, base, start)
    if displaced and search.highest <= base:
        ended = replace(ended, gap=None if ended.gap is None else 0.0)  # the centre is the highest, and stationary
    return _Ended(ended.highest, ended.iterations, ended.gap, ended.converged, base, search.count, displaced)


def _batches(objective: Objective, m: int | None) -> Iterator[Objective]:
    """The objective over each m consecutive samples."""
    if m is None:
        yield objective
        return
    if m > objective.num_samples or not objective.samples.divisible:
        raise InputError(
            f"--m must be at most {objective.num_samples}, the samples, which must be one block, got {m}; "
            f"take a smaller one"
        )
    if objective.bn_batch and m % objective.bn_batch:
        raise InputError(f"--m {m} must be a multiple of --bn-batch {objective.bn_batch}: they share their statistics")
    for batch in objective.samples.chunks(m):
        yield objective.with_samples(Samples((batch,)), objective.loss)


def _weight(batch: Objective) -> float:
    """The sum of weights by which the loss of a batch counts. One forward pass."""
    parts, total = batch.parts(), 0.0
    with batch.running(), torch.no_grad():
        for chunk in batch.samples.chunks(batch.chunk):
            total += float(batch.forward(parts, chunk)[1][1])
    return total
