"""How alike two networks' features are: linear centred kernel alignment (CKA), across architectures too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Batch
from ..data.samples import length
from ..errors import InputError
from ..objective import Objective

BATCH = 256  # samples a batch, as in Nguyen et al.: what all layers read is in memory for so many
THREE = ((0, 0), (0, 1), (1, 1))  # the pairs of X and Y whose HSIC is needed
LAST = ""  # no layer has this name
LEAST = 4  # samples of a batch: the unbiased estimate divides by N - 3


def features(objective: Objective, batch: Batch) -> dict[str, Tensor]:
    """What each layer reads on a batch, (B, p), by the layer's name in the order of the run.

    A layer is a module inside the network with a param of two dimensions or more; the first, which reads the data, is
    left out. So the last is the penultimate layer's output, past its norm and its activation. Of a layer that runs
    several times the last run counts. One forward pass; `objective.running()` is the caller's.
    """
    read: dict[str, Tensor] = {}
    with torch.no_grad(), _hooks(objective.model, read):
        objective.forward(objective.layout.split(objective.params), batch)
    return {name: tensor.flatten(1) for name, tensor in list(read.items())[1:] if tensor.is_floating_point()}


@contextmanager
def _hooks(model: nn.Module, read: dict[str, Tensor]) -> Iterator[None]:
    def noting(name: str) -> Any:
        def note(_module: nn.Module, args: tuple[Any, ...]) -> None:
            if args and isinstance(args[0], Tensor):
                read.pop(name, None)  # so that the order is that of the last runs
                read[name] = args[0].detach()

        return note

    layers = [
        (name, module)
        for name, module in model.named_modules()
        if name and any(param.dim() > 1 for param in module.parameters(recurse=False))
    ]
    handles = [module.register_forward_pre_hook(noting(name)) for name, module in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def cka(one: Objective, other: Objective, *, layers: bool = False) -> tuple[float, dict[str, float]]:
    """Linear CKA of what the last layers read: 1 for features that are rotated and scaled copies, 0 for independent.

    HSIC(X, Y) / (HSIC(X, X) HSIC(Y, Y))^(1/2) for features X (N, p) and Y (N, q) of the same N samples (Kornblith,
    Norouzi, Lee & Hinton 2019), HSIC by the estimate without bias of Song et al. (2012), as a mean over batches of
    256 (Nguyen, Raghu & Kornblith 2021): it may fall below 0, and few samples do not raise it. With `layers` that of
    each layer that both have by name too. Unit: 1; not a number where the features of one do not vary. Costs a forward
    pass of each, and N 256 (p + q) multiplications a layer. Raises InputError for other numbers of samples, less than
    4, or such as cannot be cut, and where a network has no hidden layer.
    """
    if not (one.samples.divisible and other.samples.divisible) or one.num_samples != other.num_samples:
        raise InputError("features are compared on the same samples, and in batches that can be cut")
    if one.num_samples < LEAST:
        raise InputError(f"features are compared on {LEAST} samples at least, got {one.num_samples}")
    sums: dict[str, Tensor] = {}
    for batch, others in _batches(one, other):
        with one.running():
            first = features(one, batch)
        with other.running():
            second = features(other, others)
        for name, pair in _pairs(first, second, layers=layers).items():
            sums[name] = sums.get(name, 0) + len(pair[0]) * _three(*pair)
    found = {name: float(three[1] / (three[0] * three[2]).clamp(min=0).sqrt()) for name, three in sums.items()}
    return found.pop(LAST), found


def _batches(one: Objective, other: Objective) -> Iterator[tuple[Batch, Batch]]:
    """The same batches of both, but for a last one that is too short."""
    size = one.bn_batch or other.bn_batch or BATCH
    for pair in zip(one.samples.chunks(size), other.samples.chunks(size), strict=True):
        if length(pair[0]) >= LEAST:
            yield pair


def _pairs(first: dict[str, Tensor], second: dict[str, Tensor], *, layers: bool) -> dict[str, tuple[Tensor, Tensor]]:
    """Features to be compared: those of both last layers, and of layers that both have."""
    if not (first and second):
        raise InputError("a network without hidden layers has no features but the data")
    found = {LAST: (list(first.values())[-1], list(second.values())[-1])}
    if layers:
        found |= {name: (first[name], second[name]) for name in first if name in second}
    return found


def _three(x: Tensor, y: Tensor) -> Tensor:
    """HSIC of (X, X), (X, Y) and (Y, Y)."""
    x, y = x.double(), y.double()
    x, y = x - x.mean(0), y - y.mean(0)  # the estimate is the same, and its terms do not cancel
    if max(x.shape[1], y.shape[1]) > len(x):
        grams = [part @ part.T for part in (x, y)]
        for gram in grams:
            gram.fill_diagonal_(0)
        products = [(grams[i] * grams[j]).sum() for i, j in THREE]
        sums = [gram.sum(1) for gram in grams]
    else:
        norms = [part.square().sum(1) for part in (x, y)]
        parts = (x, y)
        products = [(parts[i].T @ parts[j]).square().sum() - norms[i] @ norms[j] for i, j in THREE]
        sums = [part @ part.sum(0) - norm for part, norm in zip(parts, norms, strict=True)]
    return torch.stack([_hsic(product, sums[i], sums[j]) for product, (i, j) in zip(products, THREE, strict=True)])


def _hsic(product: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """(tr KL + 1'K1 1'L1 / ((n-1)(n-2)) - 2/(n-2) 1'KL1) / (n (n-3)), K and L of zero diagonal (Song et al. 2012).

    `product` is tr KL, `a` and `b` are K1 and L1 (n,).
    """
    n = len(a)
    middle = a.sum() * b.sum() / ((n - 1) * (n - 2))
    return (product + middle - 2 * (a @ b) / (n - 2)) / (n * (n - 3))
