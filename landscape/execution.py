"""How a user's model is run: its modes set and put back, exact kernels, devices, and memory errors told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .errors import InputError, ResourceError, UsageError

BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)
DTYPES = {"float32": torch.float32, "float64": torch.float64}

# What `exact_kernels` sets, for the provenance of results.
KERNELS = {"attention": "math", "cudnn_deterministic": True, "cudnn_benchmark": False, "cudnn_tf32": False}


def resolve_device(name: str | torch.device) -> torch.device:
    """The device of a name; `auto` is CUDA where there is one. InputError where CUDA is asked for and missing."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"unknown device {name!r}; use auto, cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} is not supported; use auto, cpu or cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this machine has no CUDA device; use --device cpu")
    return device


def resolve_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """The floating-point type of a name."""
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}; use float32 or float64")
    return DTYPES[dtype]


def has_batch_norm(model: nn.Module) -> bool:
    """Whether the model holds a batch-norm layer with running statistics."""
    return any(isinstance(m, BATCH_NORMS) and m.track_running_stats for m in model.modules())


@contextmanager
def measuring(model: nn.Module, *, batch_statistics: bool) -> Iterator[None]:
    """The model in eval mode (its batch norms in train mode with `batch_statistics`), all modes put back after."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = batch_statistics and isinstance(module, BATCH_NORMS)
        with exact_kernels(model):
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def exact_kernels(model: nn.Module) -> Iterator[None]:
    """Kernels that have a second derivative, give the same bits each time, and round as their type says.

    Attention runs on the math kernel (the fused ones have no double backward: pytorch #116350); on CUDA cuDNN is
    deterministic and without TF32, and off for recurrent layers (no double backward there: pytorch #5261).
    """
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if torch.cuda.is_available():
            recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
            stack.enter_context(
                torch.backends.cudnn.flags(enabled=not recurrent, benchmark=False, deterministic=True, allow_tf32=False)
            )
        yield


@contextmanager
def memory_guard(chunk: int) -> Iterator[None]:
    """Tells an out-of-memory error of torch, CPU or CUDA, as a ResourceError."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise ResourceError(
                f"out of memory with chunks of {chunk} samples; try --chunk {max(1, chunk // 2)}"
            ) from error
        raise
