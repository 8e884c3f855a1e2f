"""What `line` and `plane` share: their options, and the numbers of samples that they try."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import click

from landscape.errors import UsageError

from . import options
from .computing import tell

if TYPE_CHECKING:
    from landscape.studies.measured import Minimum, Setup
    from landscape.studies.slicing import Chosen

Measured = tuple[str, Any, dict[str, Any]]  # label, result, provenance

PILOT = {"line": 9, "plane": 5}  # positions along an axis on which a number of samples is tried first

direction_files = click.option(
    "--direction-file", "files", metavar="FILE.safetensors", multiple=True, help="Tensors by the params' names."
)

normalize = options.stack(
    click.option(
        "--normalize",
        type=click.Choice(["filter", "layer", "model", "none"]),
        help="Scale of a direction by the params' norms (Li et al. 2018).  [default: filter if random, else none]",
    ),
    click.option(
        "--with-biases", is_flag=True, help="Random and normalised directions move biases and norm params too."
    ),
)

bn = click.option(
    "--bn",
    type=click.Choice(["eval", "batch", "recompute", "interpolate"]),
    help="Batch norm: stored statistics of the first minimum, those of batches of --bn-batch samples, re-estimated at "
    "each point, or moving with the params.  [default: interpolate between minima, else eval]",
)

samples = options.stack(
    click.option(
        "--samples",
        metavar="N|auto",
        help="The first N of a fixed permutation; auto: so many that differences along the slice are told from chance."
        "  [default: all]",
    ),
    click.option(
        "--share",
        type=float,
        help="With --samples auto: largest standard error of a loss difference, as a share of the range.  "
        "[default: 0.01]",
    ),
)


def chosen(
    kind: str, normalize: str | None, with_biases: bool, files: tuple[str, ...], seed: int, *, count: int
) -> Chosen:
    """The directions that the flags name, their text checked."""
    if files and kind != "file":
        raise UsageError("--direction-file needs the direction `file`")
    if kind == "file" and len(files) != count:
        raise UsageError(f"this slice takes --direction-file {'once' if count == 1 else 'twice'}, got {len(files)}")
    if with_biases and kind != "random" and normalize in (None, "none"):
        raise UsageError(f"--with-biases is for random or normalised directions; {kind} has its biases already")
    from landscape.studies.slicing import Chosen

    return Chosen(kind, normalize, seed, files, with_biases)


def numbers(samples: str | None, share: float | None) -> tuple[int | None, bool, float]:
    """What --samples and --share say: a number or None for all, whether to find one, and the share."""
    auto = samples == "auto"
    if share is not None and not (auto and 0 < share < 1):
        raise UsageError(f"--share is a fraction between 0 and 1 and needs --samples auto, got {share}")
    try:
        count = None if samples is None or auto else int(samples)
    except ValueError as error:
        raise UsageError(f"--samples is a number or auto, got {samples!r}") from error
    from landscape.slices.budget import SHARE

    return count, auto, share or SHARE


def check_statistics(identity: Mapping[str, Any]) -> None:
    """The same for a policy that was not asked for by name."""
    if identity["bn"] == "recompute" and identity["split"] == "test":
        from landscape.errors import InputError

        raise InputError("batch norm would be re-estimated on test samples here: use --split both, or --bn eval")


def check_policy(bn: str | None, split: str | None) -> None:
    """Refuses statistics of test samples."""
    if bn == "recompute" and split == "test":
        raise UsageError("--bn recompute takes the statistics of training samples: use --split both or train")


class Job(Protocol):
    """One slice as it was asked for, at minima over any number of samples."""

    def pilot(self, minima: list[Minimum]) -> Any:
        """A thin slice, kept nowhere."""
        ...

    def measured(self, minima: list[Minimum], about: dict[str, Any]) -> Measured:
        """Label, result and provenance of the whole slice; `about` is kept with the result."""
        ...


def measure(job: Job, setup: Setup, asked: int | None, auto: bool, share: float) -> tuple[list[Minimum], Measured]:
    """The minima and the slice over the number of samples asked for; with `auto` over growing numbers, until resolved.

    A thin slice is tried first at each number, so that mostly one whole slice is made; a whole one that is not resolved
    after all is followed by the next.
    """
    from landscape.slices.budget import counts, resolution

    if not auto:
        minima = setup.minima(asked)
        return minima, job.measured(minima, {})
    for count in counts(setup.available):
        minima = setup.minima(count)
        if count < setup.available and (found := resolution(job.pilot(minima))) > share:
            tell(f"{count} samples: standard errors of differences up to {found:.2%} of the range; more are taken")
            continue
        measured = job.measured(minima, {"samples": {"asked": "auto", "share": share}})
        found = resolution(measured[1])
        tell(f"{count} samples: standard errors of differences up to {found:.2%} of the range")
        if found <= share or count == setup.available:
            return minima, measured
    raise AssertionError("counts ends with all samples")
