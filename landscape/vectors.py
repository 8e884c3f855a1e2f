"""Params as one vector: which tensors, in which order, and back."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import digest
from .errors import InputError


@dataclass(frozen=True)
class Layout:
    """The order in which a model's trainable params lie in a vector of size n.

    A tensor that two modules share (tied weights) counts once, under its first name.
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @property
    def sizes(self) -> list[int]:
        """Number of params in each tensor."""
        return [shape.numel() for shape in self.shapes]

    @property
    def size(self) -> int:
        """n, the number of params."""
        return sum(self.sizes)

    def split(self, vector: Tensor) -> list[Tensor]:
        """Views of a vector (n,) as tensors of the params' shapes."""
        parts = vector.split(self.sizes)
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def matching(self, pattern: str) -> Layout:
        """The layout of the params whose names a glob pattern matches; InputError where there is none."""
        chosen = [(n, s) for n, s in zip(self.names, self.shapes, strict=True) if fnmatch.fnmatchcase(n, pattern)]
        if not chosen:
            some = ", ".join(self.names[:3]) + (" ..." if len(self.names) > 3 else "")
            raise InputError(f"no param is named like {pattern!r}; the params are {some}")
        return Layout(tuple(n for n, _ in chosen), tuple(s for _, s in chosen))

    def leading(self, vector: Tensor) -> str:
        """The name of the param where a vector (n,) is largest; where it is not finite, if it is so anywhere."""
        sizes = [float(part.abs().max()) if part.numel() else 0.0 for part in self.split(vector)]
        return self.names[max(range(len(sizes)), key=lambda i: math.inf if math.isnan(sizes[i]) else sizes[i])]

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """The views of `split`, by name."""
        return dict(zip(self.names, self.split(vector), strict=True))

    def join(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """One vector (n,) of the tensors by name; InputError where one is missing or of another shape."""
        for name, shape in zip(self.names, self.shapes, strict=True):
            if name not in tensors or tensors[name].shape != shape:
                got = tuple(tensors[name].shape) if name in tensors else "nothing"
                raise InputError(f"param {name} should be {tuple(shape)}, got {got}; is it the same architecture?")
        return flatten([tensors[name].detach() for name in self.names])


def layout_of(model: nn.Module) -> Layout:
    """The layout of the params that require a gradient. Raises InputError where there is none."""
    params = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not params:
        raise InputError("the model has no trainable params; set requires_grad on those to be analysed")
    return Layout(tuple(params), tuple(p.shape for p in params.values()))


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """One vector of all the tensors' entries, in order."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of tensors of any type, by name, type, shape and bytes."""
    arrays = {
        f"{name}|{tensor.dtype}|{tuple(tensor.shape)}": tensor.detach()
        .cpu()
        .contiguous()
        .reshape(-1)
        .view(torch.uint8)
        .numpy()
        for name, tensor in tensors.items()
    }
    return digest.of_arrays(arrays)
