"""The Bayesian evidence of a minimum, and its Occam factor (Smith & Le 2018), by Laplace's approximation."""

from __future__ import annotations

import math
from typing import Any

from ..errors import NumericalError, UsageError
from ..objective import Objective
from ..results import Sharpness, Status
from .determinant import NAT, LogDeterminant, log_determinant
from .search import Progress, described, settings
from .shared import Shared


def occam(
    objective: Objective, *, seed: int = 0, progress: Progress | None = None, shared: Shared | None = None
) -> Sharpness:
    """-1/2 sum_i ln(lambda_i / lambda), the logarithm of the Occam factor, in nats (Smith & Le 2018, section 2).

    lambda_i are the eigenvalues of the Hessian of the summed cost C(w) = N (L(w) + l2/2 |w|^2), lambda = N l2 those of
    its prior; N counts samples, so it leaves the ratio. With a block of params it is that of the block, the rest given.
    Exact up to 2,000 params (n products), else by Lanczos (1,800 products and a search for the smallest eigenvalue)
    with its standard error.

    Laplace's approximation is about a minimum: `decrement` in `parts` is N/2 g'(H + l2)^-1 g, the nats that a Newton
    step would gain, and the status is `not converged` where it exceeds 1. Raises UsageError for l2 = 0, NumericalError
    where H + l2 is not positive definite, or not to rounding, with the eigenvalue.
    """
    return _measured("occam", objective, seed, progress, shared)


def log_evidence(
    objective: Objective, *, seed: int = 0, progress: Progress | None = None, shared: Shared | None = None
) -> Sharpness:
    """-C(w) - 1/2 sum_i ln(lambda_i / lambda), in nats (Smith & Le 2018, section 2); letters as in `occam`.

    The logarithm of the evidence for the likelihood exp(-N L) and the prior N(0, 1 / lambda), if w is a minimum, which
    `decrement` tells as in `occam`. Where the loss is no normalised -log p (mse), a constant is
    left out. N counts samples, also where L is a mean over tokens or several outputs. With a block of params C counts
    their penalty alone: the evidence of the block, the rest given.
    `null_log_evidence` of `parts` is -N ln(classes), that of random guesses, by which Smith & Le divide. Costs and
    raises as `occam`.
    """
    return _measured("log-evidence", objective, seed, progress, shared)


def _measured(
    measure: str, objective: Objective, seed: int, progress: Progress | None, shared: Shared | None
) -> Sharpness:
    given = settings(objective, measure, seed=seed)
    if not objective.l2 > 0:
        raise UsageError(f"{measure} needs the prior of an l2 penalty; give the --l2 of training, got {objective.l2:g}")
    shared = shared or Shared(objective)
    found = shared.once(("determinant", seed), lambda: log_determinant(objective, seed=seed, progress=progress))
    loss, gradient = objective.value_and_gradient()
    cost = objective.num_samples * (loss - _penalty_of_the_rest(objective))
    value = -found.value / 2 - (cost if measure == "log-evidence" else 0.0)
    if not math.isfinite(value):
        raise NumericalError(f"the loss is {loss} at the params")
    decrement = objective.num_samples / 2 * found.decrement
    return Sharpness(
        status=Status.CONVERGED if found.converged and decrement <= NAT else Status.NOT_CONVERGED,
        settings=given,
        measure=measure,
        space="full",
        value=value,
        stderr=found.stderr / 2,
        loss=loss,
        num_matvecs=found.num_matvecs,
        parts=_parts(objective, found, cost, float(gradient.norm()), decrement),
        self_check=found.self_check,
        hvp=found.hvp,
        **described(objective),
    )


def _penalty_of_the_rest(objective: Objective) -> float:
    """What the value counts of params outside the block: part of no integral over the block."""
    rest = [objective.constants[name].double().square().sum() for name in objective.penalised]
    return objective.l2 / 2 * float(sum(rest))


def _parts(
    objective: Objective, found: LogDeterminant, cost: float, gradient_norm: float, decrement: float
) -> dict[str, Any]:
    parts = {
        "cost": cost,
        "log_determinant": found.value,
        "log_determinant_stderr": found.stderr,
        "halved_steps_change": found.change,
        "smallest_eigenvalue": found.smallest,
        "smallest_eigenvalue_residual": found.residual,
        "gradient_norm": gradient_norm,
        "decrement": decrement,
        "method": found.method,
    }
    classes = found.num_classes if objective.loss.name == "cross_entropy" else None
    if classes:
        parts["null_log_evidence"] = -objective.num_samples * math.log(classes)
    return parts
