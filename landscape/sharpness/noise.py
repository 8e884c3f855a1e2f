"""What random noise on the params does: the average rise of the loss, and the noise that costs .1 of accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import scipy.optimize
import torch
from torch import Tensor

from ..errors import InputError
from ..objective import Objective
from ..results import Sharpness, Status
from .search import Progress, Search, Space, described, settings

RISE = 0.1  # of the error, that the noise of PAC-Bayes costs
SIGMA = 0.01  # where the search for it begins
DOUBLINGS = 60  # after which it is given up, in both directions
LEAST_NOISE = 16  # units of rounding of the params, below which noise is lost in it
FLOOR = 10  # units of rounding of the loss, below which a rise is not told from none
PRECISION = 1e-3  # of sigma, relative
SLOPE_STEP = 1.1  # factor between the noises that the slope at sigma is taken from


def average(
    objective: Objective,
    *,
    rho: float | None = None,
    norm: str = "2",
    adaptive: bool = False,
    repeats: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sharpness:
    """The mean rise of the loss under noise: E L(w + d) - L(w), with its standard error over draws.

    d_i = rho c_i z_i, z ~ N(0, 1) in norm 2, U(-1, 1) in norm inf; c = 1, or |w| where `adaptive` (Andriushchenko et
    al. 2023, section 3). To second order rho^2/2 sum c_i^2 H_ii, and rho^2/6 of the same sum. Draws come in `repeats`
    (30) pairs of d and -d, which have no odd orders; `values` are the rises of the pairs. Unit: loss; rho in units of
    params, .01 (2) and .02 (inf) by default, `adaptive` relative to them, .1 and .2. The rounding of the loss is part
    of `stderr`; status `not resolved` where the value is below ten times that. Costs two values a pair, two thirds of a
    gradient pass. Raises UsageError for options out of range, NumericalError where the loss is not finite, with the
    radius: rho in norm 2, the largest |d_i / c_i| in norm inf.
    """
    name = "average-adaptive" if adaptive else "average"
    given = settings(objective, name, rho=rho, norm=norm, repeats=repeats, seed=seed)
    search = _search(objective, adaptive=adaptive, progress=progress)
    loss = search.value(torch.zeros_like(search.origin))
    rises = []
    radius = given["rho"] if given["norm"] == "2" else None
    for noise in _draws(given["repeats"], search.origin, seed, uniform=given["norm"] == "inf"):
        pair = [search.value(sign * given["rho"] * noise, radius) for sign in (1, -1)]
        rises.append(sum(pair) / 2 - loss)
    values = np.array(rises)
    std, value = float(values.std(ddof=1)), float(values.mean())
    rounding = torch.finfo(objective.dtype).eps * abs(loss)
    lost = rounding > 0 and abs(value) <= FLOOR * rounding
    return Sharpness(
        status=Status.NOT_RESOLVED if lost else Status.COMPLETE,
        settings=given,
        measure=name,
        space="full",
        value=value,
        stderr=math.hypot(std / math.sqrt(len(values)), rounding),
        loss=loss,
        num_evaluations=search.count,
        rho=given["rho"],
        norm=given["norm"],
        repeats=len(values),
        values=values,
        std=std,
        **described(objective),
    )


def pac_bayes(
    objective: Objective,
    *,
    adaptive: bool = False,
    repeats: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sharpness:
    """The noise that costs .1 of accuracy: sigma with E error(w + sigma c z) = error(w) + .1, z ~ N(0, 1).

    c = 1, or |w| where `adaptive` (Jiang et al. 2020, appendix C.4 and C.5: their measures are 1/sigma^2; there the
    magnitude-aware noise has 1e-3 added to |w|, which would make it follow the scale again). A large sigma is a flat
    minimum. The mean is over `repeats` (30) draws of z, the same at each sigma, which is found to .1 % by doubling or
    halving from .01 and by Brent's method: one crossing, where the error does not grow with sigma one of several.
    `stderr` is that of the mean error at sigma over its slope there. `parts`: the error at w, the rise, and the slope.
    Unit: that of the params, `adaptive` none.

    Status `not resolved` and a value of nan where no noise up to 2^60 times .01 costs as much, as for a network that is
    hardly better than chance. A value of 0 where any noise does, down to the rounding of the params, as where the
    largest outputs are equal. Costs 9 to 16 values a draw, 3 to 5 gradient passes; 60 values where not resolved. Raises
    UsageError for options out of range, InputError where outputs are no classes, NumericalError where the loss is not
    finite at w.
    """
    name = "pac-bayes-adaptive" if adaptive else "pac-bayes"
    given = settings(objective, name, repeats=repeats, seed=seed)
    search = _search(objective, adaptive=adaptive, progress=progress)
    loss = search.value(torch.zeros_like(search.origin))
    error = 1 - objective.evaluate().accuracy
    if math.isnan(error):
        raise InputError(f"{name} is about accuracy, and these outputs and targets are no classes; leave it out")

    def rises(sigma: float) -> np.ndarray:
        draws = _draws(given["repeats"], search.origin, seed, uniform=False)
        return np.array([search.error(sigma * noise) - error for noise in draws])

    size = 1.0 if adaptive else float(search.origin.square().mean().sqrt())
    found = _sigma(rises, LEAST_NOISE * torch.finfo(objective.dtype).eps * size)
    return Sharpness(
        status=Status.NOT_RESOLVED if found is None else Status.COMPLETE,
        settings=given,
        measure=name,
        space="full",
        value=math.nan if found is None else found["sigma"],
        stderr=None if found is None else found["stderr"],
        loss=loss,
        num_evaluations=search.count,
        repeats=given["repeats"],
        parts={"error": error, "rise": RISE} | ({} if found is None else {"slope": found["slope"]}),
        **described(objective),
    )


def _sigma(rises: Callable[[float], np.ndarray], least: float) -> dict[str, Any] | None:
    """Where the mean of rises(sigma) is RISE, its standard error, and the slope of the mean; None where it never is.

    A sigma of 0, without the others, where the mean is above RISE down to the least noise that is noise.
    """

    @cache
    def beyond(log_sigma: float) -> float:
        return float(rises(math.exp(log_sigma)).mean()) - RISE

    step = math.log(2)
    low = high = math.log(SIGMA)
    for _ in range(DOUBLINGS):
        if beyond(high) >= 0:
            break
        low, high = high, high + step
    else:
        return None
    floor = max(math.log(SIGMA) - DOUBLINGS * step, math.log(least) if least > 0 else -math.inf)
    while low == high or beyond(low) >= 0:
        if low <= floor:
            return {"sigma": 0.0, "stderr": None, "slope": None}
        # Twice as far each time: most that come here have no such sigma.
        low, high, step = max(low - step, floor), low, 2 * step
    root = scipy.optimize.brentq(beyond, low, high, xtol=PRECISION)
    sigma = math.exp(float(root))  # pyright: ignore[reportArgumentType]
    at = rises(sigma)
    ends = [float(rises(sigma * factor).mean()) for factor in (1 / SLOPE_STEP, SLOPE_STEP)]
    slope = (ends[1] - ends[0]) / (sigma * (SLOPE_STEP - 1 / SLOPE_STEP))
    error = float(at.std(ddof=1)) / math.sqrt(len(at))
    return {"sigma": sigma, "stderr": error / slope if slope > 0 else math.inf, "slope": slope}


def _search(objective: Objective, *, adaptive: bool, progress: Progress | None) -> Search:
    """The objective in the variable d / c."""
    centre = objective.params.double()
    scale = centre.abs() if adaptive else torch.ones_like(centre)
    space = Space(len(centre), lambda y: scale * y, lambda g: scale * g, lambda y: float(y.abs().max()))
    return Search(objective, space, progress)


def _draws(count: int, like: Tensor, seed: int, *, uniform: bool) -> Iterator[Tensor]:
    """The same draws each time: from the CPU, one after the other, since all together would fill the memory."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        if uniform:
            draw = 2 * torch.rand(len(like), generator=generator, dtype=torch.float64) - 1
        else:
            draw = torch.randn(len(like), generator=generator, dtype=torch.float64)
        yield draw.to(like.device)
