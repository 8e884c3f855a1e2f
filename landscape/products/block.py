"""Whether several vectors at once are cheaper than one after the other."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from .choice import AGREES, relative_difference, seconds
from .makers import Chunk

WIDTH = 8  # vectors tried at once
PAYS = 0.9  # share of the single products' time below which a block is taken


def useful_block(chunk: Chunk, along: Sequence[Tensor], device: torch.device) -> int:
    """How many vectors to multiply at once: at most WIDTH, or 1 where that does not run, differs, or is no faster.

    `along` holds the vectors as rows; a chunk that is not kept is built once and multiplied often, which pays.
    """
    block = [part[:WIDTH] for part in along]
    width = len(block[0])
    singles = [[part[i] for part in block] for i in range(width)]
    kept = Chunk(chunk.maker, chunk.batch, chunk.built if chunk.built is not None else chunk.maker.build(chunk.batch))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch tells, once, which of its operations have no batched form
            together = kept.product(block, block=True)
        time_together = seconds(lambda: chunk.product(block, block=True), device)
    except (RuntimeError, NotImplementedError, ValueError, MemoryError):
        return 1
    reference = [torch.stack(parts) for parts in zip(*(kept.product(single) for single in singles), strict=True)]
    if not relative_difference(together, reference) <= AGREES[reference[0].dtype]:
        return 1
    time_single = seconds(lambda: chunk.product(singles[0]), device)
    return width if time_together < PAYS * width * time_single else 1
