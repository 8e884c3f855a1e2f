"""What operations do with the axes that carry units. An operation that is not listed here is not understood.

Each rule takes the call and its arguments, tensors as `Carried`, ties or fixes units, and returns the axes of the
outcome (for each tensor of it, where it is a tuple). Where it does not understand the arguments it raises ValueError,
or whatever comes of them; ties made before that only leave fewer permutations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .units import Axis, Units

Axes = tuple[Axis, ...]


@dataclass(frozen=True)
class Carried:
    """A tensor, and for each of its axes the units it carries."""

    tensor: Tensor
    axes: Axes


@dataclass(frozen=True)
class Call:
    """One call: the units, its outcome on two samples, and the same operation on another first argument."""

    units: Units
    out: Any
    again: Callable[[Tensor], Any]


def pointwise(call: Call, *args: Any, **kwargs: Any) -> Axes:
    """Place by place, with broadcasting; or along an axis in a way that treats all its places alike (softmax)."""
    return _broadcast(call, [a for a in (*args, *kwargs.values()) if isinstance(a, Carried)], call.out.shape)


def _broadcast(call: Call, tensors: Sequence[Carried], shape: Sequence[int]) -> Axes:
    found: list[Axis] = []
    for back in range(len(shape), 0, -1):
        full = [t for t in tensors if t.tensor.dim() >= back and t.tensor.shape[-back] == shape[-back]]
        axis = full[0].axes[-back]
        for other in full[1:]:
            axis = call.units.tie(axis, other.axes[-back])
        found.append(axis)
    return tuple(found)


def linear(call: Call, input: Carried, weight: Carried, bias: Carried | None = None) -> Axes:
    """x W' + b."""
    call.units.tie(input.axes[-1], weight.axes[1])
    return (*input.axes[:-1], _with_bias(call, weight.axes[0], bias))


def convolution(
    call: Call,
    input: Carried,
    weight: Carried,
    bias: Carried | None = None,
    stride: Any = 1,  # noqa: ARG001 - the signature of the operation
    padding: Any = 0,  # noqa: ARG001
    dilation: Any = 1,  # noqa: ARG001
    groups: int = 1,
) -> Axes:
    """All channels with all channels, over one to three axes of pixels; ValueError where there are groups of them."""
    if groups != 1:
        raise ValueError("groups of channels")
    pixels = weight.tensor.dim() - 2
    for axis in (*input.axes[-pixels:], *weight.axes[2:]):
        call.units.fix(axis)
    call.units.tie(input.axes[-pixels - 1], weight.axes[1])
    return (*input.axes[: -pixels - 1], _with_bias(call, weight.axes[0], bias), *(None,) * pixels)


def _with_bias(call: Call, axis: Axis, bias: Carried | None) -> Axis:
    return axis if bias is None else call.units.tie(axis, bias.axes[0])


def matmul(call: Call, input: Carried, other: Carried) -> Axes:
    """x @ y of matrices, or stacks of them."""
    if min(input.tensor.dim(), other.tensor.dim()) < 2:
        raise ValueError("a product with a vector")
    call.units.tie(input.axes[-1], other.axes[-2])
    stacks = [Carried(t.tensor[..., 0, 0], t.axes[:-2]) for t in (input, other)]
    return (*_broadcast(call, stacks, call.out.shape[:-2]), input.axes[-2], other.axes[-1])


def embedding(call: Call, input: Carried, weight: Carried, *_: Any, **__: Any) -> Axes:
    """Rows of a table by number."""
    call.units.fix(weight.axes[0])
    return (*input.axes, weight.axes[1])


def channelwise(call: Call, input: Carried, *args: Any, **kwargs: Any) -> Axes:
    """Batch norm and PReLU: one number of each vector for each channel, axis 1."""
    for vector in (*args, *kwargs.values()):
        if isinstance(vector, Carried) and vector.tensor.numel() > 1:
            call.units.tie(input.axes[1], vector.axes[0])
    return input.axes


