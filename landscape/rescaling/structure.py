"""The structure of a network: which layers have a scale of their own, and which params it multiplies or divides."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from ..errors import InputError, one_line
from ..objective import Objective
from ..tracing import ATTRIBUTES, SHAPES, Traced, first_names, hooked, traced
from .operations import Call, Rule, Scaled
from .rules import BY_NAME, FUNCTIONS, LAYERS
from .scales import UNSCALED, Form, Scales, unknown


@dataclass(frozen=True)
class Structure:
    """The layers that have a factor each, by name, and the powers of these that multiply each param.

    Attributes:
        layers: the first layer that each factor multiplies, in the order of their ReLU.
        powers: for each param, under the first of its names, (number of the layer, exponent).
    """

    layers: tuple[str, ...]
    powers: Mapping[str, tuple[tuple[int, Fraction], ...]]

    def scaled(self, tensors: Mapping[str, Tensor], alphas: Sequence[float]) -> dict[str, Tensor]:
        """The tensors with their factors, computed in float64 and rounded once."""
        found = dict(tensors)
        for name, powers in self.powers.items():
            value = tensors[name].double()
            for layer, power in powers:
                # torch's power overflows to infinity, Python's raises
                factor = torch.tensor(alphas[layer], dtype=torch.float64).pow(abs(float(power)))
                value = value * factor if power > 0 else value / factor
            found[name] = value.to(tensors[name].dtype)
        return found


def structure_of(objective: Objective) -> Structure:
    """The free factors of a network (Dinh, Pascanu, Bengio & Bengio 2017, section 4, for any graph of operations).

    The network is traced (torch.fx) and run on two samples, each tensor with the logarithm of its scale, a linear form
    in those of the params; what operations demand are linear equations, solved exactly. Inputs, buffers and outputs
    are unscaled, and so is what an operation touches that is not understood. Each ReLU whose scale is then free has a
    factor, unless an earlier one fixed it; what else is free (two linear layers in a row) stays as it is. One pass over
    two samples, and a copy of the network meanwhile. Raises InputError where the network cannot be traced.
    """
    params = [name for name, _ in objective.model.named_parameters()]
    scales = Scales()
    try:
        network = traced(objective)
        with torch.no_grad():
            follow = _Follow(network, scales, params)
            follow.run(network.inputs)
    except Exception as error:
        raise InputError(
            f"the network cannot be traced, so its layers are not known: {one_line(error)}; "
            "rescaling needs a forward without branches on values"
        ) from error
    nodes: list[str] = []
    for node, form in follow.rectified:
        if scales.is_open(form):
            scales.equate(form, unknown(len(nodes)))
            nodes.append(node)
    # Outcomes in their order before params: a factor ends in the very next layer.
    for form in (*follow.outcomes, *map(unknown, params)):
        scales.equate(form, UNSCALED)
    powers = {name: tuple(scales.reduced(unknown(name)).items()) for name in params}
    return Structure(tuple(_names(nodes, powers)), {name: found for name, found in powers.items() if found})  # pyright: ignore[reportArgumentType]


def _names(nodes: Sequence[str], powers: Mapping[str, Any]) -> list[str]:
    """The layers of the first params that each factor multiplies; where two are one, the second with its ReLU."""
    found: list[str] = []
    for index, node in enumerate(nodes):
        first = next((name for name, of_name in powers.items() if dict(of_name).get(index, 0) > 0), node)
        name = first.rpartition(".")[0] or first
        found.append(name if name not in found else f"{name}:{node}")
    return found


class _Follow(fx.Interpreter):
    """Runs a graph on tensors that carry their scales."""

    def __init__(self, network: Traced, scales: Scales, params: Collection[str]) -> None:
        super().__init__(network.model, graph=network.graph)
        self._scales = scales
        # A tied param has several names and the scale of its first; buffers are unscaled.
        self._params = {name: first for name, first in first_names(network.model).items() if first in params}
        self.rectified: list[tuple[str, Form]] = []
        self.outcomes: list[Form] = []

    def run_node(self, n: fx.Node) -> Any:
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        out = getattr(self, n.op)(n.target, _plain(args), _plain(kwargs))
        if n.op == "get_attr":
            return _carrying(out, self._of_param(str(n.target)))
        form = self._form_of(n, args, kwargs)
        if any(isinstance(leaf, Tensor) and not leaf.is_floating_point() for leaf in pytree.tree_leaves(out)):
            self._scales.equate(form, UNSCALED)
        self.outcomes.append(form)
        return out if n.op == "output" else _carrying(out, form)

    def _of_param(self, name: str) -> Form:
        return unknown(self._params[name]) if name in self._params else UNSCALED

    def _form_of(self, node: fx.Node, args: Any, kwargs: Any) -> Form:
        told = node.op == "call_method" and node.target in SHAPES
        if told or (node.target is getattr and args[1] in ATTRIBUTES):
            return UNSCALED
        own = self._own(node)
        rule = self._rule(node)
        if rule is not None:
            try:
                return rule(Call(node.name, self._scales, self.rectified), *args, **own, **kwargs)
            except (TypeError, ValueError, LookupError, AttributeError):
                # Arguments that the rule does not know: the operation is not understood.
                pass
        for leaf in pytree.tree_leaves((args, kwargs, own)):
            if isinstance(leaf, Scaled):
                self._scales.equate(leaf.form, UNSCALED)
        return UNSCALED

    def _own(self, node: fx.Node) -> dict[str, Scaled]:
        """The params of a layer that the trace takes as a whole."""
        if node.op != "call_module":
            return {}
        named = self.fetch_attr(str(node.target)).named_parameters(remove_duplicate=False)
        return {name: Scaled(param, self._of_param(f"{node.target}.{name}")) for name, param in named}

    def _rule(self, node: fx.Node) -> Rule | None:
        if node.op == "call_function":
            return FUNCTIONS.get(node.target)
        if node.op == "call_method":
            return BY_NAME.get(str(node.target))
        if node.op == "call_module":
            module = self.fetch_attr(str(node.target))
            return None if hooked(module) else LAYERS.get(type(module))
        return None


def _plain(tree: Any) -> Any:
    return pytree.tree_map(lambda leaf: leaf.tensor if isinstance(leaf, Scaled) else leaf, tree)


def _carrying(out: Any, form: Form) -> Any:
    return pytree.tree_map(lambda leaf: Scaled(leaf, form) if isinstance(leaf, Tensor) else leaf, out)
