"""The peer libraries' full-data Hessian-vector products, each as a function of a vector (n,).

Each peer is imported only when its product is made, so that this file loads where none is installed. All run with
attention on the math kernel: on torch's default kernel each of them fails, since it has no second derivative.
"""

from __future__ import annotations

import copy
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

Product = Callable[[Tensor], Tensor]
Batches = list[tuple[Tensor, Tensor]]


@contextmanager
def math_attention() -> Iterator[None]:
    """Attention on the kernel that has a second derivative; the peers' own warnings unsaid."""
    with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using backward")
        yield


def batches_of(inputs: Tensor, targets: Tensor, size: int) -> Batches:
    """The data cut into batches."""
    return list(zip(inputs.split(size), targets.split(size), strict=True))


def curvlinops_operator(model: nn.Module, batches: Batches) -> Any:
    """Their HessianLinearOperator, without its check for determinism, which would cost time."""
    from curvlinops import HessianLinearOperator

    params = list(model.parameters())
    return HessianLinearOperator(model, nn.CrossEntropyLoss(), params, batches, check_deterministic=False)


def eigenthings_operator(model: nn.Module, batches: Batches) -> Any:
    """Their HessianOperator. It weighs batches alike whatever their size: so these must be of one size."""
    from hessian_eigenthings.loss_fns.standard import supervised_loss
    from hessian_eigenthings.operators.hessian import HessianOperator

    return HessianOperator(model, batches, supervised_loss(nn.CrossEntropyLoss()))


def pyhessian_computer(model: nn.Module, batches: Batches) -> Any:
    """Their `hessian` over a list of batches in the place of a data loader."""
    from pyhessian import hessian

    return hessian(model, nn.CrossEntropyLoss(), dataloader=batches, cuda=batches[0][0].is_cuda)


def _curvlinops(model: nn.Module, batches: Batches) -> Product:
    operator = curvlinops_operator(model, batches)
    return lambda vector: operator @ vector


def _eigenthings(model: nn.Module, batches: Batches) -> Product:
    return eigenthings_operator(model, batches).matvec


def _pyhessian(model: nn.Module, batches: Batches) -> Product:
    computer = pyhessian_computer(model, batches)
    return lambda vector: joined(computer.dataloader_hv_product(split(vector, model))[1])


def split(vector: Tensor, model: nn.Module) -> list[Tensor]:
    """A vector (n,) as tensors of the params' shapes."""
    params = list(model.parameters())
    return [part.view(p.shape) for part, p in zip(vector.split([p.numel() for p in params]), params, strict=True)]


def joined(tensors: list[Tensor]) -> Tensor:
    """One vector of all entries."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


# Name: the module to import, and what makes its product.
PEERS = {
    "curvlinops": ("curvlinops", _curvlinops),
    "hessian-eigenthings": ("hessian_eigenthings", _eigenthings),
    "PyHessian": ("pyhessian", _pyhessian),
}


def present() -> list[str]:
    """The peers that are installed."""
    return [name for name, (module, _) in PEERS.items() if importlib.util.find_spec(module)]


def product(name: str, model: nn.Module, data: tuple[Tensor, Tensor], chunk: int) -> Product:
    """A peer's full-data product on a copy of the model, with batches of `chunk` samples."""
    made = PEERS[name][1](copy.deepcopy(model), batches_of(*data, chunk))

    def run(vector: Tensor) -> Tensor:
        with math_attention():
            return made(vector)

    return run
