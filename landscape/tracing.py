"""A network's own graph of operations (torch.fx; Reed, DeVito, He, Ussery & Ansel 2022), and its outputs compared."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from .errors import InputError, LandscapeError, one_line
from .objective import Objective

# A change of the function shows in the outputs of all samples alike, so few show it.
CHECKED_SAMPLES = 64

# What tells shapes and types only.
SHAPES = {"size", "dim", "ndimension", "numel", "stride", "is_floating_point"}
ATTRIBUTES = {"shape", "ndim", "dtype", "device", "is_cuda"}

_LAYERS = (
    "Linear Conv1d Conv2d Conv3d LayerNorm RMSNorm Embedding Flatten Unflatten Identity PReLU ReLU ReLU6 LeakyReLU ELU "
    "CELU SELU GELU SiLU Mish Softplus Softsign Sigmoid LogSigmoid Tanh Tanhshrink Hardtanh Hardswish Hardsigmoid "
    "Hardshrink Softshrink Threshold Softmax LogSoftmax Softmin Dropout Dropout1d Dropout2d Dropout3d AlphaDropout "
    "FeatureAlphaDropout MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d AdaptiveAvgPool1d "
    "AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d"
)
# Layers whose forward is a few functions, so that the trace goes through them.
TRANSPARENT = tuple(getattr(nn, name) for name in _LAYERS.split())


@dataclass(frozen=True)
class Traced:
    """A copy of the network in eval mode, the graph of its operations, and two samples to run it on."""

    model: nn.Module
    graph: fx.Graph
    inputs: Tensor


def traced(objective: Objective) -> Traced:
    """The graph of the objective's network. A copy of the network; raises whatever tracing raises."""
    inputs = next(objective.samples.head(2).chunks(2))[0]  # pyright: ignore[reportArgumentType]
    # A copy: the trace leaves its marks on modules that keep what passes through them.
    model = copy.deepcopy(objective.model).to(objective.device, objective.dtype).eval()
    return Traced(model, _Tracer().trace(model), inputs)


class _Tracer(fx.Tracer):
    """Goes through the layers that are a few functions, and takes those with hooks, which do anything, as a whole."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if hooked(m):
            return True
        return type(m) not in TRANSPARENT and super().is_leaf_module(m, module_qualified_name)


def hooked(module: nn.Module) -> bool:
    """Whether hooks of the user's run with the module's forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def first_names(model: nn.Module) -> dict[str, str]:
    """The name under which each param and buffer counts: the first of its names, where it is tied."""
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    first = {id(tensor): name for name, tensor in reversed(tensors)}
    return {name: first[id(tensor)] for name, tensor in tensors}


def outputs(objective: Objective) -> list[Tensor]:
    """The floating-point outputs on at most 64 samples, in float64. InputError where the model does not run in it."""
    # A batch of one sample would have no batch statistics.
    count = CHECKED_SAMPLES - (objective.bn_batch is not None and CHECKED_SAMPLES % objective.bn_batch == 1)
    part = objective.subset(count, dtype=torch.float64)
    try:
        with part.running(), torch.no_grad():
            found = [part.outputs(part.parts(), batch) for batch in part.samples.chunks(part.chunk)]
    except LandscapeError:
        raise
    except Exception as error:
        raise InputError(
            f"the check of the outputs in float64 does not run: {one_line(error)}; is the model fixed to float32?"
        ) from error
    return [leaf for leaf in pytree.tree_leaves(found) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def difference(one: Sequence[Tensor], other: Sequence[Tensor]) -> tuple[float, float]:
    """The largest difference of two lists of outputs, and the largest output of `one`; NaN where there are none."""
    return _largest([a - b for a, b in zip(one, other, strict=True)]), _largest(one)


def _largest(tensors: Sequence[Tensor]) -> float:
    # torch's max keeps NaN, Python's may lose it
    return float(torch.stack([tensor.abs().max() for tensor in tensors]).max()) if tensors else math.nan
