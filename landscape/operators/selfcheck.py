"""Is the product right? Four questions, asked before every spectrum, on a subset of the samples.

Symmetry alone does not tell (a custom function that saved a detached tensor is symmetric and wrong), and one
finite difference alone does not either (kinks of ReLU and max-pooling spoil large steps): so two steps in float64
must agree with each other before they may contradict the product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .. import passes
from ..data import Batch
from ..errors import InputError, NumericalError, one_line
from ..memory import out_of_memory
from ..objective import Objective
from ..products import Engine

SUBSET = 256  # samples that the check runs on
# Steps along a unit vector: in float64, 1e-4 ... 1e-6 keep kinked networks within 1e-9 of the truth (measured).
STEPS = (1e-5, 3e-6)
STEPS_AGREE = 1e-4  # relative difference of the two finite differences below which they are believed
CONTRADICTED = 1e-4  # relative difference from them above which the product is wrong (float64)
ROUNDING = {torch.float32: 1e-3, torch.float64: 1e-8}  # repeatability, symmetry, chunks

Product = Callable[[Tensor], Tensor]
# W v'Av of one chunk by finite differences with a step
Square = Callable[[Objective, Batch, list[Tensor], float], Tensor]


def check_hessian(objective: Objective, seed: int) -> Mapping[str, Any]:
    """The numbers of the self-check and its verdict, `agrees` or `inconclusive` with a reason.

    Raises NumericalError where a product is non-finite, does not repeat, is not symmetric, changes with the chunks,
    or is contradicted by two finite differences that agree, and names the param where it is so; InputError where a
    layer has no second derivative. Costs about twelve gradient passes over 256 samples.
    """
    part = _subset(objective)
    u, v = _probes(part, seed)
    product, numbers = _plain_questions(part, part.hvp, u, v)

    def truths(exact: Objective) -> tuple[Tensor, list[Tensor]]:
        return exact.hvp(v.double()), [_difference(exact, v.double(), step) for step in STEPS]

    return numbers | _held_against_differences(part, product, truths)


def check_gram(
    objective: Objective, engine: Callable[[Objective], Engine], square: Square, seed: int
) -> Mapping[str, Any]:
    """The same for a matrix A = J'CJ that `engine(objective)` multiplies by: v'Av is held against `square`.

    v'Av must not be negative besides. Raises as `check_hessian`. Costs about ten gradient passes over 256 samples.
    """
    part = _subset(objective)
    u, v = _probes(part, seed)
    own = engine(part)
    product, numbers = _plain_questions(part, lambda x: own.multiply(x[:, None])[:, 0].to(part.dtype), u, v)
    value = float(v @ product)
    if value < -ROUNDING[part.dtype] * float(product.norm()):
        raise NumericalError(
            f"self-check: v'Av is {value:.1e} for a matrix without negative eigenvalues; "
            f"is the loss convex in the outputs?"
        )

    def truths(exact: Objective) -> tuple[Tensor, list[Tensor]]:
        reference = engine(exact)
        found = v.double() @ reference.multiply(v.double()[:, None])[:, 0]
        along = exact.layout.split(v.double())
        with exact.running():
            chunks = list(exact.samples.chunks(exact.chunk))
            sums = [torch.stack([square(exact, chunk, along, step) for chunk in chunks]).sum() for step in STEPS]
        return found[None], [total[None] / reference.weight for total in sums]

    return numbers | _held_against_differences(part, torch.tensor([value]), truths)


def _subset(objective: Objective) -> Objective:
    batch = objective.bn_batch or 1
    return objective.subset(max(1, SUBSET // batch) * batch)  # whole batches, where they share statistics


def _probes(part: Objective, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(part.layout.size, generator=generator, dtype=torch.float64) for _ in range(2)]
    u, v = (vector / vector.norm() for vector in drawn)
    return u.to(part.device, part.dtype), v.to(part.device, part.dtype)


def _plain_questions(part: Objective, product: Product, u: Tensor, v: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """A v, and how far it is from repeating, from being symmetric, and from not depending on the chunks."""
    found = product(v)
    if not torch.isfinite(found).all():
        where = part.layout.leading(found)
        raise NumericalError(f"the matrix-vector product is not finite at {where}; are the params and the loss?")
    tolerance = ROUNDING[part.dtype]
    scale = float(found.norm()) or 1.0
    change = product(v) - found
    numbers: dict[str, Any] = {
        "subset": part.num_samples,
        "repeatability": float(change.norm()) / scale,
        "symmetry": abs(float(u @ found - v @ product(u))) / scale,
        "chunks": _chunk_difference(part),
    }
    blame = {
        "repeatability": f"the same product twice differs, most at {part.layout.leading(change)}: is dropout or "
        "augmentation on in eval mode?",
        "symmetry": "the product is not symmetric: a layer's second derivative is wrong",
        "chunks": "the loss changes with the chunks: return (sum, weight) from the loss, or let no layer mix samples",
    }
    for name, sentence in blame.items():
        if not numbers[name] <= tolerance:
            raise NumericalError(f"self-check: {sentence} (relative difference {numbers[name]:.1e}){_suspects(part)}")
    return found, numbers


def _chunk_difference(part: Objective) -> float:
    """Relative difference between the value in one piece and in chunks of which the last is short."""
    if part.bn == "batch" or not part.samples.divisible or part.num_samples < 3:
        return 0.0
    whole = part.subset(part.num_samples, chunk=part.num_samples).value()
    chunked = part.subset(part.num_samples, chunk=part.num_samples // 3 + 1).value()
    return abs(whole - chunked) / (1.0 + abs(whole))


def _held_against_differences(
    part: Objective, product: Tensor, truths: Callable[[Objective], tuple[Tensor, list[Tensor]]]
) -> dict[str, Any]:
    """`truths` gives, in float64, the product and its estimates by two steps of finite differences."""
    try:
        found, slopes = truths(part.subset(part.num_samples, dtype=torch.float64))
    except InputError:
        return _inconclusive("the model does not run in float64")
    except (RuntimeError, TypeError) as error:
        if out_of_memory(error):
            raise
        return _inconclusive(f"no float64 here: {one_line(error)[:120]}")
    scale = max(float(slopes[1].norm()), float(found.norm())) or 1.0
    numbers = {
        "steps": float((slopes[0] - slopes[1]).norm()) / scale,
        "difference": float((found - slopes[1]).norm()) / scale,
        "precision": float((product.to(found) - found).norm()) / scale,
    }
    if not numbers["steps"] <= STEPS_AGREE:
        return numbers | _inconclusive("the finite differences disagree with each other (kinks, or a flat point)")
    if not numbers["difference"] <= CONTRADICTED:
        where = f" at {part.layout.leading(found - slopes[1])}" if len(found) == part.layout.size else ""
        raise NumericalError(
            f"self-check: two finite differences agree to {numbers['steps']:.1e} and contradict the product by "
            f"{numbers['difference']:.1e}{where}: a layer's second derivative is wrong{_suspects(part)}"
        )
    return numbers | {"verdict": "agrees"}


def _suspects(part: Objective) -> str:
    """What may be at fault, by name."""
    parts = [p.requires_grad_() for p in part.parts()]
    with part.running():
        batch = next(part.samples.chunks(part.chunk))
        names = passes.suspects(passes.gradients(part.forward(parts, batch)[1][0], parts, graph=True))
    for name, module in part.model.named_modules():
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            names.append(f"the embedding {name}, whose row {module.padding_idx} torch gives a gradient of zero")
    return f"; suspect: {', '.join(names)}" if names else ""


def _inconclusive(reason: str) -> dict[str, Any]:
    return {"verdict": "inconclusive", "reason": reason}


def _difference(objective: Objective, v: Tensor, step: float) -> Tensor:
    """Central difference of the gradient along the unit vector v."""
    ahead = objective.at(objective.params + step * v).value_and_gradient()[1]
    behind = objective.at(objective.params - step * v).value_and_gradient()[1]
    return (ahead - behind) / (2 * step)
