"""How many samples go through the model at once."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from .errors import ResourceError
from .memory import Ledger

# The default chunk is the largest power of two, at most MAX_CHUNK, with which no activation passes the first number
# of bytes and all together not the second. Larger blocks come from the system anew, page by page, each time: measured
# on the CPU, a convolutional network runs twice as fast below the first. The device alone decides, so digests agree.
MAX_CHUNK = 2048
ACTIVATIONS = {"cpu": (16 * 2**20, 256 * 2**20), "cuda": (256 * 2**20, 2**30)}


class Chunking:
    """Samples a pass, shared by an objective and its copies at other points, since memory may force it down."""

    def __init__(self, size: int, *, fixed: str | None = None) -> None:
        self.asked = self.size = size
        self.fixed = fixed  # why it cannot be smaller
        self.halvings = 0

    def halve(self) -> None:
        """Half as many samples a pass; ResourceError where that cannot be."""
        if self.fixed or self.size == 1:
            reason = self.fixed or "choose a smaller network or --dtype float32"
            raise ResourceError(f"out of memory with the smallest chunk, {self.size} samples a pass; {reason}")
        self.size //= 2
        self.halvings += 1


def default_chunk(forward: Callable[[], object], samples: int, device: torch.device) -> int:
    """Samples a pass by the activations that `forward`, run with gradients on so many samples, makes and keeps."""
    with Ledger() as made:
        kept = forward()
        sizes = (made.largest, made.living())
    del kept
    limits = zip(ACTIVATIONS[device.type], sizes, strict=True)
    most = min(limit * samples / max(1, size) for limit, size in limits)
    return min(MAX_CHUNK, 2 ** max(0, math.floor(math.log2(most))))
