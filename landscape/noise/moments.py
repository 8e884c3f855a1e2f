"""Mean and covariance of the gradients of single samples, without any of them being kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import memory, passes
from ..errors import InputError, NumericalError
from ..objective import Objective
from ..operators.outputs import sample_totals
from ..vectors import flatten
from .routes import HELD, Route, single

FEWEST = 8  # units; below, 95 % intervals held the truth in 88 to 92 % (measured), and of two the deviations are equal
PAIRED = 64  # units whose gradients are multiplied with each other
PASSES = 4  # times as many as are held at once, by taking gradients again
LEAST = 8  # of them where hardly one gradient can be held
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Moments:
    """What K units of N/K samples say of a population with mean gradient G and covariance Sigma of single samples.

    Each unit has a deviation r_k = w_k (g_k - g) / mean w from the mean gradient g of all: the influence of unit k on
    the ratio of sums that g is (Cochran 1977, section 6.4). Arrays are float64 on the CPU; squares are loss^2/param^2.
    """

    num_samples: int
    loss: float
    gradient: Tensor  # g (n,), penalty included
    own: Tensor  # that of the samples' loss alone (n,)
    weights: Tensor  # w_k (K,), over their mean
    mean_weight: float
    norms: Tensor  # |w_k g_k| (K,)
    spread: Tensor  # |r_k|^2 (K,)
    along: Tensor  # r_k . g (K,)
    layer_spread: Tensor  # sum_k |r_k|^2 of each param tensor (L,)
    layer_spread_squares: Tensor  # sum_k of its square (L,)
    layer_gradient: Tensor  # |g|^2 of each param tensor (L,)
    pairs: float  # sum over k != l of (r_k . r_l)^2, estimated; nan where it was not asked for

    @property
    def units(self) -> int:
        """K."""
        return len(self.spread)

    @property
    def few(self) -> bool:
        """Whether units are too few for standard errors and intervals."""
        return self.units < FEWEST

    @property
    def trace(self) -> float:
        """tr(Sigma) = N/K sum_k |r_k|^2 / (K - 1)."""
        return float(self.spread.sum()) * self.num_samples / (self.units * (self.units - 1))

    @property
    def norm_squared(self) -> float:
        """|G|^2 = |g|^2 - tr(Sigma) / N."""
        return float(self.layer_gradient.sum()) - self.trace / self.num_samples

    @property
    def trace_squared(self) -> float:
        """tr(Sigma^2), of samples."""
        return self.unit_squares * (self.num_samples / self.units) ** 2

    @property
    def unit_squares(self) -> float:
        """tr(Sigma_K^2) of units, from p, the mean over k != l of (r_k . r_l)^2.

        Deviations from a mean of the same units depend on each other: for Gaussian ones (Isserlis 1918) the mean of p
        is ((1 - 1/K)^2 + 1/K^2) tr(Sigma_K^2) + tr(Sigma_K)^2 / K^2.
        """
        count = self.units
        found = self.pairs / (count * (count - 1)) - (float(self.spread.sum()) / (count - 1) / count) ** 2
        return max(0.0, found) / ((1 - 1 / count) ** 2 + 1 / count**2)

    @property
    def effective_rank(self) -> float | None:
        """tr(S)^2 / tr(S^2) of the sample covariance S of the units, at most K - 1; None where it is zero."""
        squares = self.pairs + float(self.spread.square().sum())
        return float(self.spread.sum()) ** 2 / squares if squares > 0 else None

    @property
    def diversity(self) -> float:
        """sum_i |w_i g_i|^2 / |sum_i w_i g_i|^2 of single samples; where units are batches, from tr(Sigma)."""
        mean = float(self.own @ self.own)
        if mean == 0:
            return math.inf
        samples = self.num_samples
        if self.units == samples:
            return float(self.norms.square().sum()) / (samples**2 * mean)
        return ((samples - 1) * self.trace + samples * mean) / (samples**2 * mean)

    def covariance(self) -> tuple[float, float, float]:
        """Variances of the estimates of tr(Sigma) and |G|^2, and their covariance.

        Of their influences y_k: sum_k (y_k - mean y)^2 / (K (K - 1)). For |G|^2 that is the jackknife's variance, which
        counts the part that is quadratic in the errors of g, 2 tr(Sigma_K^2) / K^2, twice (Efron & Stein 1981): it is
        taken off once.
        """
        count = self.units
        trace = self.spread * self.num_samples / (count - 1)
        norm = 2 * self.along - self.spread / (count - 1)
        together = torch.stack([trace - trace.mean(), norm - norm.mean()])
        found = together @ together.T / (count * (count - 1))
        quadratic = 2 * self.unit_squares / (count * (count - 1))
        return float(found[0, 0]), max(float(found[1, 1]) - quadratic, quadratic), float(found[0, 1])


def moments(
    objective: Objective, route: Route, seed: int, progress: Progress | None = None, *, pairs: bool = True
) -> Moments:
    """The moments by one gradient pass for g, one pass of the route, and, for the `pairs`, gradients of 64 units.

    Memory grows with N by three numbers a sample; gradients held at once take 256 MiB at most. InputError for less than
    two units; NumericalError where the loss or a gradient is not finite.
    """
    loss, mean = objective.value_and_gradient()
    if not (math.isfinite(loss) and bool(torch.isfinite(mean).all())):
        raise NumericalError("the loss or its gradient is not finite at this point, so its noise is not either")
    of_loss = mean - objective.l2 * objective.params.double()
    return memory.recovering(_moments)(objective, route, of_loss, mean, loss, seed if pairs else None, progress)


def _moments(
    objective: Objective,
    route: Route,
    of_loss: Tensor,
    mean: Tensor,
    loss: float,
    seed: int | None,
    progress: Progress | None,
) -> Moments:
    directions = torch.stack([of_loss, mean] if objective.l2 else [mean])
    parts = list(zip(of_loss.split(objective.layout.sizes), mean.split(objective.layout.sizes), strict=True))
    square = torch.stack([a @ a for a, _ in parts])
    across = torch.stack([a @ b for a, b in parts]).sum()
    rows: dict[str, list[Tensor]] = {"weights": [], "norms": [], "spread": [], "along": []}
    layers = torch.zeros(2, len(parts), dtype=torch.float64, device=objective.device)
    done = 0
    with objective.running():
        for terms in route.terms(directions):
            weights = terms.weights[:, None]
            # |r_k|^2 and r_k . g, up to the mean weight, which is known in the end
            spread = (terms.squared - 2 * weights * terms.products[:, 0] + weights**2 * square).clamp(min=0)
            layers += torch.stack([spread.sum(0), spread.square().sum(0)])
            rows["weights"].append(terms.weights)
            rows["norms"].append(terms.squared.sum(1).sqrt())
            rows["spread"].append(spread.sum(1))
            rows["along"].append(terms.products[:, -1].sum(1) - terms.weights * across)
            done += len(terms.weights)
            if progress is not None:
                progress(min(1.0, done * route.unit_size / objective.num_samples))
        columns = {name: torch.cat(found).cpu() for name, found in rows.items()}
        count, scale = done, float(columns["weights"].mean())
        if count < 2:
            raise InputError(f"noise needs gradients of at least 2 samples or batches, got {count}; raise --samples")
        pairs = math.nan if seed is None else _pairs(objective, route, of_loss, columns["spread"], seed) / scale**4
    found = Moments(
        objective.num_samples,
        loss,
        mean.cpu(),
        of_loss.cpu(),
        columns["weights"] / scale,
        scale,
        columns["norms"] / scale,
        columns["spread"] / scale**2,
        columns["along"] / scale,
        layers[0].cpu() / scale**2,
        layers[1].cpu() / scale**4,
        torch.stack([b @ b for _, b in parts]).cpu(),
        pairs,
    )
    if not bool(torch.isfinite(found.spread).all()):
        worst = int((~torch.isfinite(found.spread)).nonzero()[0])
        raise NumericalError(f"the gradient of sample {worst * route.unit_size} (counted from 0) is not finite")
    return found


def _pairs(objective: Objective, route: Route, mean: Tensor, spread: Tensor, seed: int) -> float:
    """Sum over i != j of (r_i . r_j)^2, in the scale of `spread`: of all pairs, else from those of some units.

    Units are drawn in proportion to |r_i|^2, so that what is averaged are squared cosines, which lie in 0 ... 1 however
    heavy the tails of the norms.
    """
    total = float(spread.sum())
    if not 0 < total < math.inf:
        return 0.0
    together = max(1, HELD // (8 * mean.numel()))
    count = min(PAIRED, max(LEAST, PASSES * together))
    if len(spread) <= count:
        return float(_products(objective, route, mean, list(range(len(spread))), together).square().sum())
    generator = torch.Generator().manual_seed(seed)
    # by the inverse of the distribution: torch.multinomial takes 2^24 categories at most
    sums = spread.cumsum(0)
    drawn = torch.searchsorted(sums, torch.rand(count, generator=generator, dtype=torch.float64) * sums[-1], right=True)
    wanted, place = torch.unique(drawn.clamp(max=len(spread) - 1), return_inverse=True)
    products = _products(objective, route, mean, wanted.tolist(), together)
    lengths = spread[wanted].sqrt()
    cosines = (products / torch.outer(lengths, lengths)).square()[place][:, place]
    return total**2 * float(cosines.sum()) / (count * (count - 1))


def _products(objective: Objective, route: Route, mean: Tensor, wanted: list[int], together: int) -> Tensor:
    """Products r_i . r_j (U, U) of these units' deviations, zeros for i = j. `together` deviations are held at once.

    U gradients where all are held; else each group is multiplied with what comes after it, whose gradients are taken
    again.
    """
    found = torch.zeros(len(wanted), len(wanted), dtype=torch.float64)
    for start in range(0, len(wanted), together):
        held: list[Tensor] = []
        for column, batch in enumerate(route.units(wanted[start:]), start):
            gradient, weight = single(objective, batch)
            deviation = gradient.sub_(weight * mean)
            if held:
                found[start : start + len(held), column] = torch.stack([row @ deviation for row in held]).cpu()
            if len(held) < together:
                held.append(deviation)
    return found + found.T


def mean_cosine(objective: Objective, route: Route, found: Moments) -> float | None:
    """Mean over pairs of samples of the cosine between their gradients, from those of length one: one gradient pass.

    (|sum_k g_k/|g_k||^2 - K) / (K (K - 1)); samples whose gradient is zero are left out, None where less than two are
    left. The penalty has no part in it.
    """
    kept = found.norms > 0
    count = int(kept.sum())
    if count < 2:
        return None
    lengths = found.norms * found.mean_weight
    total = combination(objective, route, torch.where(kept, 1 / lengths, torch.zeros_like(lengths)))
    return float((total @ total - count) / (count * (count - 1)))


@memory.recovering
def combination(objective: Objective, route: Route, coefficients: Tensor) -> Tensor:
    """sum_k c_k d s_k/dw (n,) of the units' summed losses s_k, in the route's order, in float64. One gradient pass."""
    if route.name == "batches":
        with objective.running():
            units = zip(coefficients.tolist(), route.units(), strict=True)
            total = torch.zeros(objective.layout.size, dtype=torch.float64, device=objective.device)
            for coefficient, batch in units:
                total += coefficient * single(objective, batch)[0]
            return total
    parts = [part.requires_grad_() for part in objective.parts()]
    gradient = torch.zeros(objective.layout.size, dtype=torch.float64, device=objective.device)
    coefficients = coefficients.to(objective.device)
    start = 0
    with objective.running():
        for batch in objective.samples.chunks(objective.chunk):
            sums, _ = sample_totals(objective, parts, batch)
            total = (sums * coefficients[start : start + len(sums)].to(sums.dtype)).sum()
            start += len(sums)
            found = passes.gradients(total, parts)
            gradient += flatten([torch.zeros_like(p) if g is None else g for g, p in zip(found, parts, strict=True)])
    return gradient
