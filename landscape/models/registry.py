"""Models by name or by SPEC, each initialised from a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from .. import specs
from ..data import Splits
from ..errors import InputError
from . import keskar, lenet, networks, resnet, vgg

BUILTIN: dict[str, Callable[..., nn.Module]] = {
    "mlp": networks.mlp,
    "cnn": networks.cnn,
    "f1": networks.f1,
    "c1": keskar.c1,
    "c2": keskar.c2,
    "c3": keskar.c3,
    "c4": keskar.c4,
    "lenet": lenet.lenet,
    "lenet300": lenet.lenet300,
    **{f"resnet{depth}": partial(resnet.resnet, depth) for depth in (20, 32, 44, 56)},
    "vgg9": vgg.vgg9,
    "vgg11": vgg.vgg11,
    "vgg16": vgg.vgg16,
}


def build_model(spec: str, arguments: Mapping[str, Any] | None, splits: Splits, seed: int) -> nn.Module:
    """The network that a name or SPEC gives, on the CPU, initialised from `seed`.

    The global random state is borrowed for the construction, since torch's initialisers draw from it, and put
    back. Raises UsageError for an unknown name or argument, InputError for a SPEC that gives no nn.Module.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _build(spec, dict(arguments or {}), splits)


def _build(spec: str, arguments: dict[str, Any], splits: Splits) -> nn.Module:
    if specs.is_builtin(spec):
        if spec not in BUILTIN:
            raise specs.unknown("model", spec, BUILTIN)
        if splits.input_shape is None or splits.num_classes is None:
            raise InputError(f"--model {spec} needs inputs and class targets; give your own model as a SPEC")
        factory = partial(BUILTIN[spec], input_shape=splits.input_shape, num_classes=splits.num_classes)
        return specs.call_builtin(factory, arguments, f"--model {spec}")
    found = specs.load(spec)
    if callable(found) and not isinstance(found, nn.Module):
        found = specs.call(found, arguments, spec)
    elif arguments:
        raise InputError(f"{spec} is an object and takes no --model-arg; name a callable")
    if not isinstance(found, nn.Module):
        raise InputError(f"--model {spec} must give a torch.nn.Module, got {type(found).__name__}")
    return found


def resolve_model(model: nn.Module | Callable[[], nn.Module] | str, splits: Splits, seed: int) -> nn.Module:
    """The network that a user of the library names: itself, a callable that makes it, or a name or SPEC."""
    if isinstance(model, str):
        return build_model(model, {}, splits, seed)
    made = model if isinstance(model, nn.Module) else model()
    if not isinstance(made, nn.Module):
        raise InputError(f"model must be or make a torch.nn.Module, got {type(made).__name__}")
    return made
