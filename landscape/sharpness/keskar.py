"""Sharpness as Keskar et al. (2017) define it: metric 2.1, in the full space and in random subspaces."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, NumericalError
from ..objective import Objective
from ..results import Sharpness, Status
from . import ascent
from .ascent import ascend, box
from .search import DISPLACEMENT, Progress, Search, Space, described, settings
from .subspaces import Subspace, refuse_large

FIRST = 10  # iterations of L-BFGS-B before a search that is to converge takes other steps
TOLERANCE = 1e-6  # of the rise, that a converged search may leave to first order, or gain in its last round


def keskar(
    objective: Objective,
    *,
    epsilon: float = 1e-3,
    space: str = "full",
    iterations: int | None = None,
    converge: bool = False,
    law: str | None = None,
    dimension: int | None = None,
    repeats: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sharpness:
    """Metric 2.1: 100 (max over C of f(x + A y) - f(x)) / (1 + f(x)), in percent.

    C = {y : |y_i| <= epsilon (|(A^+ x)_i| + 1)} (Keskar et al. 2017, section 2.2.2; epsilon 1e-3 and 5e-4 there). In
    the full space A = I. In a random one A is (n, dimension), 100 there, of a `law` that the paper does not state:
    `normal`, iid N(0, 1), the one its table 4 fits; `orthonormal` columns; or `uniform`, iid U(0, 1). Then the value is
    the mean over `repeats` subspaces, each from a seed of its own, `std` their standard deviation.

    The maximum is sought by `iterations` iterations of L-BFGS-B, 10 in the paper: a lower bound, not yet converged
    after 10 (50 give 1.3 to 1.8 times as much on a small network). `converge` goes on from there by steps towards
    vertices of the box (`ascent.converge`) until no more than 1e-6 of the rise is left to first order or gained, for at
    most 1,000 iterations unless `iterations` says otherwise: a local maximum, in some 50 gradient passes.

    Three traps: SciPy's default tolerances stop at once at an interpolating minimum, so ftol = gtol = 0 and all is
    float64 (give an Objective with dtype float64); the value of random subspaces depends on their law, by factors above
    100; and sharpness follows the train loss, which therefore stands in the result as `loss`. The measure is not
    invariant to rescaling the layers (Dinh et al. 2017).

    Where the gradient vanishes at x the search starts a tenth of the box off centre, in a direction drawn from
    `seed`, and `displaced_start` says so. Costs one gradient pass an evaluation, about 1.2 evaluations an iteration; a
    subspace 4 n dimension bytes besides. Raises UsageError for options out of range, InputError for a dimension above
    n, ResourceError for a subspace larger than the free memory, NumericalError where the loss is not finite in the box,
    with the radius.
    """
    asked = {"epsilon": epsilon, "space": space, "law": law, "dimension": dimension}
    given = settings(objective, "keskar", seed=seed, iterations=iterations, converge=converge, repeats=repeats, **asked)
    if given["space"] == "random":
        size, columns = objective.layout.size, int(given["dimension"])
        if columns > size:
            raise InputError(f"--dimension must be at most {size}, the params, got {columns}; take a smaller one")
        refuse_large(size, columns, objective.params.device)
    loss, gradient = objective.value_and_gradient()
    if not math.isfinite(loss):
        raise NumericalError(f"the loss is {loss} at the params")
    if not bool(torch.isfinite(gradient).all()):
        raise NumericalError("the gradient is not finite at the params")
    if not 1.0 + loss > 0:
        raise NumericalError(f"the metric divides by 1 + loss, which is {1.0 + loss:.3g} here; use a loss above -1")
    searches = [
        _Found.by(objective, where, widths, loss, gradient, given["iterations"], converge, seed, progress)
        for where, widths in _boxes(objective, given, seed)
    ]
    values = np.array([100.0 * (found.highest - loss) / (1.0 + loss) for found in searches])
    converged = all(found.converged for found in searches)
    return Sharpness(
        status=(Status.CONVERGED if converged else Status.NOT_CONVERGED) if converge else Status.COMPLETE,
        settings=given,
        measure="keskar",
        space=given["space"],
        value=float(values.mean()),
        epsilon=given["epsilon"],
        loss=loss,
        max_loss=max(found.highest for found in searches),
        iterations=sum(found.iterations for found in searches),
        num_evaluations=sum(found.num_evaluations for found in searches) + 1,
        on_boundary=float(np.mean([found.on_boundary for found in searches])),
        displaced_start=any(found.displaced for found in searches),
        gap=max(found.gap for found in searches),
        **described(objective),
        **_over_subspaces(values, given),
    )


def _over_subspaces(values: np.ndarray, given: dict[str, Any]) -> dict[str, Any]:
    if given["space"] == "full":
        return {}
    std = float(values.std(ddof=1))
    return {
        "law": given["law"],
        "dimension": given["dimension"],
        "repeats": len(values),
        "values": values,
        "std": std,
        "stderr": std / math.sqrt(len(values)),
    }


def _boxes(objective: Objective, given: dict[str, Any], seed: int) -> Iterator[tuple[Space, Tensor]]:
    """Each space with the half-widths of its box, one at a time in memory."""
    centre = objective.params.double()
    if given["space"] == "full":
        yield _box(len(centre), lambda y: y, lambda g: g, centre, given["epsilon"])
        return
    for repeat in range(given["repeats"]):
        drawn = Subspace.drawn(given["law"], len(centre), given["dimension"], (seed, repeat), centre.device)
        inside = drawn.pseudo_inverse(centre)
        yield _box(given["dimension"], drawn.into_params, drawn.adjoint, inside, given["epsilon"])


def _box(size: int, into: Any, adjoint: Any, centre: Tensor, epsilon: float) -> tuple[Space, Tensor]:
    scale = centre.abs() + 1.0
    return Space(size, into, adjoint, lambda y: float((y.abs() / scale).max())), epsilon * scale


@dataclass(frozen=True)
class _Found:
    """What the search of one box found."""

    highest: float
    gap: float
    converged: bool
    iterations: int
    num_evaluations: int
    on_boundary: float
    displaced: bool

    @classmethod
    def by(
        cls,
        objective: Objective,
        space: Space,
        widths: Tensor,
        loss: float,
        gradient: Tensor,
        iterations: int,
        converge: bool,
        seed: int,
        progress: Progress | None,
    ) -> _Found:
        search = Search(objective, space, progress)
        search.known(torch.zeros_like(widths), loss, space.adjoint(gradient))
        start = torch.zeros_like(widths)
        displaced = not bool(search.highest_gradient.any())
        if displaced:
            draws = torch.rand(len(start), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            start = DISPLACEMENT * widths * (2 * draws.to(start.device) - 1)
            search.leave()
        bounds = box(widths)
        done, converged = ascend(search, bounds, start, min(FIRST, iterations) if converge else iterations), False
        if converge:
            more, converged = ascent.converge(search, bounds, loss, iterations - done, TOLERANCE)
            done += more
        at_face = (search.highest_at.abs() >= widths * (1 - 1e-12)).double().mean()
        gap = bounds.gap(search, loss)
        return cls(max(loss, search.highest), gap, converged, done, search.count, float(at_face), displaced)
