"""The embedded data set: 1,797 real 8x8 images of handwritten digits that come with scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .scaling import standardised

TEST_SAMPLES = 360  # a fifth; the other 1,437 train
SPLIT_SEED = 0


def load() -> Mapping[str, Any]:
    """Train (1,437) and test (360) splits; inputs (N, 1, 8, 8) standardised over the training split."""
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(digits.target))
    images = digits.images[order][:, None].astype(np.float32)
    labels = digits.target[order].astype(np.int64)
    train, test = slice(0, -TEST_SAMPLES), slice(-TEST_SAMPLES, None)
    return standardised((images[train], labels[train]), (images[test], labels[test]))
