"""Samples: a fixed, ordered set of inputs and targets, cut into chunks that always come out the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from ..errors import InputError
from ..vectors import digest_of

Batch = tuple[Tensor, Tensor] | dict[str, Tensor]

SECOND_LOOK = 2  # batches of a loader that are read a second time

# The permutation behind --samples: the first N of it are the same samples for every model and command.
PERMUTATION_SEED = 20_170_415


@dataclass(frozen=True)
class Samples:
    """Blocks of samples, each an (inputs, targets) pair or a dict of tensors with equal first dimensions.

    There is one block where the samples could be joined (then chunks of any size can be cut), else one for each
    batch that the user gave (then a chunk is a batch).
    """

    blocks: tuple[Batch, ...]

    def __len__(self) -> int:
        return sum(length(block) for block in self.blocks)

    @property
    def divisible(self) -> bool:
        """Whether chunks of any size can be cut."""
        return len(self.blocks) == 1

    def chunks(self, size: int) -> Iterator[Batch]:
        """Chunks of at most `size` samples in order; whole batches where samples cannot be cut."""
        for block in self.blocks:
            step = size if self.divisible else length(block)
            for start in range(0, length(block), step):
                yield cut(block, slice(start, start + step))

    def first(self, count: int | None) -> Samples:
        """The first `count` of a fixed permutation of the samples; all of them, in their order, for None."""
        if count is None or count == len(self):
            return self
        if not 1 <= count <= len(self):
            raise InputError(f"--samples must lie in 1 ... {len(self)}, got {count}")
        if not self.divisible:
            raise InputError("--samples needs samples that can be joined; give batches of equal shapes")
        generator = torch.Generator().manual_seed(PERMUTATION_SEED)
        order = torch.randperm(len(self), generator=generator)[:count]
        return Samples((cut(self.blocks[0], order),))

    def head(self, count: int) -> Samples:
        """The first `count` samples in their order (whole batches where samples cannot be cut, at least one)."""
        if self.divisible:
            return Samples((cut(self.blocks[0], slice(0, count)),))
        kept, total = [], 0
        for block in self.blocks:
            if kept and total + length(block) > count:
                break
            kept.append(block)
            total += length(block)
        return Samples(tuple(kept))

    def to(self, device: torch.device, dtype: torch.dtype) -> Samples:
        """The samples on `device`, floating-point tensors as `dtype`."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, dtype if tensor.is_floating_point() else None)

        return replace(self, blocks=tuple(over_tensors(move, block) for block in self.blocks))

    def digest(self) -> str:
        """sha256 over the bytes used."""
        return digest_of({f"{i}.{key}": t for i, b in enumerate(self.blocks) for key, t in named(b).items()})


def named(batch: Batch) -> dict[str, Tensor]:
    """The batch's tensors by name."""
    return batch if isinstance(batch, dict) else {"inputs": batch[0], "targets": batch[1]}


def length(batch: Batch) -> int:
    """Number of samples in a batch."""
    return next(iter(named(batch).values())).shape[0]


def over_tensors(function: Any, batch: Batch) -> Batch:
    """A batch of `function` of each tensor."""
    if isinstance(batch, dict):
        return {key: function(tensor) for key, tensor in batch.items()}
    return function(batch[0]), function(batch[1])


def cut(batch: Batch, index: slice | Tensor) -> Batch:
    """The samples of a batch that `index` names."""
    return over_tensors(lambda tensor: tensor[index.to(tensor.device) if isinstance(index, Tensor) else index], batch)


def samples_of(data: Any) -> Samples:
    """Samples of an `(inputs, targets)` pair, a dict of tensors, a map-style Dataset, or an iterable of batches.

    Raises InputError for anything else, for unequal lengths, for no samples, and for a Dataset or a loader that gives
    other samples when read again (shuffling, augmentation): the loss of such data is not a function of the params.
    """
    if isinstance(data, Samples):
        return data
    if _is_pair(data) or isinstance(data, Mapping):
        return _joined([_batch(data)])
    if isinstance(data, Dataset):
        return _of_dataset(data)
    if isinstance(data, Iterable):
        with torch.random.fork_rng(devices=[]):  # loaders draw seeds from torch's global state
            batches = [_batch(item) for item in data]
            if not isinstance(data, (Sequence, Iterator)):
                _refuse_other_batches(batches, data)
        return _joined(batches)
    raise InputError(
        f"data must be (inputs, targets) tensors, a Dataset or a list of batches, got {type(data).__name__}"
    )


def _refuse_other_batches(batches: list[Batch], loader: Iterable[Any]) -> None:
    """InputError where a second pass over a loader begins with other batches: it shuffles or augments."""
    for index, (first, item) in enumerate(zip(batches[:SECOND_LOOK], loader, strict=False)):
        second = _batch(item)
        if any(not _same(named(first)[key], named(second).get(key)) for key in named(first)):
            raise InputError(
                f"batch {index} of the loader differs between two passes: it shuffles or augments; "
                f"use shuffle=False without augmentation, or pass one pass of it as a list: list(loader)"
            )


def _same(one: Tensor, other: Tensor | None) -> bool:
    return other is not None and one.shape == other.shape and bool(torch.equal(one, other))


def _is_pair(data: Any) -> bool:
    return isinstance(data, (tuple, list)) and len(data) == 2 and all(isinstance(t, Tensor) for t in data)


def _batch(item: Any) -> Batch:
    if _is_pair(item):
        batch: Batch = (item[0].detach(), item[1].detach())
    elif isinstance(item, Mapping) and item and all(isinstance(t, Tensor) for t in item.values()):
        batch = {str(key): tensor.detach() for key, tensor in item.items()}
    else:
        raise InputError(f"a batch must be (inputs, targets) tensors or a dict of tensors, got {_shown(item)}")
    lengths = {name: t.shape[0] if t.dim() else None for name, t in named(batch).items()}
    if len(set(lengths.values())) != 1 or None in lengths.values():
        raise InputError(f"the tensors of a batch need equal first dimensions, got {lengths}")
    return batch


def _shown(item: Any) -> str:
    if isinstance(item, (tuple, list)):
        return f"{type(item).__name__} of {', '.join(type(part).__name__ for part in item)}"
    return type(item).__name__


def _joined(batches: list[Batch]) -> Samples:
    if sum(length(batch) for batch in batches) == 0:
        raise InputError("the data hold no samples")
    batches = [batch for batch in batches if length(batch)]
    layouts = {(type(b), tuple((k, t.dtype, t.shape[1:]) for k, t in named(b).items())) for b in batches}
    if len(batches) == 1 or len(layouts) > 1:
        return Samples(tuple(batches))
    joined = {key: torch.cat([named(batch)[key] for batch in batches]) for key in named(batches[0])}
    return Samples((joined if isinstance(batches[0], dict) else (joined["inputs"], joined["targets"]),))


def _of_dataset(dataset: Any) -> Samples:
    try:
        count = len(dataset)
    except TypeError as error:
        raise InputError("an iterable-style Dataset has no fixed samples; give a list of its batches") from error
    if count == 0:
        raise InputError("the data hold no samples")
    items = [dataset[i] for i in range(count)]
    for index, first in enumerate(items[:4]):
        a, b = _batch(default_collate([first])), _batch(default_collate([dataset[index]]))
        if any(not torch.equal(named(a)[key], named(b)[key]) for key in named(a)):
            raise InputError(f"item {index} of the Dataset differs between two readings; switch augmentation off")
    return _joined([_batch(default_collate(items))])
