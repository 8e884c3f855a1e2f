"""Corrupted data: labels drawn at random and pixels shuffled or replaced, as a control for what a network can fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, UsageError
from .registry import Splits
from .samples import Samples

PIXELS = ("true", "shuffled", "random", "gaussian")

VALUES = 2**20  # values of the images that are worked on at once: the float64 copies of these stay small


def changed(
    splits: Splits,
    *,
    train_samples: int | None = None,
    label_noise: float = 0.0,
    pixels: str = "true",
    data_seed: int = 0,
) -> Splits:
    """The data as a recipe changes them: the first training samples of a fixed permutation, then `corrupted`."""
    if train_samples is not None:
        if train_samples > len(splits.train):
            raise InputError(f"--train-samples must lie in 1 ... {len(splits.train)}, got {train_samples}")
        splits = Splits(splits.train.first(train_samples), splits.test)
    return corrupted(splits, label_noise=label_noise, pixels=pixels, seed=data_seed)


def corrupted(splits: Splits, *, label_noise: float = 0.0, pixels: str = "true", seed: int = 0) -> Splits:
    """The data with random labels or pixels: Zhang et al. 2017 (arXiv 1611.03530), section 2.1.

    `label_noise` p: each training label is replaced, with probability p, by a class drawn uniformly from all classes,
    the true one included; the samples replaced at a smaller p are among those at a larger. Test labels stay.
    `pixels`, of the training and the test split: "true"; "shuffled", one permutation of the positions for all images;
    "random", a permutation for each image; "gaussian", every value drawn from a Gaussian with the mean and variance of
    the training inputs, channel by channel. A permutation moves all channels of a position together.

    Inputs are floating-point, (N, channels, ...) or (N, d): then the d features are the positions of one channel.
    Labels, training pixels and test pixels come from separate streams of `seed`. The given splits are not modified.

    Raises UsageError for p outside [0, 1] or another word for `pixels`; InputError for data in several blocks or in
    dicts, for inputs that are no floating-point images, and for label noise on targets that are no classes (N,).
    """
    if isinstance(label_noise, bool) or not isinstance(label_noise, (int, float)) or not 0 <= label_noise <= 1:
        raise UsageError(f"label noise must lie in 0 ... 1, got {label_noise!r}")
    if pixels not in PIXELS:
        raise UsageError(f"pixels must be one of {', '.join(PIXELS)}, got {pixels!r}")
    if label_noise == 0 and pixels == "true":
        return splits
    inputs, targets = _pair(splits.train, "train")
    test = splits.test
    if label_noise > 0:
        targets = _noisy(targets, splits.num_classes, label_noise, _stream(seed, "labels"))
    if pixels != "true":
        change = _change(pixels, inputs, seed)
        if test is not None:
            others, labels = _pair(test, "test")
            _refuse_no_images("test", others, inputs)
            test = Samples(((change(others, _stream(seed, "test pixels")), labels),))
        inputs = change(inputs, _stream(seed, "train pixels"))
    return Splits(Samples(((inputs, targets),)), test)


def _stream(seed: int, name: str) -> torch.Generator:
    """A generator for one kind of draw; torch's CPU generator takes 32 bits of a seed, so all of it is hashed."""
    digest = hashlib.sha256(f"{seed}|{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))


def _pair(samples: Samples, name: str) -> tuple[Tensor, Tensor]:
    block = samples.blocks[0]
    if samples.divisible and not isinstance(block, dict):
        return block
    got = "dicts of tensors" if isinstance(block, dict) else f"{len(samples.blocks)} batches of unequal shapes"
    raise InputError(f"corruption needs one (inputs, targets) pair, the {name} data are {got}; give two tensors")


def _refuse_no_images(name: str, inputs: Tensor, train: Tensor) -> None:
    if not inputs.is_floating_point() or inputs.dim() < 2:
        shown = f"{str(inputs.dtype).removeprefix('torch.')} {tuple(inputs.shape)}"
        raise InputError(
            f"pixels are corrupted in floating-point inputs (N, channels, ...) or (N, d), the {name} inputs are "
            f"{shown}; use pixels = 'true', or give inputs of these shapes"
        )
    if inputs.shape[1:] != train.shape[1:]:
        raise InputError(
            f"train and test inputs must have one shape to be corrupted alike, got {tuple(train.shape[1:])} and "
            f"{tuple(inputs.shape[1:])}; give inputs of one shape, or no test split"
        )


def _noisy(targets: Tensor, classes: int | None, share: float, generator: torch.Generator) -> Tensor:
    if classes is None or targets.dim() != 1 or int(targets.min()) < 0:
        shown = f"{str(targets.dtype).removeprefix('torch.')} {tuple(targets.shape)}"
        raise InputError(f"label noise needs class indices (N,) as targets, got {shown}; use label noise 0")
    replaced = torch.rand(len(targets), dtype=torch.float64, generator=generator) < share
    drawn = torch.randint(classes, (len(targets),), generator=generator)
    return torch.where(replaced.to(targets.device), drawn.to(targets), targets)


def _change(pixels: str, train: Tensor, seed: int) -> Callable[[Tensor, torch.Generator], Tensor]:
    """What is done to the inputs of a split, given the split's own stream."""
    _refuse_no_images("train", train, train)
    positions = train[0].numel() // _channels(train)
    if pixels == "shuffled":
        order = torch.randperm(positions, generator=_stream(seed, "train pixels")).to(train.device)
        return lambda inputs, _: _over_images(inputs, lambda images: images[:, :, order])
    if pixels == "random":
        return lambda inputs, generator: _over_images(inputs, lambda images: _permuted(images, generator))
    mean, deviation = _moments(train)

    def gaussian(inputs: Tensor, generator: torch.Generator) -> Tensor:
        # Float64 on the CPU: the draws are then those of every device and type.
        def drawn(images: Tensor) -> Tensor:
            return torch.randn(images.shape, dtype=torch.float64, generator=generator) * deviation + mean

        return _over_images(inputs, drawn)

    return gaussian


def _permuted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images (N, channels, positions), the positions of each in an order of its own."""
    count, channels, positions = images.shape
    # Sorted uniform draws give uniform permutations; in float64 two draws are not equal.
    order = torch.rand(count, positions, dtype=torch.float64, generator=generator).argsort(dim=1)
    return images.gather(2, order.to(images.device)[:, None].expand(count, channels, positions))


def _moments(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel, (channels, 1), in float64 on the CPU."""
    channels, count = _channels(inputs), inputs.numel() // _channels(inputs)

    def total(function: Callable[[Tensor], Tensor]) -> Tensor:
        sums = torch.zeros(channels, 1, dtype=torch.float64)
        for images in inputs.split(_step(inputs)):
            values = images.reshape(len(images), channels, -1).double()
            sums += function(values).sum((0, 2), keepdim=True)[0].cpu()
        return sums

    mean = total(lambda values: values) / count
    return mean, (total(lambda values: (values - mean.to(values.device)).square()) / count).sqrt()


def _over_images(inputs: Tensor, function: Callable[[Tensor], Any]) -> Tensor:
    """`function` of the inputs as (N, channels, positions), chunk by chunk into a new tensor of the inputs' shape."""
    result = torch.empty_like(inputs)
    for images, into in zip(inputs.split(_step(inputs)), result.split(_step(inputs)), strict=True):
        into.copy_(function(images.reshape(len(images), _channels(inputs), -1)).reshape(images.shape))
    return result


def _channels(inputs: Tensor) -> int:
    return 1 if inputs.dim() == 2 else inputs.shape[1]


def _step(inputs: Tensor) -> int:
    """Images in a chunk; their shape alone decides, since the draws of "random" and "gaussian" follow the chunks."""
    return max(1, VALUES // max(1, inputs[0].numel()))
