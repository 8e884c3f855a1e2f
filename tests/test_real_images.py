"""The real image data, where LANDSCAPE_DATA names their folder: counts and statistics that are published."""

import os

import pytest
import torch

from landscape import load_data

pytestmark = pytest.mark.skipif("LANDSCAPE_DATA" not in os.environ, reason="LANDSCAPE_DATA is not set")

MNIST_CLASSES = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def test_mnist_is_mnist():
    splits = load_data("mnist")
    inputs, targets = splits.train.blocks[0]
    assert inputs.shape == (60_000, 1, 28, 28)
    assert splits.test.blocks[0][0].shape == (10_000, 1, 28, 28)
    assert targets.bincount().tolist() == MNIST_CLASSES
    # black and white after standardisation by the published mean .1307 and deviation .3081
    assert float(inputs.min()) == pytest.approx(-0.1307 / 0.3081, abs=2e-4)
    assert float(inputs.max()) == pytest.approx((1 - 0.1307) / 0.3081, abs=2e-3)


def test_cifar10_has_its_classes_and_standardised_channels():
    splits = load_data("cifar10")
    inputs, targets = splits.train.blocks[0]
    assert inputs.shape == (50_000, 3, 32, 32)
    assert targets.bincount().tolist() == [5000] * 10
    assert torch.allclose(inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(inputs.std((0, 2, 3)), torch.ones(3), atol=1e-3)
