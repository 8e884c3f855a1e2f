"""Data by name or by SPEC, as train and test samples with a digest over the bytes used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .. import specs
from ..errors import InputError
from . import digits, images
from .samples import Samples, named, samples_of

BUILTIN: dict[str, Callable[..., Mapping[str, Any]]] = {
    "digits": digits.load,
    "mnist": images.mnist,
    "fashion_mnist": images.fashion_mnist,
    "cifar10": images.cifar10,
    "cifar100": images.cifar100,
}


@dataclass(frozen=True)
class Splits:
    """Train and test samples. `test` is None where the user gave only one set."""

    train: Samples
    test: Samples | None

    def split(self, name: str) -> Samples:
        """The samples of a split, `train` or `test`."""
        if name == "train":
            return self.train
        if self.test is None:
            raise InputError("the data have no test split; use --split train, or return {'train': ..., 'test': ...}")
        return self.test

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of one input, where there is one tensor of inputs."""
        inputs = named(self.train.blocks[0]).get("inputs")
        return None if inputs is None else tuple(inputs.shape[1:])

    @property
    def num_classes(self) -> int | None:
        """Number of classes in both splits, where the targets are class indices."""
        blocks = (*self.train.blocks, *(self.test.blocks if self.test is not None else ()))
        targets = [named(block).get("targets") for block in blocks]
        if any(t is None or t.is_floating_point() for t in targets):
            return None
        return 1 + max(int(t.max()) for t in targets if t is not None)


def load_data(spec: str, arguments: Mapping[str, Any] | None = None) -> Splits:
    """The data that a name or SPEC gives. Raises UsageError for an unknown name, InputError for bad data."""
    arguments = dict(arguments or {})
    if not specs.is_builtin(spec):
        found = specs.load(spec)
        if arguments and not callable(found):
            raise InputError(f"{spec} is an object and takes no --data-arg; name a callable")
        return splits_of(specs.call(found, arguments, spec) if callable(found) else found)
    if spec not in BUILTIN:
        raise specs.unknown("data", spec, BUILTIN)
    return splits_of(specs.call_builtin(BUILTIN[spec], arguments, f"--data {spec}"))


def splits_of(data: Any) -> Splits:
    """Splits of what a data SPEC may return: one set, or {"train": ..., "test": ...} of these."""
    if isinstance(data, Splits):
        return data
    if isinstance(data, Mapping) and "train" in data and set(data) <= {"train", "test"}:
        test = data.get("test")
        return Splits(samples_of(data["train"]), None if test is None else samples_of(test))
    return Splits(samples_of(data), None)
