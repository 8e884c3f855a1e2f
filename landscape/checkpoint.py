"""Checkpoints: our own safetensors files with their recipe inside, and other people's in the simple shapes."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from . import files
from .errors import InputError, NumericalError, one_line
from .recipe import Recipe, from_json

FORMAT = "landscape-checkpoint-1"
NESTED = ("state_dict", "model", "model_state_dict", "net", "weights", "params")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors, the file's sha256, and for our own files the recipe and metrics of the run that made them."""

    path: Path
    tensors: Mapping[str, Tensor]
    sha256: str
    recipe: Recipe | None = None
    metadata: Mapping[str, Any] | None = None


def save_checkpoint(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], recipe: Recipe | None, metadata: Mapping[str, Any]
) -> None:
    """Writes one safetensors file, whole or not at all: tensors, recipe (JSON), and `metadata` (JSON).

    Without a recipe it is read as other people's files are; the metadata then stand in its header only.
    """
    # clones: tied tensors share memory, which the format refuses
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {"run": json.dumps(dict(metadata), sort_keys=True)}
    if recipe is not None:
        header |= {"format": FORMAT, "recipe": recipe.to_json()}
    files.sweep_temporaries(path)
    files.write_atomically(path, safetensors.torch.save(plain, header))


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Opens a checkpoint: our own, a safetensors file, or a torch file that holds a state dict.

    Torch files are read with `weights_only=True`, always; a state dict may lie under `state_dict`, `model` or the
    like. Raises InputError for anything that is no checkpoint, NumericalError where it holds non-finite weights.
    """
    found = files.require_file(path, "checkpoint")
    with open(found, "rb") as file:
        start = file.read(16)
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if start[8:9] == b"{":
        checkpoint = _safetensors(found, sha256)
    elif start[:4] == b"PK\x03\x04" or start[:1] == b"\x80":
        checkpoint = Checkpoint(found, _state_dict(_torch_file(found), found), sha256)
    else:
        what = " (it is an HDF5 file of results)" if start[:4] == b"\x89HDF" else ""
        raise InputError(f"{path} is no checkpoint{what}; give a .safetensors, .pt or .pth file")
    _refuse_unusable(checkpoint)
    return checkpoint


def _safetensors(path: Path, sha256: str) -> Checkpoint:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except Exception as error:
        raise InputError(f"{path} is a damaged safetensors file: {one_line(error)}; copy or train it again") from error
    if header.get("format") != FORMAT:
        return Checkpoint(path, _state_dict(tensors, path), sha256)
    recipe = from_json(header.get("recipe", ""), str(path))
    try:
        return Checkpoint(path, tensors, sha256, recipe, dict(json.loads(header.get("run", "{}"))))
    except (TypeError, ValueError) as error:
        raise InputError(f"the metrics in {path} cannot be read: {error}; train it again") from error


def _torch_file(path: Path) -> Any:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise InputError(f"{path} is damaged: the checksum of {damaged} fails; copy it again")
        with warnings.catch_warnings():
            # torch warns of old pickle protocols and of TorchScript; what cannot be loaded is told below
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except pickle.UnpicklingError as error:
        unsafe = _unsafe_globals(path) or re.findall(r"GLOBAL (\S+)", str(error))
        if unsafe:
            raise InputError(
                f"{path} holds more than tensors ({', '.join(unsafe[:4])}), which is not loaded for safety; "
                "save model.state_dict() alone"
            ) from error
        raise InputError(f"{path} is damaged or no torch file; copy or save it again") from error
    except Exception as error:
        raise InputError(f"{path} cannot be read as a torch file: {one_line(error)[:160]}; save it again") from error


def _unsafe_globals(path: Path) -> list[str]:
    try:
        return list(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # no zip of torch's: the plain pickle may tell, nothing being run
        return _pickled_globals(path)


def _pickled_globals(path: Path) -> list[str]:
    """What the STACK_GLOBAL operations of a plain pickle (protocol 4 and later) would import."""
    texts: list[str] = []
    found: list[str] = []
    try:
        for operation, argument, _ in pickletools.genops(path.read_bytes()):
            if operation.name == "STACK_GLOBAL" and len(texts) > 1:
                found.append(".".join(texts[-2:]))
            elif isinstance(argument, str):
                texts.append(argument)
    except Exception:  # damaged beyond listing; the caller then says so
        return found
    return found


def _state_dict(loaded: Any, path: Path) -> Mapping[str, Tensor]:
    for _ in range(3):
        if isinstance(loaded, Mapping) and loaded and all(isinstance(v, Tensor) for v in loaded.values()):
            return {str(name): tensor for name, tensor in loaded.items()}
        inner = [key for key in NESTED if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping)]
        if not inner:
            break
        loaded = loaded[inner[0]]
    keys = f"; its keys: {', '.join(map(str, list(loaded)[:6]))}" if isinstance(loaded, Mapping) else ""
    raise InputError(f"{path} holds no state dict (a {type(loaded).__name__}{keys}); save model.state_dict()")


def _refuse_unusable(checkpoint: Checkpoint) -> None:
    for name, tensor in checkpoint.tensors.items():
        if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_complex() or tensor.is_quantized:
            raise InputError(f"{checkpoint.path}: {name} is no dense real tensor; save plain weights")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            count = int((~torch.isfinite(tensor)).sum())
            raise NumericalError(
                f"{checkpoint.path}: {count} of {tensor.numel()} values of {name} are not finite; "
                "the run that made it diverged"
            )


def fitted(checkpoint: Checkpoint, model: nn.Module) -> dict[str, Tensor]:
    """The checkpoint's tensors under the model's own names.

    Prefixes of wrappers (`module.` of DataParallel, `_orig_mod.` of compile, ...) are stripped where that makes
    all names fit. Raises InputError where names or shapes do not fit, naming some and the nearest of the others.
    """
    own = model.state_dict()
    expected = {name: tensor.shape for name, tensor in own.items()}
    tensors = _without_prefixes(dict(checkpoint.tensors), set(expected))
    missing = [n for n in expected if n not in tensors and not n.endswith("num_batches_tracked")]
    extra = [n for n in tensors if n not in expected]
    if missing or extra:
        raise InputError(f"{checkpoint.path} does not fit the model: {_mismatch(missing, extra)}; check --model")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name]:
            raise InputError(
                f"{checkpoint.path} does not fit the model: {name} has shape {tuple(tensor.shape)}, "
                f"the model's {tuple(expected[name])}; check --model and --model-arg"
            )
        if tensor.is_floating_point() != own[name].is_floating_point():
            raise InputError(
                f"{checkpoint.path} does not fit the model: {name} is {tensor.dtype}, the model's {own[name].dtype}"
            )
    return tensors


def _without_prefixes(tensors: dict[str, Tensor], expected: set[str]) -> dict[str, Tensor]:
    stripped = tensors
    while set(stripped) != expected:
        prefix = next((p for p in PREFIXES if all(name.startswith(p) for name in stripped)), None)
        if prefix is None:
            return stripped if set(stripped) & expected else tensors
        stripped = {name.removeprefix(prefix): tensor for name, tensor in stripped.items()}
    return stripped


def _mismatch(missing: list[str], extra: list[str]) -> str:
    told = []
    if missing:
        near = difflib.get_close_matches(missing[0], extra, n=1)
        told.append(f"lacks {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}")
        if near:
            told.append(f"nearest to {missing[0]} is {near[0]}")
    if extra:
        told.append(f"has {', '.join(extra[:3])}{' ...' if len(extra) > 3 else ''} besides")
    return "; ".join(told)
