"""Memory: what is free, what a computation keeps, and how it goes on where there is too little."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import psutil
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

SHARE = 0.5  # of the free memory, that kept graphs may fill by default


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a device, what torch has reserved and not handed out included."""
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserved
    return psutil.virtual_memory().available


def storage_bytes(tensors: list[Tensor], without: list[Tensor] | None = None) -> int:
    """Bytes behind tensors, each storage once, those of `without` left out."""
    own = {reference.cdata for reference, _ in _storages(without)}
    sizes = {reference.cdata: size for reference, size in _storages(tensors)}
    return sum(size for key, size in sizes.items() if key not in own)


def _storages(values: Any) -> list[tuple[StorageWeakRef, int]]:
    # torch holds some derivatives that are zero as tensors without storage
    leaves = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and not leaf._is_zerotensor()]
    storages = [leaf.untyped_storage() for leaf in leaves]
    return [(StorageWeakRef(storage), storage.nbytes()) for storage in storages]


class Ledger(TorchDispatchMode):
    """Notes every storage that operations make while it is on; tells how much of them still lives."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ARG002
        result = func(*args, **(kwargs or {}))
        given = {reference.cdata for reference, _ in _storages((args, kwargs))}  # views of these are nothing new
        for reference, size in _storages(result):
            if reference.cdata not in given:
                self.storages[reference.cdata] = (reference, size)
                self.largest = max(self.largest, size)
        return result

    def living(self) -> int:
        """Bytes of the storages made under it that are still in use."""
        return sum(size for reference, size in self.storages.values() if not reference.expired())


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is that of torch's allocators, CPU or CUDA, or of Python's."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def release() -> None:
    """Gives back what is no longer referred to."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


class Shrinkable(Protocol):
    """What can work in smaller pieces."""

    def shrink(self) -> None:
        """Makes the pieces smaller; ResourceError where they are the smallest."""
        ...


S = TypeVar("S", bound=Shrinkable)
P = ParamSpec("P")
R = TypeVar("R")


def recovering(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """A method that, where memory runs out, runs again after `shrink()`."""

    @functools.wraps(method)
    def run(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        while True:
            try:
                return method(self, *args, **kwargs)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
            # Outside the except block: there the traceback's frames would hold the tensors.
            release()
            self.shrink()

    return run
