"""Disjoint subsets of a minimum's samples, the same for every minimum: what a measure varies by over data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from ..data import Samples
from ..data.samples import cut
from ..errors import InputError, UsageError
from ..objective import Objective
from .points import Point

LEAST = 2  # samples of a subset: one has no gradient noise and no batch statistics


def disjoint(objective: Objective, repeats: int, seed: int = 0) -> list[Objective]:
    """The objective over each of `repeats` disjoint subsets of its samples, of N // repeats each, at the same point.

    They are cut from a permutation that N and `seed` alone fix, so that objectives over the same samples have the same
    subsets; what is left over belongs to none. The policy of batch norm stays: with statistics of batches, a subset
    whose last batch would hold a single sample is one smaller. Copies the samples, nothing else. Raises UsageError for
    less than two repeats, InputError where samples cannot be cut, or are too few.
    """
    if repeats < 2:
        raise UsageError(f"intervals take 2 disjoint subsets at least, got {repeats}")
    if not objective.samples.divisible:
        raise InputError("subsets need samples that can be joined; give batches of equal shapes, or no repeats")
    size = objective.num_samples // repeats
    if objective.bn_batch and size % objective.bn_batch == 1:
        size -= 1
    if size < LEAST:
        raise InputError(f"{objective.num_samples} samples make no {repeats} subsets; give more of them")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(objective.num_samples, generator=generator)
    block = objective.samples.blocks[0]
    chosen = (order[index * size : (index + 1) * size].sort().values for index in range(repeats))
    return [objective.with_samples(Samples((cut(block, index),)), objective.loss) for index in chosen]


def points_of(point: Point, repeats: int) -> Iterator[Point]:
    """The point over each of the disjoint subsets of its training and of its test samples, one after the other.

    Each has probes and draws of its own, from seeds that follow from the point's: so the spread over subsets holds the
    errors of probes too. At points of one seed and the same samples they are the same. A subset's products are given
    back when the next is asked for. Raises as `disjoint`.
    """
    train = disjoint(point.objective, repeats, point.seed)
    test = [None] * repeats if point.test is None else disjoint(point.test, repeats, point.seed)
    for index, (own, other) in enumerate(zip(train, test, strict=True)):
        part = replace(point, objective=own, test=other, seed=point.seed + 1 + index)
        yield part
        part.release()
