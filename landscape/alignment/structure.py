"""The structure of a network: which axes of its params and buffers carry the same hidden units."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from ..errors import InputError, one_line
from ..objective import Objective
from ..tracing import ATTRIBUTES, SHAPES, Traced, first_names, hooked, traced
from . import operations
from .operations import Axes, Call, Carried
from .rules import BATCH_NORMS, BY_NAME, FUNCTIONS, Rule
from .units import Units

Places = dict[tuple[str, int], Any]


def classes_of(objective: Objective) -> list[Places]:
    """Sets of units that may be exchanged, each with its places in the params and buffers (`Units.classes`).

    The network is traced (torch.fx; Reed, DeVito, He, Ussery & Ansel 2022) and run on two samples, each tensor with
    the units along its axes: the axes of params are units to begin with, and operations tie them to each other. What an
    operation that is not understood touches is fixed, and so are inputs and outputs. One pass over two samples, and a
    copy of the network meanwhile. Raises InputError where the network cannot be traced.
    """
    units = Units()
    try:
        network = traced(objective)
        with torch.no_grad():
            _Follow(network, units, {*objective.layout.names, *objective.constants}).run(network.inputs)
    except Exception as error:
        raise InputError(
            f"the network cannot be traced, so its units are not known: {one_line(error)}; compare without alignment"
        ) from error
    return units.classes()


class _Follow(fx.Interpreter):
    """Runs a graph on tensors that carry units."""

    def __init__(self, network: Traced, units: Units, movable: Collection[str]) -> None:
        super().__init__(network.model, graph=network.graph)
        self._units = units
        # A tied tensor has several names and the units of its first.
        self._names = {name: first for name, first in first_names(network.model).items() if first in movable}
        self._axes: dict[str, Axes] = {}

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:
        return _without_units(super().placeholder(target, args, kwargs))

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        found = super().get_attr(target, args, kwargs)
        return self._param(target, found) if isinstance(found, Tensor) else found

    def _param(self, name: str, tensor: Tensor) -> Carried:
        if name not in self._names:
            return Carried(tensor, (None,) * tensor.dim())
        first = self._names[name]
        if first not in self._axes:
            self._axes[first] = tuple(self._units.new(size, (first, axis)) for axis, size in enumerate(tensor.shape))
        return Carried(tensor, self._axes[first])

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target is getattr and args[1] in ATTRIBUTES:
            return getattr(_plain(args[0]), args[1])
        if FUNCTIONS.get(target) is BY_NAME["getitem"] and not isinstance(args[0], Carried):
            return args[0][args[1]]
        return self._call(FUNCTIONS.get(target), super().call_function, target, args, kwargs)

    def call_method(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target in SHAPES:
            return super().call_method(target, _plain(args), _plain(kwargs))
        return self._call(BY_NAME.get(target), super().call_method, target, args, kwargs)

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        module = self.fetch_attr(target)
        tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
        own = {name: self._param(f"{target}.{name}", tensor) for name, tensor in tensors}
        if type(module) in BATCH_NORMS and not hooked(module):

            def rule(call: Call, inputs: Carried) -> Axes:
                return operations.channelwise(call, inputs, **own)

            return self._call(rule, super().call_module, target, args, kwargs)
        self._fix(own)
        return self._call(None, super().call_module, target, args, kwargs)

    def output(self, target: Any, args: Any, kwargs: Any) -> Any:
        self._fix(args)
        return super().output(target, _plain(args), kwargs)

    def _call(self, rule: Rule | None, evaluate: Callable[..., Any], target: Any, args: Any, kwargs: Any) -> Any:
        plain, named = _plain(args), _plain(kwargs)

        def again(first: Tensor) -> Any:
            return evaluate(target, (first, *plain[1:]), named)

        out = evaluate(target, plain, named)
        carried = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Carried)]
        if rule is not None and carried:
            try:
                return _with_axes(out, rule(Call(self._units, out, again), *args, **kwargs))
            except (TypeError, ValueError, LookupError, AttributeError):
                # Arguments that the rule does not know: the operation is not understood.
                pass
        self._fix(carried)
        return _without_units(out)

    def _fix(self, tree: Any) -> None:
        for leaf in pytree.tree_leaves(tree):
            if isinstance(leaf, Carried):
                for axis in leaf.axes:
                    self._units.fix(axis)


def _plain(tree: Any) -> Any:
    return pytree.tree_map(lambda leaf: leaf.tensor if isinstance(leaf, Carried) else leaf, tree)


def _without_units(tree: Any) -> Any:
    return pytree.tree_map(lambda leaf: Carried(leaf, (None,) * leaf.dim()) if isinstance(leaf, Tensor) else leaf, tree)


def _with_axes(out: Any, axes: Any) -> Any:
    """The outcome with its axes; ValueError where they do not fit."""
    if isinstance(out, (tuple, list)):
        return type(out)(_with_axes(part, own) for part, own in zip(out, axes, strict=True))
    if any(axis is not None and len(axis) != size for axis, size in zip(axes, out.shape, strict=True)):
        raise ValueError("axes of other lengths")
    return Carried(out, axes)
