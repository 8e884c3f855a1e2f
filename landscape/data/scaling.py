"""Pixels (0 ... 255) scaled for a network: over the training split, by the largest value, or image by image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

Split = tuple[np.ndarray, np.ndarray]

SCALINGS = ("standardised", "unit", "image")
LARGEST = 255  # of a pixel stored in a byte


def scaled(train: Split, test: Split, scaling: str) -> Mapping[str, Any]:
    """Both splits as (inputs, targets) tensors under one of SCALINGS; inputs (N, channels, height, width) float32."""
    if scaling == "standardised":
        return standardised(train, test)
    scale = _unit if scaling == "unit" else _image
    return {
        "train": (torch.from_numpy(scale(train[0])), torch.from_numpy(train[1])),
        "test": (torch.from_numpy(scale(test[0])), torch.from_numpy(test[1])),
    }


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


def _unit(images: np.ndarray) -> np.ndarray:
    """Pixels / 255: the code of Keskar et al. 2017."""
    return (images / LARGEST).astype(np.float32)


def _image(images: np.ndarray) -> np.ndarray:
    """Each image x, in 0 ... 1, as (x - mean x) / max(std x, 1 / sqrt(values of x)): Zhang et al. 2017, appendix A."""
    pixels = images.astype(np.float64) / LARGEST
    mean = pixels.mean(axis=(1, 2, 3), keepdims=True)
    deviation = pixels.std(axis=(1, 2, 3), keepdims=True)
    values = images[0].size
    return ((pixels - mean) / np.maximum(deviation, values**-0.5)).astype(np.float32)
