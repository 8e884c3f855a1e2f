"""The recipe: everything that fixes a training run, JSON-able, kept inside the checkpoint it makes.

Each field says what it means, its bounds and its choices; the flags of `landscape train` are made from them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError
from . import checks

OPTIMIZERS = ("sgd", "adam", "adamw")
ENDS = ("epochs", "updates", "samples", "target_loss")  # fields that say when a run ends
RATES = {"sgd": 0.05, "adam": 0.001, "adamw": 0.001}  # learning rates where none is given
SAID = (*ENDS, "data", "model", "loss", "optimizer", "lr", "batch_size", "seed")  # fields that are always told
FULL = "full"  # the batch size of all samples


def _field(about: str, default: Any, *, choices: tuple[str, ...] = (), **bounds: float) -> Any:
    """A field with its meaning; `low` and `high` bound its numbers, `above` and `below` do too, ends excluded."""
    return field(default=default, metadata={"about": about, "choices": choices, "bounds": bounds})


def _arguments(about: str) -> Any:
    return field(default_factory=dict, metadata={"about": about, "choices": (), "bounds": {}})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Data, model, loss, optimiser, batch and rate schedules, budget and seeds.

    Lengths of schedules are in epochs, passes over the training samples. The budget is one of `epochs`, `updates` and
    `samples`; `target_loss` and `patience` end a run sooner, or are all there is. `seed` fixes the initial point, the
    order of the samples and what is drawn meanwhile; runs of one seed and model share their initial point whatever
    their batch size. Raises UsageError for values out of range or that exclude each other.
    """

    # -- what is trained
    data: str = _field("Data: digits, mnist, fashion_mnist, cifar10, cifar100, or a SPEC.", "digits")
    data_args: Mapping[str, Any] = _arguments("Argument of the data; repeatable.")
    model: str = _field(
        "Model: mlp, cnn, f1, c1 ... c4, lenet, lenet300, resnet20/32/44/56, vgg9/11/16, or a SPEC.", "mlp"
    )
    model_args: Mapping[str, Any] = _arguments("Argument of the model; repeatable.")
    loss: str = _field("Loss: cross_entropy, mse, or a SPEC of loss(outputs, targets).", "cross_entropy")
    init: str | None = _field("Checkpoint whose tensors the run begins with (Keskar's piggy-backing).", None)

    # -- changes of the training samples, made once
    train_samples: int | None = _field("Train on the first N of a fixed permutation.  [default: all]", None, low=1)
    label_noise: float = _field("Share of train labels that are drawn at random; 1: random labels.", 0.0, low=0, high=1)
    pixels: str = _field(
        "Pixels: as they are; shuffled alike; shuffled for each image; drawn (Zhang et al. 2017).",
        "true",
        choices=("true", "shuffled", "random", "gaussian"),
    )
    data_seed: int = _field("Seed of label noise and pixels, apart from that of the run.", 0, low=0)

    # -- augmentation, drawn anew for each batch
    flip: bool = _field("Augment: mirror images left to right, at random.", False)
    crop: int = _field("Augment: crop images padded by this many pixels.", 0, low=0)
    rotate: float = _field("Augment: rotate by at most so many degrees.", 0.0, low=0, high=180)
    shift: float = _field("Augment: shift by at most this share of height and width.", 0.0, low=0, below=1)

    # -- an update
    optimizer: str = _field("Optimiser.", "sgd", choices=OPTIMIZERS)
    lr: float = _field("Learning rate.  [default: 0.05 for sgd, 0.001 for adam and adamw]", RATES["sgd"], low=0)
    momentum: float = _field("Momentum of sgd.", 0.9, low=0, below=1)
    nesterov: bool = _field("Nesterov's momentum.", False)
    weight_decay: float = _field("L2 penalty inside the optimiser; of adamw: decoupled.", 0.0, low=0)
    decay_on: str = _field(
        "Params that decay: all, or weights (no biases, no norms).", "all", choices=("all", "weights")
    )
    reduction: str = _field("Gradient of the mean or of the sum over a batch.", "mean", choices=("mean", "sum"))
    accumulate: int = _field("Micro-batches that each batch is cut into.", 1, low=1)
    clip: float | None = _field("Largest norm of a gradient; longer ones are scaled down.", None, above=0)
    multiplicative_noise: float = _field("Sigma of N(1, sigma^2) weights of the samples (Hoffer).", 0.0, low=0)
    sam: float = _field("Radius rho of sharpness-aware minimisation; 0: off.", 0.0, low=0)
    conservative: float = _field("Lambda of conservative training (Keskar, appendix E); 0: off.", 0.0, low=0)
    ghost_batch: int | None = _field("Batch norm over ghosts of so many samples (Hoffer).", None, low=1)
    freeze_bn: float | None = _field("Epoch from which batch norm uses its stored statistics.", None, low=0)
    average: str = _field("Average of the weights that is kept.", "none", choices=("none", "swa", "ema"))
    average_from: float = _field("Epoch from which weights are averaged.", 0.0, low=0)
    average_decay: float = _field("Share of the old average that ema keeps at each update.", 0.999, low=0, below=1)

    # -- batch size
    batch_size: int | str = _field("Samples an update, or full.", 64, low=1)
    batch_schedule: str = _field(
        "grow: by the factors of a step schedule, in place of the rate.",
        "constant",
        choices=("constant", "grow", "cyclic"),
    )
    max_batch_size: int | None = _field("Where growth ends; then the rate decays.  [default: N/10]", None, low=1)

    # -- learning rate
    scale_lr: str = _field(
        "Scale the rate by batch size / base batch size, or its root.", "none", choices=("none", "linear", "sqrt")
    )
    base_batch_size: int | None = _field("Batch size that --lr and the schedules are meant for.", None, low=1)
    warmup: float = _field("Epochs of warm-up.", 0.0, low=0)
    warmup_shape: str = _field("Warm-up at one rate, or rising.", "gradual", choices=("gradual", "constant"))
    warmup_lr: float | None = _field(
        "Rate of its start.  [default: --lr before scaling; 0 if gradual without scaling]", None, low=0
    )
    schedule: str = _field(
        "Learning rate over epochs.", "constant", choices=("constant", "step", "cosine", "exponential", "cyclic")
    )
    milestones: tuple[float, ...] = _field("Epochs of the steps, as 60,120,160.", (), above=0)
    decay: tuple[float, ...] = _field(
        "Factor of each step, or one for all; of each epoch if exponential.", (0.1,), above=0
    )
    cycle: float | None = _field("Epochs at each of the two values of a cyclic schedule.", None, above=0)
    cycle_factor: float = _field("Cyclic: the batch grows, the rate falls by this.", 5.0, above=1)
    regime_adaptation: bool = _field("Stretch all epochs by batch size / base batch size (Hoffer).", False)

    # -- budget
    epochs: float | None = _field("Passes over the data.  [default: 20]", None, above=0)
    updates: int | None = _field("Updates of the params, instead of --epochs.", None, low=1)
    samples: int | None = _field("Samples seen, instead of --epochs.", None, low=1)
    target_loss: float | None = _field("End at this train loss.", None)
    patience: int | None = _field("End after so many measurements without a better one; keep the best.", None, low=1)
    monitor: str = _field(
        "What --patience looks at.",
        "test_loss",
        choices=("train_loss", "train_accuracy", "test_loss", "test_accuracy"),
    )
    evaluate_every: int = _field("Epochs between two measurements of the splits.", 1, low=1)

    # -- seeds
    seed: int = _field("Seed of what is drawn at random.", 0, low=0, below=2**63)
    init_seed: int | None = _field("Seed of the initial point.  [default: --seed]", None, low=0, below=2**63)
    order_seed: int | None = _field("Seed of the order of the samples.  [default: --seed]", None, low=0, below=2**63)
    augment_seed: int | None = _field("Seed of augmentation and noise.  [default: --seed]", None, low=0, below=2**63)
    reshuffle: bool = _field("A new order of the samples for each epoch.", True)

    # -- arithmetic
    dtype: str = _field("Type of params and data.", "float32", choices=("float32", "float64"))
    bf16: bool = _field("Forward and backward in bfloat16 where torch's autocast does so.", False)
    channels_last: bool = _field("Images in the channels-last memory format.", False)
    compile: bool = _field("Run the model through torch.compile.", False)

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = checks.plain(item, getattr(self, item.name))
            object.__setattr__(self, item.name, value)
            checks.refuse_value(item, value)
        checks.refuse_together(self)

    @property
    def seeds(self) -> Mapping[str, int]:
        """Seeds of the initial point, the order of the samples, and of augmentation and noise."""
        given = {"init": self.init_seed, "order": self.order_seed, "augment": self.augment_seed}
        return {name: self.seed if seed is None else seed for name, seed in given.items()}

    @property
    def changes(self) -> Mapping[str, Any]:
        """What is done to the training samples before any is used; empty where nothing is."""
        given = {name: getattr(self, name) for name in ("train_samples", "label_noise", "pixels", "data_seed")}
        plain = given["train_samples"] is None and given["label_noise"] == 0 and given["pixels"] == "true"
        return {} if plain else given

    def changed(self) -> dict[str, Any]:
        """The fields that say what was trained, and the others that are not at their defaults, in order."""
        default = Recipe(epochs=1)
        found = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {name: value for name, value in found.items() if name in SAID or value != getattr(default, name)}

    def to_json(self) -> str:
        """The recipe as JSON, for a checkpoint's metadata."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    def differences(self, other: Recipe) -> list[str]:
        """Names of the fields that differ, the budget aside: a run may go on for longer.

        Under a cosine schedule the budget is no exception: every rate depends on it.
        """
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        free = () if self.schedule == "cosine" else ENDS
        return [name for name in mine if mine[name] != theirs[name] and name not in free]


def default_rate(optimizer: str) -> float:
    """The learning rate of an optimiser where none is given."""
    if optimizer not in RATES:
        raise UsageError(f"unknown optimizer {optimizer!r}; one of {', '.join(OPTIMIZERS)}")
    return RATES[optimizer]
