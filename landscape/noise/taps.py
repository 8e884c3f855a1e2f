"""Inputs of a network's layers and gradients by their outputs, from a backward pass that makes no param's gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .layers import Calls, Rule, Terms, rule_of


class Layers:
    """The layers that hold the params of these names, each with its rule.

    InputError where a param lies in no layer that has one, or in two: names the param.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        self.rules: dict[nn.Module, Rule] = {}
        self.params: dict[nn.Module, dict[str, int]] = {}  # name within the layer -> position in `names`
        holders: dict[int, list[str]] = {}
        for name, param in model.named_parameters(remove_duplicate=False):
            holders.setdefault(id(param), []).append(name)
        modules = dict(model.named_modules())
        by_name = dict(model.named_parameters())
        for position, name in enumerate(names):
            path, _, own = name.rpartition(".")
            layer = modules[path]
            rule = rule_of(layer)
            if rule is None or own not in ("weight", "bias") or name not in by_name:
                raise InputError(f"param {name} lies in a {type(layer).__name__}, for which no rule is known")
            if len(holders[id(by_name[name])]) > 1:
                raise InputError(f"param {name} is shared by {', '.join(holders[id(by_name[name])])}")
            self.rules[layer] = rule
            self.params.setdefault(layer, {})[own] = position

    def terms(
        self, total: Callable[[], Tensor], directions: Sequence[Tensor], samples: int
    ) -> Iterator[tuple[int, Terms]]:
        """By position of a param: squared norms of the samples' gradients, and their products with the directions.

        `total()` runs the model on `samples` samples and sums their losses; `directions` hold s rows for each param.
        A param that the loss does not depend on is left out. InputError where a layer's first axis is not that of the
        samples.
        """
        calls: dict[nn.Module, list[tuple[Tensor, list[Tensor]]]] = {}
        with self._tapped(calls) as start:
            value = total()
            if not value.requires_grad:
                return
            torch.autograd.grad(value, start, allow_unused=True)
        for layer, found in calls.items():
            complete: Calls = [(inputs, got[0]) for inputs, got in found if got]
            if any(len(a) != samples or len(b) != samples for a, b in complete):
                raise InputError(f"the first axis of a {type(layer).__name__}'s input is not that of the samples")
            if complete:
                own = self.params[layer]
                chosen = {name: directions[position] for name, position in own.items()}
                for name, terms in self.rules[layer].terms(layer, complete, chosen):
                    yield own[name], terms

    @contextmanager
    def _tapped(self, calls: dict[nn.Module, Any]) -> Iterator[list[Tensor]]:
        """Hooks that note inputs and gradients; yields what a backward pass has to be taken by."""
        # Params require no gradient here, so that none is made: the graph begins with the outputs of the first layers.
        start: list[Tensor] = []

        def note(layer: nn.Module, args: Any, output: Tensor) -> Tensor:
            if not args:
                raise InputError(f"a {type(layer).__name__} is called by keyword")
            if not output.requires_grad:
                start.append(output.detach().requires_grad_())
                output = start[-1].clone()  # which the network may change in place
            inputs = self.rules[layer].prepare(layer, args[0].detach())
            got: list[Tensor] = []
            # taken before the next layer may change the output in place
            output.register_hook(got.append)
            calls.setdefault(layer, []).append((inputs, got))
            return output

        with ExitStack() as stack:
            for layer in self.rules:
                stack.callback(layer.register_forward_hook(note).remove)
            yield start
