"""Which layer of a network is the last to run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from ..errors import InputError
from ..objective import Objective


def last_layer(objective: Objective) -> str:
    """The param tensor of two or more dimensions, among those measured, that an operation takes last.

    One pass over the first samples. Where operations do not show (a scripted network), the last in the order of the
    model's params. InputError where none has two dimensions.
    """
    named = zip(objective.layout.names, objective.layout.shapes, strict=True)
    names = [name for name, shape in named if len(shape) > 1]
    if not names:
        raise InputError("relative flatness needs a layer with rows; all params measured have one dimension")
    parts = objective.parts()
    count = objective.bn_batch or 2  # one sample has no batch statistics
    batch = next(objective.samples.head(count).chunks(count))
    uses = _Uses(dict(zip(objective.layout.names, parts, strict=True)))
    with objective.running(), torch.no_grad(), uses:
        objective.forward(parts, batch)
    return max(names, key=lambda name: (uses.last.get(name, -1), names.index(name)))


class _Uses(TorchFunctionMode):
    """Notes at which operation each of these tensors was last used."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.names = {id(tensor): name for name, tensor in tensors.items()}
        self.last: dict[str, int] = {}
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ARG002
        self.count += 1
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor) and id(leaf) in self.names:
                self.last[self.names[id(leaf)]] = self.count
        return func(*args, **(kwargs or {}))
