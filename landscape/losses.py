"""Losses as sums over samples with weights, so that chunks of any size combine without error.

The loss of a set is S / W, the sum S of the chunks' sums over the sum W of their weights. Built-in losses know
their weights; a user's callable returns a mean (its weight is then the number of samples) or `(sum, weight)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from . import specs
from .errors import InputError, one_line

Totals = tuple[Tensor, Tensor]

IGNORED = -100  # torch's default ignore_index of cross_entropy


@contextmanager
def in_range(what: str, check: str) -> Iterator[None]:
    """Tells a class or a token out of range, beyond the samples that were tried first, as an InputError.

    For the call of a loss or of a network alone: an IndexError from anywhere else is a mistake of this library.
    """
    try:
        yield
    except (IndexError, RuntimeError) as error:
        if not isinstance(error, IndexError) and "out of bounds" not in str(error):
            raise
        raise InputError(f"{what} and data do not fit: {one_line(error)}; check the {check}") from error


@dataclass(frozen=True)
class Loss:
    """A named loss. `per_sample(outputs, targets)` gives sums and weights, (N,) each, where that is defined;

    `function` is a user's callable, of `(outputs, targets)` or, for dict batches, of `(model, batch)`.
    """

    name: str
    per_sample: Callable[[Tensor, Tensor], Totals] | None = None
    function: Callable[..., Any] | None = None
    mean: Callable[[Tensor, Tensor], Tensor] | None = None  # sum over weight of a batch in one call of torch

    def totals(self, outputs: Any, targets: Any, samples: int) -> Totals:
        """Sum and weight of one chunk, scalars."""
        if self.per_sample is not None:
            sums, weights = self.per_sample(outputs, targets)
            return sums.sum(), weights.sum()
        assert self.function is not None
        try:
            returned = self.function(outputs, targets)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise InputError(f"the loss {self.name} failed: {one_line(error)}; check the SPEC") from error
        return _sum_and_weight(returned, self.name, samples)


def _sum_and_weight(returned: Any, name: str, samples: int) -> Totals:
    if isinstance(returned, tuple) and len(returned) == 2:
        total, weight = returned
        if isinstance(total, Tensor) and total.dim() == 0:
            return total, torch.as_tensor(weight, device=total.device).detach()
    elif isinstance(returned, Tensor) and returned.dim() == 0:
        return returned * samples, torch.tensor(float(samples), dtype=torch.float64, device=returned.device)
    raise InputError(f"the loss {name} must return a scalar tensor (the mean) or (sum, weight), got {_shown(returned)}")


def _shown(returned: Any) -> str:
    if isinstance(returned, Tensor):
        return f"a tensor of shape {tuple(returned.shape)}"
    return type(returned).__name__


@in_range("loss cross_entropy", "targets")
def _cross_entropy(outputs: Tensor, targets: Tensor) -> Totals:
    losses = functional.cross_entropy(outputs, targets, reduction="none")
    counted = torch.ones_like(losses) if targets.is_floating_point() else (targets != IGNORED).to(losses.dtype)
    return _per_row(losses), _per_row(counted)


def _per_row(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1) if values.dim() > 1 else values


@in_range("loss mse", "targets")
def _mse(outputs: Tensor, targets: Tensor) -> Totals:
    if not targets.is_floating_point() and outputs.dim() == 2 and targets.dim() == 1:
        # Classification by squared error (Hui & Belkin 2021; Cohen et al. 2021): class indices become one-hot rows.
        # not by one_hot, which looks at values and so cannot be traced
        targets = torch.zeros_like(outputs).scatter(1, targets[:, None], 1.0)
    if outputs.shape != targets.shape:
        raise InputError(f"mse needs targets of the outputs' shape {tuple(outputs.shape)}, got {tuple(targets.shape)}")
    losses = functional.mse_loss(outputs, targets, reduction="none")
    return _per_row(losses), _per_row(torch.ones_like(losses))


BUILTIN = {"cross_entropy": _cross_entropy, "mse": _mse}
MEANS = {"cross_entropy": functional.cross_entropy}


def resolve_loss(loss: str | Callable[..., Any] | Loss) -> Loss:
    """The Loss of a name, a SPEC or a callable. Raises UsageError, InputError."""
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        return Loss(name=_name(loss), function=loss)
    if specs.is_builtin(loss):
        if loss not in BUILTIN:
            raise specs.unknown("loss", loss, BUILTIN)
        return Loss(name=loss, per_sample=BUILTIN[loss], mean=MEANS.get(loss))
    found = specs.load(loss)
    if isinstance(found, type):
        found = specs.call(found, {}, loss)
    if not callable(found):
        raise InputError(f"--loss {loss} must be callable, got {type(found).__name__}")
    return Loss(name=loss, function=found)


def of_normalized_logits(loss: Loss) -> Loss:
    """The loss of f / (mean_k (f_k - mean f)^2)^(1/2) for each sample's logits f (K,): blind to their scale.

    Source: Andriushchenko et al. (2023, section 3). InputError for a loss without a per-sample form of its own.
    """
    within = loss.per_sample
    if within is None:
        raise InputError(f"logits are normalised for {', '.join(BUILTIN)}; normalise those of {loss.name} in its code")

    def per_sample(outputs: Tensor, targets: Tensor) -> Totals:
        deviation = (outputs - outputs.mean(1, keepdim=True)).square().mean(1, keepdim=True).sqrt()
        # a sample whose logits are all equal keeps them
        return within(outputs / torch.where(deviation > 0, deviation, torch.ones_like(deviation)), targets)

    return Loss(name=f"{loss.name} of normalized logits", per_sample=per_sample)


def _name(function: Callable[..., Any]) -> str:
    kind = function if hasattr(function, "__qualname__") else type(function)
    return f"{kind.__module__}:{kind.__qualname__}"
