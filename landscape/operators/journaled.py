"""An operator whose products are written down, so that an algorithm can go on from where it was cut."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import Stopped
from ..products.block import WIDTH
from ..resume import Journal
from .base import AbstractOperator


class Journaled(AbstractOperator):
    """A, with each product recorded in a journal, and taken from it as far as it reaches.

    Args:
        operator: A. What its products were made with is pinned before it goes on.
        journal: open; see `landscape.resume.Journal`.
        manifest: what else fixes the bits, to be kept with each record.
        stop: asked before each product; where it says so, Stopped is raised.

    A product costs one of A, and n numbers written.
    """

    def __init__(
        self,
        operator: AbstractOperator,
        journal: Journal,
        manifest: Mapping[str, Any],
        stop: Callable[[], bool] | None = None,
    ) -> None:
        self.inner, self.journal, self.manifest, self.stop = operator, journal, manifest, stop
        self.name, self.size = operator.name, operator.size
        self.dtype, self.device = operator.dtype, operator.device
        self.loss, self.num_samples, self.num_classes = operator.loss, operator.num_samples, operator.num_classes
        self._take_up()

    def matvec(self, vector: Tensor) -> Tensor:
        return self.matmat(vector[:, None])[:, 0]

    def matmat(self, matrix: Tensor) -> Tensor:
        """A X for X of shape (n, s), in pieces: little is lost where it is cut, and it stops soon."""
        return torch.cat([self._piece(piece) for piece in matrix.split(WIDTH, dim=1)], dim=1)

    def _piece(self, matrix: Tensor) -> Tensor:
        asked = matrix.detach().cpu().contiguous().numpy()
        key = f"{asked.dtype.str}{asked.shape}{zlib.crc32(asked.data):08x}"
        replaying = self.journal.replaying
        recorded = self.journal.next(key)
        if recorded is not None:
            return torch.from_numpy(recorded).to(self.device)
        if replaying:
            self._take_up()  # what the last record was made with: memory may have forced it down along the way
        if self.stop and self.stop():
            raise Stopped(f"stopped after {self.journal.count} calls of the product; --resume goes on from here")
        product = self.inner.matmat(matrix)
        self.journal.append(key, product.cpu().numpy(), {**self.manifest, "product": dict(self.inner.conditions())})
        return product

    def _take_up(self) -> None:
        before = self.journal.manifest.get("product")
        if before:
            self.inner.pin(before)

    def identity(self) -> Mapping[str, Any]:
        return self.inner.identity()

    def self_check(self, seed: int) -> Mapping[str, Any]:
        return self.inner.self_check(seed)

    def gradient(self) -> Tensor | None:
        return self.inner.gradient()

    def report(self) -> Mapping[str, Any]:
        return self.inner.report()

    def blocks(self) -> Mapping[str, slice]:
        return self.inner.blocks()
