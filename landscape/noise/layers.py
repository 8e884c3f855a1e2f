"""Squared norms of single samples' gradients, and their products with given directions, from a layer's own tensors.

The gradient of one sample by the weight of a linear layer is a sum over positions t (of a sequence, an image, or the
calls of the layer) of outer products, M_i = sum_t b_it a_it', of the layer's inputs a and the gradients b by its
outputs. Its norm needs no gradient: |M_i|^2 = sum_tt' (a_it . a_it') (b_it . b_it'), |a_i|^2 |b_i|^2 for one position
(Goodfellow 2015); its product with V is sum_t b_it' V a_it. Where positions are many, M_i itself is cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..execution import BATCH_NORMS

HELD = 2**22  # numbers of patches and gradients that are made at once
CHANNELS = 8  # from which on patches are copied channels last

Calls = Sequence[tuple[Tensor, Tensor]]  # inputs and gradients by the outputs, of each call of a layer
Terms = tuple[Tensor, Tensor]  # squared norms (B,), and products with the directions (B, s)


def outer_terms(inputs: Tensor, gradients: Tensor, directions: Tensor) -> Terms:
    """Of M_i = sum_t b_it a_it', for a (B, T, p), b (B, T, q) and directions (s, q, p)."""
    (count, positions, p), q = inputs.shape, gradients.shape[-1]
    if positions == 1:
        alone, slopes = inputs[:, 0], gradients[:, 0]
        return _squares(alone) * _squares(slopes), _products(alone, slopes, directions)
    if positions * (p + q) < p * q:
        gram = torch.bmm(inputs, inputs.mT).mul_(torch.bmm(gradients, gradients.mT))
        return gram.sum((1, 2)), _products(inputs, gradients, directions)
    squared, products = inputs.new_empty(count), inputs.new_empty(count, len(directions))
    step = max(1, HELD // (p * q))
    for start in range(0, count, step):
        part = slice(start, start + step)
        found = torch.bmm(gradients[part].mT, inputs[part]).flatten(1)
        squared[part] = _squares(found)
        products[part] = found @ directions.flatten(1).T
    return squared, products


def _products(inputs: Tensor, gradients: Tensor, directions: Tensor) -> Tensor:
    if not len(directions):
        return inputs.new_empty(len(inputs), 0)
    flat = gradients.flatten(1)
    return torch.stack([torch.linalg.vecdot(functional.linear(inputs, d).flatten(1), flat) for d in directions], 1)


def _squares(rows: Tensor) -> Tensor:
    """Squared norms of rows (B, p), without their squares being stored."""
    return torch.linalg.vector_norm(rows, dim=1).square()


def plain_terms(gradients: Tensor, directions: Tensor) -> Terms:
    """Of gradients of samples (B, ...) themselves, and directions (s, ...)."""
    flat = gradients.flatten(1)
    return _squares(flat), flat @ directions.flatten(1).T


def _positions(tensor: Tensor) -> Tensor:
    """(B, ..., p) as (B, T, p)."""
    return tensor.reshape(len(tensor), -1, tensor.shape[-1])


def _joined(parts: list[Tensor], axis: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, axis)


def _linear(_layer: nn.Module, calls: Calls, directions: Mapping[str, Tensor]) -> Iterator[tuple[str, Terms]]:
    inputs, gradients = (_joined([_positions(pair[i]) for pair in calls], 1) for i in (0, 1))
    if "weight" in directions:
        yield "weight", outer_terms(inputs, gradients, directions["weight"])
    if "bias" in directions:
        yield "bias", plain_terms(gradients.sum(1), directions["bias"])


def _convolution(layer: Any, calls: Calls, directions: Mapping[str, Tensor]) -> Iterator[tuple[str, Terms]]:
    if "weight" in directions:
        yield "weight", _convolution_weight(layer, calls, directions["weight"])
    if "bias" in directions:
        summed = torch.stack([b.flatten(2).sum(2) for _, b in calls]).sum(0)
        yield "bias", plain_terms(summed, directions["bias"])


def _convolution_weight(layer: Any, calls: Calls, directions: Tensor) -> Terms:
    count, groups = len(calls[0][0]), layer.groups
    inner, width = directions.shape[2], directions.shape[2:].numel() * groups + layer.out_channels
    last = inner >= CHANNELS
    # in the order of the patches
    arranged = (directions.movedim(2, -1) if last else directions).flatten(2)
    squared, products = arranged.new_zeros(count), arranged.new_zeros(count, len(arranged))
    step = max(1, HELD // (width * sum(b[0, 0].numel() for _, b in calls)))
    for start in range(0, count, step):
        part = slice(start, start + step)
        # the samples' groups as samples of their own
        patches = _joined(
            [_patches(layer, a[part].unflatten(1, (groups, inner)).flatten(0, 1), last) for a, _ in calls], 1
        )
        slopes = _joined([b[part].flatten(2).unflatten(1, (groups, -1)).flatten(0, 1) for _, b in calls], 2).mT
        if groups == 1:
            squared[part], products[part] = outer_terms(patches, slopes, arranged)
        else:
            found = torch.bmm(slopes.mT, patches).unflatten(0, (-1, groups))
            squared[part], products[part] = plain_terms(found, arranged)
    return squared, products


def _patches(layer: Any, inputs: Tensor, last: bool) -> Tensor:
    """The inputs under the kernel at each position: (B, positions, channels x kernel), `last`: kernel x channels.

    Where channels are many they are copied in one piece, else positions are.
    """
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    inputs = functional.pad(inputs, layer._reversed_padding_repeated_twice, mode=mode)  # noqa: SLF001 - as forward does
    if last:
        inputs = inputs.movedim(1, -1).contiguous().movedim(-1, 1)
    axes = list(zip(inputs.shape[2:], layer.kernel_size, layer.stride, layer.dilation, strict=True))
    places = [(size - dilation * (kernel - 1) - 1) // stride + 1 for size, kernel, stride, dilation in axes]
    strides = inputs.stride()
    view = inputs.as_strided(
        (*inputs.shape[:2], *layer.kernel_size, *places),
        (
            *strides[:2],
            *(s * dilation for s, (_, _, _, dilation) in zip(strides[2:], axes, strict=True)),
            *(s * stride for s, (_, _, stride, _) in zip(strides[2:], axes, strict=True)),
        ),
    )  # (B, C, kernel, positions)
    if last:
        order = (0, *range(2 + len(axes), 2 + 2 * len(axes)), *range(2, 2 + len(axes)), 1)
        return view.permute(order).reshape(len(view), math.prod(places), -1)
    return view.reshape(len(view), -1, math.prod(places)).mT


def _norm(layer: Any, calls: Calls, directions: Mapping[str, Tensor]) -> Iterator[tuple[str, Terms]]:
    """Of weights and biases that act elementwise: the inputs are the normalised ones."""
    for name, of_call in (("weight", lambda a, b: a * b), ("bias", lambda _, b: b)):
        if name in directions:
            parts = [_over_positions(layer, of_call(a, b), directions[name].dim() - 1) for a, b in calls]
            yield name, plain_terms(torch.stack(parts).sum(0), directions[name])


def _over_positions(layer: nn.Module, tensor: Tensor, axes: int) -> Tensor:
    """Sums over all axes but that of the samples and those of the params: axis 1, or the last ones of a layer norm."""
    if isinstance(layer, (nn.LayerNorm, nn.RMSNorm)):
        return tensor.reshape(len(tensor), -1, *tensor.shape[-axes:]).sum(1)
    return tensor.reshape(*tensor.shape[:2], -1).sum(2)


def _batch_normalized(layer: Any, inputs: Tensor) -> Tensor:
    return functional.batch_norm(inputs, layer.running_mean, layer.running_var, eps=layer.eps)


def _layer_normalized(layer: Any, inputs: Tensor) -> Tensor:
    return functional.layer_norm(inputs, layer.normalized_shape, eps=layer.eps)


def _group_normalized(layer: Any, inputs: Tensor) -> Tensor:
    return functional.group_norm(inputs, layer.num_groups, eps=layer.eps)


def _rms_normalized(layer: Any, inputs: Tensor) -> Tensor:
    return functional.rms_norm(inputs, layer.normalized_shape, eps=layer.eps)


def _embedding(layer: Any, calls: Calls, directions: Mapping[str, Tensor]) -> Iterator[tuple[str, Terms]]:
    index = torch.cat([a.reshape(len(a), -1) for a, _ in calls], 1)
    gradients = torch.cat([_positions(b) for _, b in calls], 1)
    if layer.padding_idx is not None:
        gradients = gradients * (index != layer.padding_idx).unsqueeze(2)
    products = [(d[index] * gradients).sum((1, 2)) for d in directions["weight"]]
    squared = _squares_by_index(index, gradients)
    yield "weight", (squared, torch.stack([*products, squared], 1)[:, :-1])  # a row even where there are no directions


def _squares_by_index(index: Tensor, gradients: Tensor) -> Tensor:
    """sum_tt' [i_t = i_t'] b_t . b_t' of index (B, T) and gradients (B, T, p): rows of one index add up."""
    count, positions = index.shape
    squared = gradients.new_zeros(count)
    step, rows = max(1, HELD // positions**2), max(1, HELD // positions)
    for start in range(0, count, step):
        part = slice(start, start + step)
        for first in range(0, positions, rows):
            some = slice(first, first + rows)
            gram = torch.bmm(gradients[part, some], gradients[part].mT)
            same = index[part, some].unsqueeze(2) == index[part].unsqueeze(1)
            squared[part] += (gram * same).sum((1, 2))
    return squared


@dataclass(frozen=True)
class Rule:
    """`terms` of a layer from its calls; `prepare` makes of an input what they need, while the layer runs."""

    terms: Callable[[Any, Calls, Mapping[str, Tensor]], Iterator[tuple[str, Terms]]]
    prepare: Callable[[Any, Tensor], Tensor] = lambda _, inputs: inputs


RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: Rule(_linear),
    nn.Conv1d: Rule(_convolution),
    nn.Conv2d: Rule(_convolution),
    nn.Conv3d: Rule(_convolution),
    nn.BatchNorm1d: Rule(_norm, _batch_normalized),
    nn.BatchNorm2d: Rule(_norm, _batch_normalized),
    nn.BatchNorm3d: Rule(_norm, _batch_normalized),
    nn.LayerNorm: Rule(_norm, _layer_normalized),
    nn.GroupNorm: Rule(_norm, _group_normalized),
    nn.RMSNorm: Rule(_norm, _rms_normalized),
    nn.Embedding: Rule(_embedding),
}


def rule_of(layer: nn.Module) -> Rule | None:
    """The rule of a layer; None where there is none for it, as for a subclass with a forward of its own."""
    if isinstance(layer, nn.Embedding) and (layer.max_norm is not None or layer.scale_grad_by_freq):
        return None
    if isinstance(layer, BATCH_NORMS) and layer.running_mean is None:  # which would let samples share statistics
        return None
    return next((rule for kind, rule in RULES.items() if _runs_as(layer, kind)), None)


def _runs_as(layer: nn.Module, kind: type[nn.Module]) -> bool:
    return isinstance(layer, kind) and type(layer).forward is kind.forward
