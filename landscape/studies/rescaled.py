"""A checkpoint's rescaled copy: the same function at other params, in a file that is read as the original is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from .. import files
from ..checkpoint import Checkpoint, save_checkpoint
from ..errors import InputError, UsageError
from ..objective import Objective
from ..rescaling import Rescaling, rescale
from ..tracing import CHECKED_SAMPLES, first_names
from .measured import Request, set_up


@dataclass(frozen=True)
class Copy:
    """A copy that was written, the checkpoint it is of, and what was done."""

    path: Path
    original: Checkpoint
    rescaling: Rescaling


def rescaled_copy(
    request: Request, checkpoint: str, alphas: float | Sequence[float], out: str | None, *, overwrite: bool
) -> Copy:
    """Writes the copy to `out`, by default `STEM-rescaled.safetensors` beside the checkpoint, whole or not at all.

    Recipe and metadata are the original's; `rescaled` in the metadata holds its sha256 and the alphas by layer. Held in
    float32, or in float64 where some of the original is. `request.samples` and `request.dtype` are not looked at.
    Raises UsageError for another suffix than .safetensors, InputError where a file stands there already, and as
    `measured` and `rescale` do; nothing is written then.
    """
    path = files.require_file(checkpoint, "checkpoint")
    target = path.with_name(f"{path.stem}-rescaled.safetensors") if out is None else Path(out)
    if target.suffix != ".safetensors":
        raise UsageError(f"a checkpoint's name ends in .safetensors, got {target}")
    files.require_writable(target)
    if files.exists(target) and not overwrite:
        raise InputError(f"{target} exists; --overwrite, or another --out")
    setup = set_up(request, [checkpoint])
    (original,) = setup.checkpoints
    wide = any(tensor.dtype == torch.float64 for tensor in original.tensors.values())
    setup = replace(setup, request=replace(request, dtype="float64" if wide else "float32"))
    few = min(CHECKED_SAMPLES, setup.available) if setup.splits.split("train").divisible else None
    (minimum,) = setup.minima(few)
    found = rescale(minimum.objective, alphas)
    said = {"sha256": original.sha256, "alphas": dict(found.alphas)}
    about = {**(original.metadata or {}), "rescaled": said}
    save_checkpoint(target, _state(found.objective), original.recipe, about)
    return Copy(target, original, found)


def _state(objective: Objective) -> dict[str, torch.Tensor]:
    """Params and buffers under all the names of the model's state dict, tied ones under each."""
    tensors = {**objective.layout.named(objective.params), **objective.constants}
    first = first_names(objective.model)
    return {name: tensors[first[name]] for name in objective.model.state_dict()}
