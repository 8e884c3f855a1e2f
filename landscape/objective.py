"""The objective: mean loss of a model over N fixed samples, at a point, with its derivatives."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from . import code, execution, memory, passes
from .chunking import Chunking, default_chunk
from .data import Batch, Samples, samples_of
from .data.registry import Splits, load_data, splits_of
from .data.samples import length, named
from .errors import InputError, LandscapeError, ResourceError, UsageError, one_line
from .losses import Loss, Totals, in_range, resolve_loss
from .models import resolve_model
from .passes import Evaluation
from .vectors import Layout, digest_of, flatten, layout_of

DEFAULT_BN_BATCH = 256


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
        chunk: samples per pass, by default so many that activations stay small. A short last chunk changes nothing.
            Where memory runs out it is halved, and the pass is made again.
        params: a glob pattern; the objective is then a function of the params it matches, the rest stays fixed.
        bn: `eval` (stored statistics) or `batch` (statistics of consecutive batches of `bn_batch` samples, which
            are then part of the objective, and a chunk is such a batch).

    Raises InputError where these do not fit, UsageError for unknown names; methods ResourceError where memory ends.
    """

    def __init__(
        self,
        model: nn.Module | Callable[[], nn.Module] | str,
        loss: str | Callable[..., Any] | Loss,
        data: Any,
        *,
        l2: float = 0.0,
        samples: int | None = None,
        params: str | None = None,
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
        self.model = resolve_model(model, splits or splits_of(chosen), seed)
        self.loss = resolve_loss(loss)
        self.layout: Layout = layout_of(self.model)
        self.device = execution.resolve_device(device)
        self.dtype = execution.resolve_dtype(dtype)
        self.l2 = float(l2)
        self.bn = bn if execution.has_batch_norm(self.model) else "eval"
        self.bn_batch = (bn_batch or DEFAULT_BN_BATCH) if self.bn == "batch" else None
        self.samples: Samples = chosen.first(samples).to(self.device, self.dtype)
        self.num_samples = len(self.samples)
        # buffers and frozen params, each tied tensor once
        kept = {n for n, _ in (*self.model.named_buffers(), *self.model.named_parameters())} - set(self.layout.names)
        self.params: Tensor = self._cast(self.layout.join(dict(self.model.named_parameters())))
        self.constants = {k: self._cast(v) for k, v in self.model.state_dict(keep_vars=True).items() if k in kept}
        self.penalised: tuple[str, ...] = ()  # constants that the l2 penalty counts
        if params is not None:
            self.__dict__.update(self.restricted(params).__dict__)
        self.chunking = self._chunks_of(min(self._default_chunk(chunk), self.num_samples))

    @property
    def chunk(self) -> int:
        """Samples a pass."""
        return self.chunking.size

    def shrink(self) -> None:
        """Halves the chunk; ResourceError where it is the smallest, or where that would change the objective."""
        self.chunking.halve()

    def _chunks_of(self, size: int) -> Chunking:
        if self.bn_batch:
            return Chunking(self.bn_batch, fixed="their statistics are part of the objective: lower --bn-batch")
        return Chunking(size, fixed=None if self.samples.divisible else "give the data in smaller batches")

    def at(self, point: Tensor | Mapping[str, Tensor] | Any) -> Objective:
        """The same objective at another point: a vector (n,), tensors by name, or a Checkpoint.

        Tensors by name also bring their buffers; InputError where a name or a shape does not fit.
        """
        moved = self._copy()
        if isinstance(point, Tensor):
            if point.shape != self.params.shape:
                raise InputError(f"a point has {self.layout.size} params, got a tensor of shape {tuple(point.shape)}")
            moved.params = self._cast(point)
            return moved
        tensors: Mapping[str, Tensor] = getattr(point, "tensors", point)
        moved.params = self._cast(self.layout.join(tensors))
        moved.constants = {name: self._cast(tensors.get(name, old)) for name, old in self.constants.items()}
        return moved

    def restricted(self, pattern: str) -> Objective:
        """The same value as a function of the params alone whose names a glob pattern matches, e.g. `layers.0.*`.

        InputError where it matches none.
        """
        block = self._copy()
        block.layout = self.layout.matching(pattern)
        named = self.layout.named(self.params)
        rest = {name: tensor.clone() for name, tensor in named.items() if name not in block.layout.names}
        block.params = flatten([named[name] for name in block.layout.names])
        block.constants = {**self.constants, **rest}
        block.penalised = (*self.penalised, *rest)
        return block

    def with_constants(self, constants: Mapping[str, Tensor]) -> Objective:
        """The same point with other buffers (batch-norm statistics)."""
        moved = self._copy()
        moved.constants = dict(constants)
        return moved

    def with_samples(self, samples: Samples, loss: Loss) -> Objective:
        """The same model and point with another loss over other samples, already on the device; in the same chunks."""
        moved = self._copy()
        moved.samples, moved.num_samples, moved.loss = samples, len(samples), loss
        return moved

    def subset(self, count: int, *, dtype: torch.dtype | None = None, chunk: int | None = None) -> Objective:
        """The objective over the first `count` samples only, for checks; in another type or chunk if asked."""
        part = self._copy()
        part.dtype = dtype or self.dtype
        part.samples = self.samples.head(count).to(self.device, part.dtype)
        part.num_samples = len(part.samples)
        part.chunking = part._chunks_of(chunk or min(self.chunk, part.num_samples))
        part.params = part._cast(self.params)
        part.constants = {name: part._cast(tensor) for name, tensor in self.constants.items()}
        return part

    def _copy(self) -> Objective:
        moved = copy.copy(self)
        moved.__dict__.pop("identity", None)
        return moved

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
            "block": list(self.layout.names) if self.penalised else None,
            "loss": self.loss.name,
            "loss_code": code.of_function(self.loss.function),
            "l2": self.l2,
            "bn": self.bn,
            "bn_batch": self.bn_batch,
            "dtype": str(self.dtype).removeprefix("torch."),
            "chunk": self.chunking.asked,
            "device": self.device.type,
        }

    def value(self) -> float:
        """L at this point. One forward pass."""
        return self.evaluate().loss

    def evaluate(self) -> Evaluation:
        """L, its standard error over samples (or groups of them), accuracy. One forward pass."""
        return self.measured().evaluation()

    @memory.recovering
    def measured(self) -> passes.Measured:
        """Value and accuracy on the device, with each sample's part in them. One forward pass."""
        tally, parts, chunks = passes.Tally(self.loss), self.layout.split(self.params), self.samples.chunks(self.chunk)
        with self.running(), torch.no_grad():
            if self.loss.per_sample is not None and isinstance(self.samples.blocks[0], tuple):
                passes.AllChunks(self.model, tally).run(self._state(parts), chunks)
            else:
                for batch in chunks:
                    tally.add(batch, *self.forward(parts, batch))
            return tally.measured(self.penalty())

    @memory.recovering
    def value_and_gradient(self) -> tuple[float, Tensor]:
        """L and its gradient (n,) in float64. One forward and one backward pass."""
        parts = [part.requires_grad_() for part in self.parts()]
        gradient = torch.zeros(self.layout.size, dtype=torch.float64, device=self.device)
        totals = []
        with self.running():
            for batch in self.samples.chunks(self.chunk):
                _, (total, weight) = self.forward(parts, batch)
                pairs = zip(passes.gradients(total, parts), parts, strict=True)
                gradient += flatten([torch.zeros_like(p) if g is None else g for g, p in pairs])
                totals.append(torch.stack([total.detach().double(), weight.double()]))
            total_sum, total_weight = torch.stack(totals).sum(0)
            gradient = gradient / total_weight + self.l2 * self.params.double()
            return float(total_sum / total_weight + self.penalty()), gradient

    @memory.recovering
    def hvp(self, vector: Tensor) -> Tensor:
        """Hessian-vector product H v (n,) by double backward, the form that is right for every layer.

        d/dw <dL/dw, v> (Pearlmutter 1994), chunk by chunk, summed in float64. Keeps nothing: the reference that the
        faster products of the operators are held against. Costs about three gradient passes.
        """
        parts = [part.requires_grad_() for part in self.parts()]
        along = self.layout.split(vector.to(self.device, self.dtype))
        product = torch.zeros(self.layout.size, dtype=torch.float64, device=self.device)
        total_weight = torch.zeros((), dtype=torch.float64, device=self.device)
        with self.running():
            for batch in self.samples.chunks(self.chunk):
                _, (total, weight) = self.forward(parts, batch)
                first = passes.gradients(total, parts, graph=True)
                product += flatten(passes.second_product(first, parts, along)).double()
                total_weight += weight
        return (product / total_weight).to(self.dtype) + self.l2 * flatten(along)

    def penalty(self) -> Tensor:
        """l2/2 |w|^2, of params outside the block too."""
        counted = (self.params, *(self.constants[name] for name in self.penalised)) if self.l2 else ()
        zero = torch.zeros((), dtype=torch.float64, device=self.device)
        return self.l2 / 2 * sum((tensor.double().square().sum() for tensor in counted), zero)

    def parts(self) -> list[Tensor]:
        """Copies of the params as tensors of their shapes."""
        return [part.clone() for part in self.layout.split(self.params)]

    def outputs(self, parts: Sequence[Tensor], batch: Batch) -> Any:
        """The model's outputs on a chunk of (inputs, targets) with these params. Inside `running()`."""
        with in_range("the network", "inputs"):
            return functional_call(self.model, self._state(parts), (batch[0],))  # pyright: ignore[reportArgumentType]

    def forward(self, parts: Sequence[Tensor], batch: Batch) -> tuple[Any, Totals]:
        """Outputs (None where the loss takes the batch) and the chunk's sum and weight. Inside `running()`."""
        if isinstance(batch, dict):
            if self.loss.function is None:
                raise InputError(f"{self.loss.name} needs (inputs, targets); for dict batches give loss(model, batch)")
            inner = {f"model.{name}": tensor for name, tensor in self._state(parts).items()}
            call = passes.LossOfBatch(self.model, self.loss, length(batch))
            return None, functional_call(call, inner, (batch,))
        outputs = self.outputs(parts, batch)
        return outputs, self.loss.totals(outputs, batch[1], length(batch))

    def _state(self, parts: Sequence[Tensor]) -> dict[str, Tensor]:
        return {**dict(zip(self.layout.names, parts, strict=True)), **self.constants}

    @contextmanager
    def running(self) -> Iterator[None]:
        """The model in the modes, and torch with the kernels, that values and derivatives are taken with."""
        with execution.measuring(self.model, batch_statistics=self.bn == "batch"):
            yield

    def _default_chunk(self, asked: int | None) -> int:
        """Runs few samples through model and loss: tells a misfit at once, and how large their activations are."""
        if self.bn_batch and self.num_samples % self.bn_batch == 1:
            one = f"the last of the batches of {self.bn_batch} would hold one sample, which has no batch statistics"
            raise InputError(f"{one}; choose another --bn-batch or --samples for these {self.num_samples} samples")
        count = self.bn_batch or 2
        batch = next(self.samples.head(count).chunks(count))
        parts = [part.requires_grad_() for part in self.parts()]
        try:
            with self.running():
                chunk = default_chunk(lambda: self.forward(parts, batch), length(batch), self.device)
        except LandscapeError:
            raise
        except Exception as error:
            if memory.out_of_memory(error):
                raise ResourceError(f"out of memory with {length(batch)} samples; use a smaller network") from error
            shapes = {name: tuple(t.shape[1:]) for name, t in named(self.samples.blocks[0]).items()}
            raise InputError(
                f"model, loss {self.loss.name} and data (samples of {shapes}) do not fit: {one_line(error)}"
            ) from error
        if isinstance(batch, dict):
            # A loss of (model, batch) shows its spread over chunks alone: so there must be enough of them.
            chunk = min(chunk, math.ceil(self.num_samples / passes.ERROR_GROUPS))
        return asked or chunk
