"""MNIST and CIFAR-10 through the `datasets` library: from a local folder of parquet files, or from the hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, UsageError, one_line
from .standardise import Split, standardised

HUB = {"mnist": "ylecun/mnist", "cifar10": "uoft-cs/cifar10"}
IMAGE_COLUMN = {"mnist": "image", "cifar10": "img"}
FOLDER_VARIABLE = "LANDSCAPE_DATA"


def mnist(root: str | None = None) -> Mapping[str, Any]:
    """MNIST: 60,000 and 10,000 images (1, 28, 28)."""
    return _load("mnist", root)


def cifar10(root: str | None = None) -> Mapping[str, Any]:
    """CIFAR-10: 50,000 and 10,000 images (3, 32, 32)."""
    return _load("cifar10", root)


def _load(name: str, root: str | None) -> Mapping[str, Any]:
    folder = _folder(name, root)
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f"--data {name} needs the 'datasets' library: pip install 'loss-landscape-toolkit[data]'"
        ) from error
    datasets.disable_progress_bars()
    try:
        if folder is None:
            loaded = datasets.load_dataset(HUB[name])
        else:
            files = {split: str(folder / f"{split}.parquet") for split in ("train", "test")}
            loaded = datasets.load_dataset("parquet", data_files=files)
        return standardised(*(_arrays(loaded[split], IMAGE_COLUMN[name]) for split in ("train", "test")))
    except Exception as error:
        place = HUB[name] if folder is None else folder
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


def _arrays(dataset: Any, column: str) -> Split:
    """Images (N, channels, height, width) and labels (N,) of one split."""
    columns = dataset.with_format("numpy")
    images = np.stack(columns[column][:]).astype(np.float32)
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images), np.asarray(columns["label"][:], dtype=np.int64)
