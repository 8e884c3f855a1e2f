"""The batches of a run: an order of the samples for each epoch, cut as the schedule says, augmented."""

from __future__ import annotations

import torch

from ..data import Batch, Samples
from ..data.augment import Augmentation
from ..data.samples import cut, length, named
from ..errors import InputError
from ..recipe import Recipe

# Samples are gathered in the order of the epoch so many bytes at a time, and batches are slices of that: one gather
# for many small batches, without a second copy of the data.
WINDOW = 16 * 2**20


class Batches:
    """Hands out one batch after another; its `position` in the epoch's `order` is the only thing that moves."""

    def __init__(self, recipe: Recipe, samples: Samples, generator: torch.Generator) -> None:
        self.block = samples.blocks[0]
        self.count = len(samples)
        self.device = next(iter(named(self.block).values())).device
        self.augmentation = Augmentation(recipe.flip, recipe.crop, recipe.rotate, recipe.shift)
        if self.augmentation.active and isinstance(self.block, dict):
            raise InputError("augmentation needs (inputs, targets) data, got dicts of tensors; leave it out")
        self.channels_last = recipe.channels_last
        self.reshuffle = recipe.reshuffle
        self.shuffler = torch.Generator().manual_seed(recipe.seeds["order"])
        self.generator = generator  # of what is drawn for each batch
        self.position = 0
        self.order = torch.randperm(self.count, generator=self.shuffler)
        bytes_each = sum(t.element_size() * t[:1].numel() for t in named(self.block).values())
        self.window_size = max(1, WINDOW // max(1, bytes_each))
        self._forget()

    def _forget(self) -> None:
        self.placed = self.order.to(self.device)
        self.window: Batch | None = None
        self.start = self.stop = 0

    def restore(self, order: torch.Tensor, position: int) -> None:
        """Goes on in the midst of an epoch."""
        self.order, self.position = order.clone(), position
        self._forget()

    @property
    def ended(self) -> bool:
        """Whether all samples of the epoch were handed out."""
        return self.position >= self.count

    def next_epoch(self) -> None:
        """A fresh permutation, or the same once more."""
        if self.reshuffle:
            self.order = torch.randperm(self.count, generator=self.shuffler)
        self.position = 0
        self._forget()

    def take(self, size: int) -> Batch:
        """The next `size` samples, or what is left of the epoch."""
        end = min(self.position + size, self.count)
        if self.window is None or end > self.stop:
            self.start = self.position
            self.stop = min(self.count, self.position + size * max(1, self.window_size // size))
            self.window = cut(self.block, self.placed[self.start : self.stop])
        batch = cut(self.window, slice(self.position - self.start, end - self.start))
        self.position = end
        return self._prepared(batch)

    def _prepared(self, batch: Batch) -> Batch:
        if isinstance(batch, dict):
            return batch
        inputs, targets = batch
        if self.augmentation.active:
            inputs = self.augmentation(inputs, self.generator)
        if self.channels_last and inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return inputs, targets

    def pieces(self, batch: Batch, count: int) -> list[Batch]:
        """A batch cut into `count` micro-batches, as equal as may be; no more than it has samples."""
        samples = length(batch)
        count = min(count, samples)
        ends = [samples * (i + 1) // count for i in range(count)]
        return [cut(batch, slice(start, end)) for start, end in zip([0, *ends], ends, strict=False)]
