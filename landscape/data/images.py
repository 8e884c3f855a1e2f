"""Image data through the `datasets` library: from a local folder of parquet files, or from the hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, UsageError, one_line
from .scaling import SCALINGS, Split, scaled

FOLDER_VARIABLE = "LANDSCAPE_DATA"


@dataclass(frozen=True)
class Source:
    """Where a data set stands on the hub, and its columns, there and in parquet files."""

    hub: str
    image: str
    label: str


SOURCES = {
    "mnist": Source("ylecun/mnist", "image", "label"),
    "fashion_mnist": Source("zalando-datasets/fashion_mnist", "image", "label"),
    "cifar10": Source("uoft-cs/cifar10", "img", "label"),
    "cifar100": Source("uoft-cs/cifar100", "img", "fine_label"),
}


def mnist(root: str | None = None, scaling: str = "standardised", crop: int | None = None) -> Mapping[str, Any]:
    """MNIST: 60,000 and 10,000 images (1, 28, 28) in 10 classes.

    `scaling`: "standardised" to mean 0 and variance 1 over the training split, channel by channel; "unit", pixels / 255
    (the code of Keskar et al. 2017); "image", each image to mean 0 and variance 1 (Zhang et al. 2017, appendix A).
    `crop`: the central crop x crop pixels, cut before the scaling. Raises UsageError for other values of these two.
    """
    return _load("mnist", root, scaling, crop)


def fashion_mnist(root: str | None = None, scaling: str = "standardised", crop: int | None = None) -> Mapping[str, Any]:
    """Fashion-MNIST: 60,000 and 10,000 images (1, 28, 28) in 10 classes; the arguments are those of `mnist`."""
    return _load("fashion_mnist", root, scaling, crop)


def cifar10(root: str | None = None, scaling: str = "standardised", crop: int | None = None) -> Mapping[str, Any]:
    """CIFAR-10: 50,000 and 10,000 images (3, 32, 32) in 10 classes; the arguments are those of `mnist`."""
    return _load("cifar10", root, scaling, crop)


def cifar100(root: str | None = None, scaling: str = "standardised", crop: int | None = None) -> Mapping[str, Any]:
    """CIFAR-100: 50,000 and 10,000 images (3, 32, 32) in 100 fine classes; the arguments are those of `mnist`."""
    return _load("cifar100", root, scaling, crop)


def _load(name: str, root: str | None, scaling: str, crop: int | None) -> Mapping[str, Any]:
    if scaling not in SCALINGS:
        raise UsageError(f"--data-arg scaling must be one of {', '.join(SCALINGS)}, got {scaling!r}")
    if crop is not None and (not isinstance(crop, int) or isinstance(crop, bool) or crop < 1):
        raise UsageError(f"--data-arg crop must be a whole number of pixels >= 1, got {crop!r}")
    train, test = _splits(name, root)
    return scaled(_central(train, crop), _central(test, crop), scaling)


def _splits(name: str, root: str | None) -> tuple[Split, Split]:
    """The training and the test split of a data set, as stored."""
    source, folder = SOURCES[name], _folder(name, root)
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f"--data {name} needs the 'datasets' library: pip install 'loss-landscape-toolkit[data]'"
        ) from error
    datasets.disable_progress_bars()
    try:
        if folder is None:
            loaded = datasets.load_dataset(source.hub)
        else:
            files = {split: str(folder / f"{split}.parquet") for split in ("train", "test")}
            loaded = datasets.load_dataset("parquet", data_files=files)
        return _arrays(loaded["train"], source), _arrays(loaded["test"], source)
    except Exception as error:
        place = source.hub if folder is None else folder
        raise InputError(f"cannot load {name} from {place}: {one_line(error)}; set {FOLDER_VARIABLE}") from error


def _folder(name: str, root: str | None) -> Path | None:
    """The folder of the parquet files: `root` itself or its sub-folder `name`; None means the hub."""
    if root is not None and not isinstance(root, str):
        raise UsageError(f"--data-arg root must name a folder, got {root!r}")
    base = root or os.environ.get(FOLDER_VARIABLE)
    if not base:
        return None
    for folder in (Path(base) / name, Path(base)):
        if (folder / "train.parquet").is_file() and (folder / "test.parquet").is_file():
            return folder
    raise InputError(
        f"no {name}/train.parquet and {name}/test.parquet under {base}; "
        f"give --data-arg root=DIR or {FOLDER_VARIABLE}, or neither to use the hub"
    )


def _arrays(dataset: Any, source: Source) -> Split:
    """Images (N, channels, height, width) and labels (N,) of one split."""
    columns = dataset.with_format("numpy")
    images = np.stack(columns[source.image][:]).astype(np.float32)
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images), np.asarray(columns[source.label][:], dtype=np.int64)


def _central(split: Split, crop: int | None) -> Split:
    """The central crop x crop pixels of each image; the smaller half of an odd margin is above and to the left."""
    if crop is None:
        return split
    images, labels = split
    height, width = images.shape[2:]
    if crop > min(height, width):
        raise UsageError(f"--data-arg crop must lie in 1 ... {min(height, width)}, the size of an image, got {crop}")
    top, left = (height - crop) // 2, (width - crop) // 2
    return np.ascontiguousarray(images[:, :, top : top + crop, left : left + crop]), labels