def layer_norm(call: Call, input: Carried, normalized_shape: Sequence[int], *args: Any, **kwargs: Any) -> Axes:
    """Mean and variance over the last axes, the same under any order of their places; a number for each place."""
    for weights in (*args, *kwargs.values()):
        if isinstance(weights, Carried):
            for axis, own in zip(input.axes[-len(normalized_shape) :], weights.axes, strict=True):
                call.units.tie(axis, own)
    return input.axes


def of_pixels(pixels: int, call: Call, input: Carried, *_: Any, **__: Any) -> Axes:
    """Each channel by itself, mixing the places of the last axes."""
    for axis in input.axes[-pixels:]:
        call.units.fix(axis)
    return (*input.axes[:-pixels], *(None,) * pixels)


def reduction(_: Call, input: Carried, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Axes:  # noqa: ARG001
    """A sum, mean or extremum over axes, the same under any order of their places."""
    count = len(input.axes)
    dims = range(count) if dim is None or dim in ((), []) else (dim,) if isinstance(dim, int) else dim
    gone = {d % count for d in dims}
    return tuple(None if i in gone else axis for i, axis in enumerate(input.axes) if keepdim or i not in gone)


def concatenation(call: Call, tensors: Sequence[Carried], dim: int = 0) -> Axes:
    """Tensors one after the other along an axis."""
    dim %= call.out.dim()
    axes: list[Axis] = list(tensors[0].axes)
    for other in tensors[1:]:
        axes = [
            call.units.tie(a, b) if i != dim else None for i, (a, b) in enumerate(zip(axes, other.axes, strict=True))
        ]
    if any(t.axes[dim] is not None for t in tensors):
        axes[dim] = np.concatenate([_or_fixed(call, t.axes[dim], t.tensor.shape[dim]) for t in tensors])
    return tuple(axes)


def _or_fixed(call: Call, axis: Axis, size: int) -> np.ndarray:
    if axis is not None:
        return axis
    made = call.units.new(size)
    call.units.fix(made)
    return made


def padding(call: Call, input: Carried, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Axes:  # noqa: ARG001
    """Pixels or channels of one constant at the ends of axes: new channels, alike among themselves."""
    axes = list(input.axes)
    for back, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True), start=1):
        axis = axes[-back]
        if axis is None or before == after == 0:
            continue
        if mode != "constant" or min(before, after) < 0:
            raise ValueError("channels padded by others, or taken away")
        made = call.units.new(before + after)
        axes[-back] = np.concatenate([made[:before], axis, made[before:]])
    return tuple(axes)


def movement(call: Call, input: Carried, *args: Any, **kwargs: Any) -> tuple[Axes, ...] | Axes:
    """Entries of a tensor in another shape, or some of them, in their order.

    The operation itself is made on the numbers of the units: where they then vary along one axis only, that axis
    carries them; else they are fixed.
    """
    if any(isinstance(a, Carried) for a in (*args, *kwargs.values())):
        raise ValueError("places that depend on values")
    several = isinstance(call.out, (tuple, list))
    found: list[list[Axis]] = [[None] * out.dim() for out in (call.out if several else (call.out,))]
    for dim, axis in enumerate(input.axes):
        if axis is None:
            continue
        shape = [-1 if i == dim else 1 for i in range(len(input.axes))]
        numbers = torch.from_numpy(axis).reshape(shape).expand(input.tensor.shape).contiguous()
        moved, event = call.again(numbers), call.units.event()
        for part, (piece, axes) in enumerate(zip(moved if several else (moved,), found, strict=True)):
            _carry_on(call.units, axis, piece.numpy(), axes, (event, part))
    return tuple(map(tuple, found)) if several else tuple(found[0])


def _carry_on(units: Units, axis: np.ndarray, numbers: np.ndarray, axes: list[Axis], apart: tuple[int, int]) -> None:
    if set(axis.tolist()) != set(numbers.ravel().tolist()):
        units.mark(numbers.ravel(), *apart)
    varying = [i for i in range(numbers.ndim) if (numbers != numbers.take([0], i)).any()]
    if len(varying) != 1 or axes[varying[0]] is not None:
        units.fix(numbers.ravel())
        for i in varying:
            units.fix(axes[i])
            axes[i] = None
        return
    (dim,) = varying
    axes[dim] = np.moveaxis(numbers, dim, 0).reshape(numbers.shape[dim], -1)[:, 0]
