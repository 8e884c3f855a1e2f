"""Options that commands share, and the request they make up."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from landscape.errors import UsageError
from landscape.specs import parse_arguments, parse_memory

if TYPE_CHECKING:
    from landscape.studies.measured import Request

Command = Callable[..., Any]


def stack(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order of the help."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _seed(_context: click.Context, _option: click.Parameter, value: int) -> int:
    if not 0 <= value < 2**63:
        raise UsageError(f"--seed must lie in 0 ... 2^63 - 1, got {value}")
    return value


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")

what_to_train = stack(
    click.option(
        "--model",
        metavar="SPEC",
        help="mlp, cnn, f1, c1 ... c4, lenet, lenet300, resnet20/32/44/56, vgg9/11/16, or package.module:name or "
        "file.py:name.",
    ),
    click.option("--model-arg", "model_args", metavar="K=V", multiple=True, help="Argument of the model; repeatable."),
    click.option("--data", metavar="SPEC", help="digits, mnist, fashion_mnist, cifar10, cifar100, or a SPEC."),
    click.option("--data-arg", "data_args", metavar="K=V", multiple=True, help="Argument of the data; repeatable."),
    click.option("--loss", metavar="NAME|SPEC", help="cross_entropy, mse, or a SPEC of loss(outputs, targets)."),
)

device = click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")

machine = stack(
    device,
    click.option(
        "--seed", type=int, default=0, show_default=True, callback=_seed, help="Seed of what is drawn at random."
    ),
)


trust_recipe = click.option("--trust-recipe", is_flag=True, help="Run the code that a checkpoint's recipe names.")


def what_to_measure(
    dtype: str, split: str | None, *, bn: bool = True, samples: bool = True
) -> Callable[[Command], Command]:
    """The flags that name what is measured; `dtype` and `split` are this command's defaults.

    A command with a --bn or a --samples of its own takes `bn=False`, `samples=False`.
    """
    return stack(
        what_to_train,
        click.option("--l2", type=float, default=0.0, show_default=True, help="Adds l2/2 |w|^2 to the objective."),
        click.option(
            "--split",
            type=click.Choice(["train", "test", "both"]),
            default=split,
            help=f"Samples.  [default: {split or 'both, where there is a test split'}]",
        ),
        click.option("--samples", type=int, help="The first N of a fixed permutation.  [default: all]")
        if samples
        else stack(),
        click.option("--params", metavar="GLOB", help="Only the params of these names, e.g. 'layers.0.*'; rest fixed."),
        click.option(
            "--bn",
            type=click.Choice(["eval", "batch"]),
            default="eval",
            show_default=True,
            help="Batch norm: stored statistics, or those of batches of --bn-batch samples.",
        )
        if bn
        else stack(),
        click.option("--bn-batch", type=int, help="Samples that share batch statistics.  [default: 256]"),
        machine,
        click.option(
            "--dtype",
            type=click.Choice(["float32", "float64"]),
            default=dtype,
            show_default=True,
            help="Precision.",
        ),
        click.option("--chunk", type=int, help="Samples a pass.  [default: by the activations, at most 2048]"),
        click.option("--label", "labels", multiple=True, help="Name in results and legends; once a checkpoint."),
        trust_recipe,
    )


resume = click.option("--resume", is_flag=True, help="Go on from the part that --out holds.")

products = stack(
    click.option(
        "--hvp",
        type=click.Choice(["auto", "double", "linearize"]),
        default="auto",
        show_default=True,
        help="Form of the matrix-vector product: double backward, a trace linear in the vector, or the faster.",
    ),
    click.option(
        "--memory", metavar="SIZE", help="What products may keep, e.g. 4G; 0: nothing.  [default: half of what is free]"
    ),
)

operator = click.option(
    "--operator",
    type=click.Choice(["hessian", "ggn", "fisher", "fisher-mc", "empirical-fisher", "gradient-covariance"]),
    default="hessian",
    show_default=True,
    help="The matrix.",
)

storing = stack(
    click.option("--out", metavar="FILE.h5", help="Store the result here; a second run finds it."),
    click.option("--overwrite", is_flag=True, help="Compute again what --out holds already."),
    as_json,
)


max_matvecs = click.option("--max-matvecs", type=int, default=1000, show_default=True, help="Budget of products.")

# what every command about a curvature matrix takes
of_matrix = stack(operator, products, what_to_measure("float32", "train"), resume, storing)


def request(
    *,
    model: str | None,
    model_args: tuple[str, ...],
    data: str | None,
    data_args: tuple[str, ...],
    loss: str | None,
    l2: float,
    split: str | None,
    samples: int | None,
    bn: str,
    bn_batch: int | None,
    device: str,
    seed: int,
    dtype: str,
    chunk: int | None,
    labels: tuple[str, ...],
    trust_recipe: bool,
    params: str | None = None,
    hvp: str = "auto",
    memory: str | None = None,
    normalize_logits: bool = False,
) -> Request:
    """The Request of the flags of `what_to_measure`, its numbers checked."""
    for name, value in {"--samples": samples, "--chunk": chunk, "--bn-batch": bn_batch}.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")
    if not 0 <= l2 < math.inf:
        raise UsageError(f"--l2 must be finite and not negative, got {l2}")
    for label in labels:
        check_label(label)
    budget = None if memory is None else parse_memory(memory)
    model_arguments, data_arguments = parse_arguments(model_args), parse_arguments(data_args)
    from landscape.studies.measured import Request

    return Request(
        model=model,
        model_args=model_arguments,
        data=data,
        data_args=data_arguments,
        loss=loss,
        l2=l2,
        split=split,
        samples=samples,
        bn=bn,
        bn_batch=bn_batch,
        device=device,
        seed=seed,
        dtype=dtype,
        chunk=chunk,
        labels=labels,
        trust_recipe=trust_recipe,
        params=params,
        hvp=hvp,
        memory=budget,
        normalize_logits=normalize_logits,
    )


def check_label(label: str, option: str = "--label") -> None:
    """Refuses what cannot be a group's name in a file."""
    if not label or "/" in label or label in (".", "..") or not label.isprintable():
        raise UsageError(f"a {option} must be a printable name without '/'")


def check_kind(kind: str | None) -> None:
    """Refuses a --kind that no result has."""
    from landscape.results import KINDS

    if kind is not None and kind not in KINDS:
        raise UsageError(f"--kind must be one of {', '.join(KINDS)}, got {kind!r}")


def positions(text: str, name: str) -> list[float]:
    """The NUM positions of FROM:TO:NUM, ends included."""
    import numpy as np

    parts = text.split(":")
    try:
        low, high, count = float(parts[0]), float(parts[1]), int(parts[2])
        if len(parts) != 3 or not low < high or count < 2 or not math.isfinite(high - low):
            raise ValueError
    except (ValueError, IndexError) as error:
        raise UsageError(f"{name} is FROM:TO:NUM with FROM < TO and NUM >= 2, got {text!r}") from error
    return np.linspace(low, high, count).tolist()
