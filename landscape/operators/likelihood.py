"""Distributions of the targets given the outputs, for which a loss is a negative log-likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError, UsageError
from ..losses import BUILTIN, IGNORED, Loss, Totals

OF_LOSS = {"cross_entropy": "categorical", "mse": "gaussian"}


@dataclass(frozen=True)
class Likelihood:
    """Expected second derivative of -log p by the outputs, and what drawn targets need.

    `information(outputs, tangent)` is E[s s'] tangent. `draw(outputs, generator)` gives targets. `per_sample(outputs,
    drawn)` is -log p(drawn), up to a constant, as sums and weights of samples. `score(outputs, drawn)`, for M targets
    a sample (B, M, ...), is s, the derivative of -log p by the outputs, one for each. `count(outputs, targets)` is the
    number of targets that count.
    """

    name: str
    information: Callable[[Tensor, Tensor], Tensor]
    draw: Callable[[Tensor, torch.Generator], Tensor]
    per_sample: Callable[[Tensor, Tensor], Totals]
    score: Callable[[Tensor, Tensor], Tensor]
    count: Callable[[Tensor, Tensor], Tensor]


def _uniform(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64).to(like.device)


def _categorical_information(outputs: Tensor, tangent: Tensor) -> Tensor:
    p = outputs.softmax(1)
    return p * (tangent - (p * tangent).sum(1, keepdim=True))


def _categorical_draw(outputs: Tensor, generator: torch.Generator) -> Tensor:
    """Classes by inverting the distribution function, so that they follow from the generator on the CPU."""
    below = outputs.double().softmax(1).cumsum(1)[:, :-1]
    return (below < _uniform((len(outputs), 1, *outputs.shape[2:]), outputs, generator)).sum(1)


def _categorical_score(outputs: Tensor, drawn: Tensor) -> Tensor:
    p = outputs.softmax(1).unsqueeze(1).expand(-1, drawn.shape[1], *outputs.shape[1:])
    hot = torch.zeros_like(p).scatter(2, drawn.clamp(min=0).unsqueeze(2), 1.0)
    return (p - hot) * (drawn != IGNORED).unsqueeze(2)


def _categorical_count(outputs: Tensor, targets: Tensor) -> Tensor:
    if targets.is_floating_point():
        return torch.tensor(outputs.numel() // outputs.shape[1])
    return (targets != IGNORED).sum()


def _size(outputs: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG001
    return torch.tensor(outputs.numel())


def _gaussian_draw(outputs: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
    return outputs + noise.to(outputs) / 2**0.5


def _bernoulli_draw(outputs: Tensor, generator: torch.Generator) -> Tensor:
    return (_uniform(tuple(outputs.shape), outputs, generator) < outputs.double().sigmoid()).to(outputs.dtype)


def _bernoulli_loss(outputs: Tensor, targets: Tensor) -> Totals:
    losses = functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").flatten(1)
    return losses.sum(1), torch.ones_like(losses).sum(1)


LIKELIHOODS = {
    "categorical": Likelihood(
        "categorical",
        _categorical_information,
        _categorical_draw,
        BUILTIN["cross_entropy"],
        _categorical_score,
        _categorical_count,
    ),
    # -log p = |o - t|^2 + const: variance 1/2
    "gaussian": Likelihood(
        "gaussian",
        lambda outputs, tangent: 2 * tangent,  # noqa: ARG005
        _gaussian_draw,
        BUILTIN["mse"],
        lambda outputs, drawn: 2 * (outputs.unsqueeze(1) - drawn),
        _size,
    ),
    "bernoulli": Likelihood(
        "bernoulli",
        lambda outputs, tangent: outputs.sigmoid() * (1 - outputs.sigmoid()) * tangent,
        _bernoulli_draw,
        _bernoulli_loss,
        lambda outputs, drawn: outputs.sigmoid().unsqueeze(1) - drawn,
        _size,
    ),
}


def likelihood_of(loss: Loss, name: str | None) -> Likelihood:
    """The likelihood of a built-in loss, or the one named. UsageError for an unknown name, InputError for none."""
    chosen = name or OF_LOSS.get(loss.name)
    if chosen is None:
        raise InputError(
            f"the Fisher matrix needs the likelihood behind the loss {loss.name}; use cross_entropy or mse, or in "
            f"Python Fisher(..., likelihood=...) with one of {', '.join(LIKELIHOODS)}"
        )
    if chosen not in LIKELIHOODS:
        raise UsageError(f"likelihood must be one of {', '.join(LIKELIHOODS)}, got {chosen!r}")
    return LIKELIHOODS[chosen]
