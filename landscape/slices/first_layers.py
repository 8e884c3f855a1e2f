"""Dense layers that see the data themselves: what they put out is linear in the position on a plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..objective import Objective

LEAST_INPUTS = 256  # below, to add three tensors takes as long as the product of matrices (measured on two cores)
MOST_BYTES = 512 * 2**20  # of outputs that are kept
AGREES = {torch.float32: 1e-4, torch.float64: 1e-9}  # relative difference of the losses by both ways

Parts = tuple[Tensor, Tensor, Tensor]
Key = tuple[int, tuple[int, ...]]


class FirstLayers:
    """The outputs of dense layers whose input is the data, for the centre and for each direction.

    (W + a D + b E) x = W x + a (D x) + b (E x), biases likewise, so that a point costs two additions in place of a
    product, which in a network on images is most of its arithmetic. Chunks are known by where they lie in memory: what
    else comes in is computed as ever. Costs three forward passes of the layers, and their outputs in memory.
    """

    def __init__(self) -> None:
        self.kept: dict[nn.Linear, dict[Key, Parts]] = {}

    @contextmanager
    def at(self, a: float, b: float) -> Iterator[None]:
        """The layers put out what they have at this position; put back after."""
        try:
            for layer, kept in self.kept.items():
                quick = partial(_added, kept, layer.forward, a, b)
                setattr(layer, "forward", quick)  # noqa: B010 - by instance
            yield
        finally:
            for layer in self.kept:
                layer.__dict__.pop("forward", None)


def first_layers(objective: Objective, directions: Sequence[Tensor], test: Objective | None) -> FirstLayers | None:
    """Those of an objective's model on a plane around it; None where there are none, or where they do not agree."""
    weights = _layers(objective, directions)
    needed = sum(3 * layer.out_features for layer in weights) * objective.params.element_size()
    samples = objective.num_samples + (0 if test is None else test.num_samples)
    if not weights or needed * samples > MOST_BYTES:
        return None
    found = FirstLayers()
    found.kept = {layer: {} for layer in weights}
    parts = [part for part in (objective, test) if part is not None]
    for part in parts:
        keep = partial(_keep, found.kept, weights, _storages(part))
        with part.running(), torch.no_grad(), _watched(list(weights), keep):
            for batch in part.samples.chunks(part.chunk):
                part.outputs(part.parts(), batch)
    away = objective.params.double() + 0.5 * directions[0] - 0.25 * directions[1]
    return found if all(_agrees(found, part.at(away), (0.5, -0.25)) for part in parts) else None


def _agrees(found: FirstLayers, point: Objective, position: tuple[float, float]) -> bool:
    with found.at(*position):
        quick = point.measured().loss
    near = AGREES[point.dtype]
    return torch.allclose(quick, point.measured().loss, rtol=near, atol=near, equal_nan=True)


def _storages(objective: Objective) -> set[int]:
    """Where the inputs of the samples lie. A tensor made on the way may come to lie where another lay before."""
    pairs = [block for block in objective.samples.blocks if isinstance(block, tuple)]
    return {inputs.untyped_storage().data_ptr() for inputs, _ in pairs}


def _added(kept: dict[Key, Parts], forward: Callable[[Tensor], Tensor], a: float, b: float, inputs: Tensor) -> Tensor:
    parts = kept.get(_key(inputs))
    if parts is None:
        return forward(inputs)
    return parts[0].add(parts[1], alpha=a).add_(parts[2], alpha=b)


def _key(inputs: Tensor) -> Key:
    return inputs.data_ptr(), (*inputs.shape, *inputs.stride())


def _keep(
    kept: dict[nn.Linear, dict[Key, Parts]], weights: Weights, storages: set[int], layer: nn.Linear, inputs: Tensor
) -> None:
    if inputs.untyped_storage().data_ptr() not in storages:
        return
    first, second, third = (functional.linear(inputs, weight, bias) for weight, bias in weights[layer])
    kept[layer][_key(inputs)] = (first, second, third)


Weights = dict[nn.Linear, list[tuple[Tensor, Tensor | None]]]


def _layers(objective: Objective, directions: Sequence[Tensor]) -> Weights:
    """Dense layers that see the data and nothing else, with their params at the centre and along each direction."""
    batch = next(objective.samples.chunks(2))
    if isinstance(batch, dict) or objective.loss.per_sample is None or objective.bn != "eval":
        return {}
    names = {id(param): name for name, param in objective.model.named_parameters()}
    vectors = [vector.to(objective.params) for vector in (objective.params, *directions)]
    named = [objective.layout.named(vector) for vector in vectors]
    found: Weights = {}
    for layer in objective.model.modules():
        if type(layer) is nn.Linear and layer.in_features >= LEAST_INPUTS and not _hooked(layer):
            own = [names.get(id(param), "") for param in (layer.weight, layer.bias) if param is not None]
            if all(name in named[0] for name in own):
                found[layer] = [(n[own[0]], n[own[1]] if layer.bias is not None else None) for n in named]
    seen: dict[nn.Linear, list[Tensor]] = {layer: [] for layer in found}

    def see(layer: nn.Linear, inputs: Tensor) -> None:
        seen[layer].append(inputs)

    with objective.running(), torch.no_grad(), _watched(list(found), see):
        for point in (objective, objective.at(objective.params.double() + directions[0])):
            point.outputs(point.parts(), batch)
    data = batch[0].untyped_storage().data_ptr()
    # called once a pass, and with the data as they lie there, in whatever shape
    return {
        layer: weights
        for layer, weights in found.items()
        if len(seen[layer]) == 2 and all(x.untyped_storage().data_ptr() == data and x.dim() == 2 for x in seen[layer])
    }


def _hooked(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks or "forward" in layer.__dict__)


@contextmanager
def _watched(layers: Sequence[nn.Linear], see: Callable[[nn.Linear, Tensor], object]) -> Iterator[None]:
    """Shows the inputs of layers; the hooks are gone after."""

    def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.Linear)
        see(layer, inputs[0])

    handles = [layer.register_forward_pre_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
