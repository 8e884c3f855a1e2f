"""How a user's model is run: its modes set and put back, exact kernels, devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from .errors import InputError, UsageError

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


def conditions(device: torch.device) -> dict[str, Any]:
    """What fixes the bits of sums on a device, for the manifest of what may be resumed."""
    found: dict[str, Any] = {"threads": torch.get_num_threads(), "torch": str(torch.__version__), "device": device.type}
    if device.type == "cuda":
        return {**found, "gpu": torch.cuda.get_device_name(device)}
    return {**found, "cpu": torch.backends.cpu.get_cpu_capability().lower()}


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
    """The model in eval mode (its batch norms on batch statistics where asked for), all modes put back after.

    A batch norm on batch statistics does not track them meanwhile: nothing is written, and forward-mode
    differentiation, which refuses layers that write to their buffers, can run.
    """
    modes = [(module, module.training, getattr(module, "track_running_stats", None)) for module in model.modules()]
    try:
        for module, _, tracking in modes:
            module.training = batch_statistics and isinstance(module, BATCH_NORMS)
            if module.training and tracking:
                setattr(module, "track_running_stats", False)  # noqa: B010 - a plain attribute of the norms
        with exact_kernels(model), no_recomputation():
            yield
    finally:
        for module, training, tracking in modes:
            module.training = training
            if tracking is not None:
                setattr(module, "track_running_stats", tracking)  # noqa: B010


@contextmanager
def estimating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode but for its batch norms, which average the statistics of what passes; all put back after.

    For functional_call with statistics of its own: those are written to in place, and not the model's.
    """
    modes = [(module, module.training) for module in model.modules()]
    layers = [m for m in model.modules() if isinstance(m, BATCH_NORMS) and m.track_running_stats]
    momenta = [layer.momentum for layer in layers]
    try:
        for module, _ in modes:
            module.training = False
        for layer in layers:
            layer.training, layer.momentum = True, None  # None: the average over all batches
        with exact_kernels(model):
            yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, training in modes:
            module.training = training


def no_recomputation() -> AbstractContextManager[None]:
    """Refuses activation checkpointing: its backward would run the model again after its params were put back."""
    return torch.autograd.graph.disable_saved_tensors_hooks(
        "activation checkpointing runs the model again, with other params: switch it off for measuring"
    )


class _PlainWeightNorm(TorchFunctionMode):
    """weight_norm in plain arithmetic: the second derivative of torch's fused form is wrong (seen in torch 2.13)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ARG002
        if func is torch._weight_norm:  # pyright: ignore[reportPrivateImportUsage]
            return _weight_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    axes = [axis for axis in range(v.dim()) if axis != dim % v.dim()] if dim != -1 else list(range(v.dim()))
    return v * (g / v.square().sum(axes, keepdim=True).sqrt())


def _has_weight_norm(model: nn.Module) -> bool:
    hooks = [hook for module in model.modules() for hook in module._forward_pre_hooks.values()]
    return any(type(thing).__name__ in ("_WeightNorm", "WeightNorm") for thing in (*model.modules(), *hooks))


@contextmanager
def repeatable() -> Iterator[None]:
    """Kernels that give the same bits each time, on CUDA; elsewhere nothing changes. TF32 stays as torch has it."""
    if not torch.cuda.is_available():
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        yield


@contextmanager
def exact_kernels(model: nn.Module) -> Iterator[None]:
    """Kernels that have a second derivative, give the same bits each time, and round as their type says.

    Attention runs on the math kernel (the fused ones have no double backward: pytorch #116350); on CUDA cuDNN is
    deterministic and without TF32, and off for recurrent layers (no double backward there: pytorch #5261).
    """
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if _has_weight_norm(model):
            stack.enter_context(_PlainWeightNorm())
        if torch.cuda.is_available():
            recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
            stack.enter_context(
                torch.backends.cudnn.flags(enabled=not recurrent, benchmark=False, deterministic=True, allow_tf32=False)
            )
        yield
