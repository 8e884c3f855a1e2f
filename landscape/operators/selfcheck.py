"""Is the Hessian-vector product right? Four questions, asked before every spectrum, on a subset of the samples.

Symmetry alone does not tell (a custom function that saved a detached tensor is symmetric and wrong), and one
finite difference alone does not either (kinks of ReLU and max-pooling spoil large steps): so two steps in float64
must agree with each other before they may contradict the product.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, LandscapeError, NumericalError
from ..objective import Objective

SUBSET = 256  # samples that the check runs on
# Steps along a unit vector: in float64, 1e-4 ... 1e-6 keep kinked networks within 1e-9 of the truth (measured).
STEPS = (1e-5, 3e-6)
STEPS_AGREE = 1e-4  # relative difference of the two finite differences below which they are believed
CONTRADICTED = 1e-4  # relative difference from them above which the product is wrong (float64)
ROUNDING = {torch.float32: 1e-3, torch.float64: 1e-8}  # repeatability, symmetry, chunks


def check_hessian(objective: Objective, seed: int) -> Mapping[str, Any]:
    """The numbers of the self-check and its verdict, `agrees` or `inconclusive` with a reason.

    Raises NumericalError where a product is non-finite, does not repeat, is not symmetric, changes with the
    chunks, or is contradicted by two finite differences that agree. Costs about twelve gradient passes over 256
    samples.
    """
    batch = objective.bn_batch or 1
    part = objective.subset(max(1, SUBSET // batch) * batch)  # whole batches, where they share statistics
    generator = torch.Generator().manual_seed(seed)
    u, v = (_unit(part, generator) for _ in range(2))
    product = part.hvp(v)
    if not torch.isfinite(product).all():
        raise NumericalError("the Hessian-vector product is not finite; are the params and the loss?")
    tolerance = ROUNDING[objective.dtype]
    scale = float(product.norm()) or 1.0
    numbers: dict[str, Any] = {
        "subset": part.num_samples,
        "repeatability": float((part.hvp(v) - product).norm()) / scale,
        "symmetry": abs(float(u @ product - v @ part.hvp(u))) / scale,
        "chunks": _chunk_difference(part),
    }
    blame = {
        "repeatability": "the same product twice differs: is dropout or augmentation on in eval mode?",
        "symmetry": "the product is not symmetric: a layer's second derivative is wrong",
        "chunks": "the loss changes with the chunks: return (sum, weight) from the loss, or let no layer mix samples",
    }
    for name, sentence in blame.items():
        if not numbers[name] <= tolerance:
            raise NumericalError(f"self-check: {sentence} (relative difference {numbers[name]:.1e})")
    return numbers | _finite_differences(part, v, product)


def _unit(objective: Objective, generator: torch.Generator) -> Tensor:
    vector = torch.randn(objective.layout.size, generator=generator, dtype=torch.float64)
    return (vector / vector.norm()).to(objective.device, objective.dtype)


def _chunk_difference(part: Objective) -> float:
    """Relative difference between the value in one piece and in chunks of which the last is short."""
    if part.bn == "batch" or not part.samples.divisible or part.num_samples < 3:
        return 0.0
    whole = part.subset(part.num_samples, chunk=part.num_samples).value()
    chunked = part.subset(part.num_samples, chunk=part.num_samples // 3 + 1).value()
    return abs(whole - chunked) / (1.0 + abs(whole))


def _finite_differences(part: Objective, v: Tensor, product: Tensor) -> dict[str, Any]:
    try:
        exact = part.subset(part.num_samples, dtype=torch.float64)
        truth = exact.hvp(v)
        slopes = [_difference(exact, v.double(), step) for step in STEPS]
    except LandscapeError as error:
        if isinstance(error, InputError):
            return _inconclusive("the model does not run in float64")
        raise
    except (RuntimeError, TypeError) as error:
        return _inconclusive(f"no float64 here: {' '.join(str(error).split())[:120]}")
    scale = max(float(slopes[1].norm()), float(truth.norm())) or 1.0
    numbers = {
        "steps": float((slopes[0] - slopes[1]).norm()) / scale,
        "difference": float((truth - slopes[1]).norm()) / scale,
        "precision": float((product.double() - truth).norm()) / scale,
    }
    if not numbers["steps"] <= STEPS_AGREE:
        return numbers | _inconclusive("the finite differences disagree with each other (kinks, or a flat point)")
    if not numbers["difference"] <= CONTRADICTED:
        raise NumericalError(
            f"self-check: two finite differences agree to {numbers['steps']:.1e} and contradict the product by "
            f"{numbers['difference']:.1e}: a layer's second derivative is wrong"
        )
    return numbers | {"verdict": "agrees"}


def _inconclusive(reason: str) -> dict[str, Any]:
    return {"verdict": "inconclusive", "reason": reason}


def _difference(objective: Objective, v: Tensor, step: float) -> Tensor:
    """Central difference of the gradient along the unit vector v."""
    ahead = objective.at(objective.params + step * v).value_and_gradient()[1]
    behind = objective.at(objective.params - step * v).value_and_gradient()[1]
    return (ahead - behind) / (2 * step)
