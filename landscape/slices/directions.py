"""Directions in parameter space, and their normalisation (Li et al. 2018, section 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError, UsageError
from ..objective import Objective

NORMALISATIONS = ("filter", "layer", "model", "none")


def random_direction(
    objective: Objective, generator: torch.Generator, *, normalize: str = "filter", leave_out_1d: bool = True
) -> Tensor:
    """A Gaussian direction (n,) in float64, normalised against the params of `objective`.

    Args:
        generator: a CPU generator, so that the draw depends on neither device nor dtype.
        normalize: see `normalised`.
        leave_out_1d: zero for params of one dimension (biases, norm layers), as Li et al. do.
    """
    direction = torch.randn(objective.layout.size, generator=generator, dtype=torch.float64)
    return normalised(direction, objective, normalize=normalize, leave_out_1d=leave_out_1d)


def normalised(
    direction: Tensor, objective: Objective, *, normalize: str = "filter", leave_out_1d: bool = True
) -> Tensor:
    """The direction rescaled to the params' own norms.

    `filter`: d_f <- d_f |w_f| / |d_f| for each filter f, a slice along the first axis of a param tensor (an output
    channel of a convolution, a row of a dense layer; Li et al. 2018, section 4); `layer`: the same for each param
    tensor; `model`: for all params at once; `none`: as it is. Params of one dimension are one block for `filter`
    where they are not left out. Raises InputError where nothing is left of the direction.
    """
    if normalize not in NORMALISATIONS:
        raise UsageError(f"normalize must be one of {', '.join(NORMALISATIONS)}, got {normalize!r}")
    params = objective.params.double().cpu()
    parts = [part.clone() for part in objective.layout.split(direction.double().cpu())]
    weights = objective.layout.split(params)
    for part, weight in zip(parts, weights, strict=True):
        if leave_out_1d and part.dim() <= 1:
            part.zero_()
        elif normalize == "filter" and part.dim() > 1:
            _match(part.flatten(1), weight.flatten(1))
        elif normalize in ("filter", "layer"):
            _match(part.view(1, -1), weight.reshape(1, -1))
    whole = torch.cat([part.reshape(-1) for part in parts])
    if normalize == "model":
        _match(whole.view(1, -1), params.view(1, -1))
    if not whole.any():
        raise InputError("the direction is zero: all params have one dimension, or all weights are zero")
    return whole.to(objective.device)


def _match(part: Tensor, weight: Tensor) -> None:
    """Scales each row of `part`, in place, to the norm of the same row of `weight`."""
    norms = part.norm(dim=1, keepdim=True)
    part.mul_(weight.norm(dim=1, keepdim=True) / torch.where(norms > 0, norms, torch.ones_like(norms)))
