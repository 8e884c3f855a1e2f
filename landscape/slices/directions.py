"""Directions in parameter space, and their normalisation (Li et al. 2018, section 4)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, NumericalError, UsageError
from ..execution import BATCH_NORMS
from ..objective import Objective
from ..vectors import digest_of

NORMALISATIONS = ("filter", "layer", "model", "none")
NORMS = (*BATCH_NORMS, nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm, nn.RMSNorm)
PARALLEL = 1e-6  # sine of the angle below which two directions span no plane


@dataclass(frozen=True)
class Direction:
    """A direction: what one unit along it adds to the params, (n,) in float64, and to the statistics of batch norm.

    `buffers` are there for directions between minima, whose statistics can move with the params. `key` identifies a
    direction whose last bits may differ from run to run, such as an eigenvector; others are identified by content.
    """

    vector: Tensor
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    key: Mapping[str, Any] | None = None

    @property
    def identity(self) -> Any:
        """What identifies it."""
        return dict(self.key) if self.key is not None else digest_of({"": self.vector, **self.buffers})


def as_direction(direction: Direction | Tensor) -> Direction:
    """A tensor (n,) as a Direction."""
    return direction if isinstance(direction, Direction) else Direction(direction)


def random_direction(
    objective: Objective, generator: torch.Generator, *, normalize: str = "filter", leave_out_1d: bool = True
) -> Tensor:
    """A Gaussian direction (n,) in float64, normalised against the params of `objective`.

    Args:
        generator: a CPU generator, so that the draw depends on neither device nor dtype.
        normalize, leave_out_1d: see `normalised`.
    """
    direction = torch.randn(objective.layout.size, generator=generator, dtype=torch.float64)
    return normalised(direction, objective, normalize=normalize, leave_out_1d=leave_out_1d)


def gradient_direction(objective: Objective) -> Tensor:
    """The unit vector g / |g| (n,) along which the loss rises fastest. One gradient pass.

    Raises NumericalError where the gradient is zero or not finite.
    """
    _, gradient = objective.value_and_gradient()
    norm = float(gradient.norm())
    if not 0 < norm < float("inf"):
        raise NumericalError(f"the gradient has norm {norm}, so it gives no direction; use another direction")
    return gradient / norm


def direction_from_file(path: str | os.PathLike[str], objective: Objective) -> Tensor:
    """A direction (n,) in float64 from a safetensors file: tensors by the names of the params.

    Raises InputError for a file that cannot be read, or that does not fit the params.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no safetensors file of a direction: {error}") from error
    vector = objective.layout.join(tensors).double()
    if not bool(vector.isfinite().all()) or not bool(vector.any()):
        raise InputError(f"the direction in {path} is {'zero' if bool(vector.isfinite().all()) else 'not finite'}")
    return vector.to(objective.device)


def normalised(
    direction: Tensor, objective: Objective, *, normalize: str = "filter", leave_out_1d: bool = True
) -> Tensor:
    """The direction rescaled to the params' own norms.

    `filter`: d_f <- d_f |w_f| / |d_f| for each filter f, a slice along the first axis of a param tensor (an output
    channel of a convolution, a row of a dense layer; Li et al. 2018, section 4); `layer`: the same for each param
    tensor; `model`: for all params at once; `none`: as it is. Params of one dimension are one block for `filter`
    where they are not left out. Those left out are zero: biases and whatever else has one dimension, and the params of
    norm layers (Li et al.'s code). Raises InputError where nothing is left of the direction.
    """
    if normalize not in NORMALISATIONS:
        raise UsageError(f"normalize must be one of {', '.join(NORMALISATIONS)}, got {normalize!r}")
    params = objective.params.double().cpu()
    parts = [part.clone() for part in objective.layout.split(direction.double().cpu())]
    weights = objective.layout.split(params)
    norms = _of_norms(objective.model)
    for name, part, weight in zip(objective.layout.names, parts, weights, strict=True):
        if leave_out_1d and (part.dim() <= 1 or name in norms):
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


def orthogonalised(direction: Direction | Tensor, other: Direction | Tensor) -> Direction:
    """The part of a direction at right angles to another, d - (d'o / o'o) o, its statistics likewise.

    Twice, so that the cosine is zero to rounding (Giraud et al. 2005). Raises InputError where nothing is left.
    """
    found, base = as_direction(direction), as_direction(other)
    vector, buffers = found.vector.double(), dict(found.buffers)
    along = base.vector.to(vector)
    for _ in range(2):
        share = float(vector @ along / (along @ along))
        vector = vector - share * along
        buffers = {name: step - share * base.buffers[name].to(step) for name, step in buffers.items()}
    if not float(vector.norm()) > PARALLEL * float(found.vector.norm()):
        raise InputError("the two directions are parallel, so they span no plane; choose others")
    return Direction(vector, buffers, found.key)


def _of_norms(model: nn.Module) -> set[str]:
    """Names of the params of norm layers, under every name they have."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, NORMS)
        for name, _ in module.named_parameters(recurse=False)
    }


def _match(part: Tensor, weight: Tensor) -> None:
    """Scales each row of `part`, in place, to the norm of the same row of `weight`."""
    norms = part.norm(dim=1, keepdim=True)
    part.mul_(weight.norm(dim=1, keepdim=True) / torch.where(norms > 0, norms, torch.ones_like(norms)))
