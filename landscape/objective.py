"""The objective: mean loss of a model over N fixed samples, at a point, with its derivatives."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from . import code, execution, passes
from .data import Batch, Samples, samples_of
from .data.registry import Splits, load_data, splits_of
from .data.samples import length, named
from .errors import InputError, LandscapeError, UsageError, one_line
from .losses import Loss, Totals, resolve_loss
from .models import build_model
from .vectors import Layout, digest_of, flatten, layout_of

DEFAULT_CHUNK = 1024
DEFAULT_BN_BATCH = 256


@dataclass(frozen=True)
class Evaluation:
    """Value of the objective at a point, its standard error over samples, and the accuracy (nan without classes)."""

    loss: float
    loss_stderr: float
    accuracy: float


class Objective:
    """L(w) = S(w) / W + l2/2 |w|^2 over N fixed samples: the loss's sum over the sum of its weights.

    Args:
        model: an nn.Module (never changed: modes, gradients and buffers stay as they are), a callable that makes
            one, or a name or SPEC.
        loss: `cross_entropy`, `mse`, a SPEC, or a callable `loss(outputs, targets)` returning the mean or
            `(sum, weight)`; `loss(model, batch)` where batches are dicts.
        data: `(inputs, targets)` tensors, a map-style Dataset, batches, Samples, or a name or SPEC (its train split).
        l2: coefficient of the penalty, per param^2.
        samples: use the first so many of a fixed permutation; all by default.
        chunk: samples per pass. A short last chunk changes nothing.
        bn: `eval` (stored statistics) or `batch` (statistics of consecutive batches of `bn_batch` samples, which
            are then part of the objective, and a chunk is such a batch).

    Raises InputError where model, loss and data do not fit, UsageError for unknown names.
    """

    def __init__(
        self,
        model: nn.Module | Callable[[], nn.Module] | str,
        loss: str | Callable[..., Any] | Loss,
        data: Any,
        *,
        l2: float = 0.0,
        samples: int | None = None,
        chunk: int | None = None,
        bn: str = "eval",
        bn_batch: int | None = None,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype = torch.float32,
        seed: int = 0,
    ) -> None:
        if bn not in ("eval", "batch"):
            raise UsageError(f"bn must be eval or batch, got {bn!r}")
        if chunk is not None and chunk < 1:
            raise UsageError(f"chunk must be at least 1, got {chunk}")
        splits = load_data(data) if isinstance(data, str) else data if isinstance(data, Splits) else None
        chosen = samples_of(data) if splits is None else splits.train
        self.model = _module(model, splits or splits_of(chosen), seed)
        self.loss = resolve_loss(loss)
        self.layout: Layout = layout_of(self.model)
        self.device = execution.resolve_device(device)
        self.dtype = execution.resolve_dtype(dtype)
        self.l2 = float(l2)
        self.bn = bn if execution.has_batch_norm(self.model) else "eval"
        self.bn_batch = (bn_batch or DEFAULT_BN_BATCH) if self.bn == "batch" else None
        self.samples: Samples = chosen.first(samples).to(self.device, self.dtype)
        self.num_samples = len(self.samples)
        default = DEFAULT_CHUNK
        if isinstance(self.samples.blocks[0], dict):
            # A loss of (model, batch) shows its spread over chunks alone: so there must be enough of them.
            default = min(default, math.ceil(self.num_samples / passes.ERROR_GROUPS))
        self.chunk = self.bn_batch or min(chunk or default, self.num_samples)
        state = dict(self.model.state_dict(keep_vars=True))
        self.params: Tensor = self._cast(self.layout.join(dict(self.model.named_parameters())))
        self.constants = {k: self._cast(v) for k, v in state.items() if k in _constants(self.model, self.layout)}
        self._refuse_misfits()

    # -- points ------------------------------------------------------------------------------------------------

    def at(self, point: Tensor | Mapping[str, Tensor] | Any) -> Objective:
        """The same objective at another point: a vector (n,), tensors by name, or a Checkpoint.

        Tensors by name also bring their buffers; InputError where a name or a shape does not fit.
        """
        moved = copy.copy(self)
        moved.__dict__.pop("identity", None)
        if isinstance(point, Tensor):
            if point.shape != self.params.shape:
                raise InputError(f"a point has {self.layout.size} params, got a tensor of shape {tuple(point.shape)}")
            moved.params = self._cast(point)
            return moved
        tensors: Mapping[str, Tensor] = getattr(point, "tensors", point)
        moved.params = self._cast(self.layout.join(tensors))
        moved.constants = {name: self._cast(tensors.get(name, old)) for name, old in self.constants.items()}
        return moved

    def with_constants(self, constants: Mapping[str, Tensor]) -> Objective:
        """The same point with other buffers (batch-norm statistics)."""
        moved = copy.copy(self)
        moved.__dict__.pop("identity", None)
        moved.constants = dict(constants)
        return moved

    def subset(self, count: int, *, dtype: torch.dtype | None = None, chunk: int | None = None) -> Objective:
        """The objective over the first `count` samples only, for checks; in another type or chunk if asked."""
        part = copy.copy(self)
        part.__dict__.pop("identity", None)
        part.dtype = dtype or self.dtype
        part.samples = self.samples.head(count).to(self.device, part.dtype)
        part.num_samples = len(part.samples)
        part.chunk = self.bn_batch or chunk or min(self.chunk, part.num_samples)
        part.params = part._cast(self.params)
        part.constants = {name: part._cast(tensor) for name, tensor in self.constants.items()}
        return part

    def _cast(self, tensor: Tensor) -> Tensor:
        # A copy: what the user does to the tensor later must not move this point.
        return tensor.detach().to(self.device, self.dtype if tensor.is_floating_point() else None, copy=True)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that fixes the objective's value here, for digests: contents by sha256, never file names."""
        return {
            "model": code.of_model(self.model),
            "params": digest_of({"": self.params, **self.constants}),
            "data": self.samples.digest(),
            "num_samples": self.num_samples,
            "loss": self.loss.name,
            "loss_code": code.of_function(self.loss.function),
            "l2": self.l2,
            "bn": self.bn,
            "bn_batch": self.bn_batch,
            "dtype": str(self.dtype).removeprefix("torch."),
            "chunk": self.chunk,
            "device": self.device.type,
        }

    # -- value and derivatives ---------------------------------------------------------------------------------

    def value(self) -> float:
        """L at this point. One forward pass."""
        return self.evaluate().loss

    def evaluate(self) -> Evaluation:
        """Value, its standard error over samples, and accuracy. One forward pass, one host synchronisation.

        The error is that of a ratio of sums, sqrt(N/(N-1) sum_i (s_i - L w_i)^2) / W (Cochran 1977, section 6.4):
        over samples for built-in losses; over groups of samples for a user's callable.
        """
        sums, weights, totals, correct = [], [], [], []
        with self._running(), torch.no_grad():
            for batch in self.samples.chunks(self.chunk):
                outputs, total = self._forward(self._parts(), batch)
                group_sums, group_weights = passes.group_totals(self.loss, outputs, batch, total)
                sums.append(group_sums.double())
                weights.append(group_weights.double())
                totals.append(torch.stack([part.double() for part in total]))
                correct.append(passes.correct(outputs, batch))
            total_sum, total_weight = torch.stack(totals).sum(0)
            loss = total_sum / total_weight
            group_sum, group_weight = torch.cat(sums), torch.cat(weights)
            spread = (group_sum - group_sum.sum() / group_weight.sum() * group_weight).square().sum().sqrt()
            groups = len(group_sum)
            factor = math.sqrt(groups / (groups - 1)) if groups > 1 else math.nan
            error = spread * factor / group_weight.sum()
            penalty = self.l2 / 2 * self.params.double().square().sum()
            numbers = torch.stack([loss + penalty, error, torch.stack(correct).sum() / self.num_samples]).tolist()
        return Evaluation(*numbers)

    def value_and_gradient(self) -> tuple[float, Tensor]:
        """L and its gradient (n,) in float64. One forward and one backward pass."""
        parts = [part.requires_grad_() for part in self._parts()]
        gradient = torch.zeros(self.layout.size, dtype=torch.float64, device=self.device)
        totals = []
        with self._running():
            for batch in self.samples.chunks(self.chunk):
                _, (total, weight) = self._forward(parts, batch)
                gradient += flatten(torch.autograd.grad(total, parts, materialize_grads=True)).double()
                totals.append(torch.stack([total.detach().double(), weight.double()]))
            total_sum, total_weight = torch.stack(totals).sum(0)
            params = self.params.double()
            value = total_sum / total_weight + self.l2 / 2 * params.square().sum()
            return float(value), gradient / total_weight + self.l2 * params

    def hvp(self, vector: Tensor) -> Tensor:
        """Hessian-vector product H v (n,) by double backward, the form that is right for every layer.

        d/dw <dL/dw, v> (Pearlmutter 1994), chunk by chunk, summed in float64. Costs about four gradient passes.
        """
        parts = [part.requires_grad_() for part in self._parts()]
        along = self.layout.split(vector.to(self.device, self.dtype))
        product = torch.zeros(self.layout.size, dtype=torch.float64, device=self.device)
        total_weight = torch.zeros((), dtype=torch.float64, device=self.device)
        with self._running():
            for batch in self.samples.chunks(self.chunk):
                _, (total, weight) = self._forward(parts, batch)
                product += flatten(passes.second_product(total, parts, along)).double()
                total_weight += weight
        return (product / total_weight).to(self.dtype) + self.l2 * flatten(along)

    # -- one chunk ---------------------------------------------------------------------------------------------

    def _parts(self) -> list[Tensor]:
        return [part.clone() for part in self.layout.split(self.params)]

    def _forward(self, parts: list[Tensor], batch: Batch) -> tuple[Any, Totals]:
        """Outputs (None where the loss takes the batch) and the chunk's sum and weight."""
        # Batch norm in train mode writes to its buffers: it is given copies.
        constants = {k: v.clone() for k, v in self.constants.items()} if self.bn == "batch" else self.constants
        state = {**dict(zip(self.layout.names, parts, strict=True)), **constants}
        if isinstance(batch, dict):
            if self.loss.function is None:
                raise InputError(f"{self.loss.name} needs (inputs, targets); for dict batches give loss(model, batch)")
            inner = {f"model.{name}": tensor for name, tensor in state.items()}
            call = passes.LossOfBatch(self.model, self.loss, length(batch))
            return None, functional_call(call, inner, (batch,))
        outputs = functional_call(self.model, state, (batch[0],))
        return outputs, self.loss.totals(outputs, batch[1], length(batch))

    @contextmanager
    def _running(self) -> Iterator[None]:
        batch_statistics = self.bn == "batch"
        try:
            with execution.memory_guard(self.chunk), execution.measuring(self.model, batch_statistics=batch_statistics):
                yield
        except IndexError as error:  # a class or a token out of range, beyond the samples of the first check
            raise InputError(
                f"loss {self.loss.name} and data do not fit: {one_line(error)}; check the targets"
            ) from error

    def _refuse_misfits(self) -> None:
        """Runs two samples through model and loss, so that a misfit is told once, here, and in one line."""
        if self.bn_batch and self.num_samples % self.bn_batch == 1:
            raise InputError(
                f"the last of the batches of {self.bn_batch} would hold one sample, which has no batch statistics; "
                f"choose another --bn-batch or --samples for these {self.num_samples} samples"
            )
        try:
            self.subset(self.bn_batch or 2).evaluate()
        except LandscapeError:
            raise
        except Exception as error:
            shapes = {name: tuple(t.shape[1:]) for name, t in named(self.samples.blocks[0]).items()}
            raise InputError(
                f"model, loss {self.loss.name} and data (samples of {shapes}) do not fit: {one_line(error)}"
            ) from error


def _module(model: nn.Module | Callable[[], nn.Module] | str, splits: Splits, seed: int) -> nn.Module:
    if isinstance(model, str):
        return build_model(model, {}, splits, seed)
    if isinstance(model, nn.Module):
        return model
    made = model()
    if not isinstance(made, nn.Module):
        raise InputError(f"model must be or make a torch.nn.Module, got {type(made).__name__}")
    return made


def _constants(model: nn.Module, layout: Layout) -> set[str]:
    """Names of the state that is no param of the layout: buffers and frozen params (each tied tensor once)."""
    named_state = [name for name, _ in model.named_buffers()] + [name for name, _ in model.named_parameters()]
    return set(named_state) - set(layout.names)
