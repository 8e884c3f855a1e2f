"""Whether several vectors at once are cheaper than one after the other."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from .choice import AGREES, Trial, relative_difference, seconds
from .makers import Chunk

WIDTH = 4  # vectors tried at once
PAYS = 0.9  # share of the single products' time below which a block is taken
OVERHEAD = 0.02  # seconds of a chunk's product above which it is bound by arithmetic, and a block saves nothing


def useful_block(chunk: Chunk, along: Sequence[Tensor], trial: Trial) -> int:
    """How many vectors to multiply at once: WIDTH, or 1 where that does not run, differs, or is no faster.

    `along` holds WIDTH vectors as rows. Not tried where a product of the chunk takes long.
    """
    if trial.product_seconds > OVERHEAD:
        return 1
    kept = Chunk(chunk.maker, chunk.batch, chunk.maker.build(chunk.batch) if chunk.built is None else chunk.built)
    singles = [[part[i] for part in along] for i in range(WIDTH)]
    device = along[0].device
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch tells, once, which of its operations have no batched form
            together = kept.product(along, block=True)
        time_together = seconds(lambda: kept.product(along, block=True), device)
    except (RuntimeError, NotImplementedError, ValueError, MemoryError):
        return 1
    reference = [torch.stack(parts) for parts in zip(*(kept.product(single) for single in singles), strict=True)]
    if not relative_difference(together, reference) <= AGREES[reference[0].dtype]:
        return 1
    time_single = seconds(lambda: kept.product(singles[0]), device)
    return WIDTH if time_together < PAYS * WIDTH * time_single else 1
