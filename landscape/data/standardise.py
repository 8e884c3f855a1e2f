"""Standardised tensors: zero mean and unit variance over the training split, channel by channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

Split = tuple[np.ndarray, np.ndarray]


def standardised(train: Split, test: Split) -> Mapping[str, Any]:
    """Both splits as (inputs, targets) tensors; inputs (N, channels, height, width) float32.

    The mean and deviation of each channel are taken over the training split and used for both.
    """
    pixels = train[0].astype(np.float64)
    mean = pixels.mean(axis=(0, 2, 3), keepdims=True)
    deviation = pixels.std(axis=(0, 2, 3), keepdims=True)

    def tensors(split: Split) -> tuple[torch.Tensor, torch.Tensor]:
        images = ((split[0] - mean) / deviation).astype(np.float32)
        return torch.from_numpy(images), torch.from_numpy(split[1])

    return {"train": tensors(train), "test": tensors(test)}
