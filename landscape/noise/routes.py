"""Three ways to the gradients of single units, samples or batches: what the moments are sums of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad, vmap

from .. import memory, passes
from ..data import Batch, Samples
from ..data.samples import cut, length, named
from ..errors import InputError, UsageError, one_line
from ..execution import BATCH_NORMS
from ..objective import Objective
from ..operators.outputs import sample_totals
from ..vectors import flatten
from .taps import Layers

ROUTES = ("norms", "vmap", "batches")
TRIED = 8  # samples on which a route is held against gradients of single samples
AGREEMENT = {torch.float32: 1e-3, torch.float64: 1e-8}  # relative to the largest
HELD = 2**28  # bytes of gradients that are held at once
BATCHES = 64  # units of the route by batches, at least, where there are as many samples


@dataclass(frozen=True)
class Terms:
    """Of B units: their weights (B,), squared norms by param tensor (B, L), products with directions (B, s, L)."""

    weights: Tensor
    squared: Tensor
    products: Tensor


class Route:
    """Gradients of units by their norms and products: `terms` over all units in order, `single` of one of them.

    A unit's gradient is that of its summed loss; directions are s vectors (s, n).
    """

    name: str
    unit_size: int = 1

    def __init__(self, objective: Objective, seed: int) -> None:  # noqa: ARG002 - of batches
        self.objective = objective

    def chunks(self) -> Iterator[Batch]:
        """The samples, as many at once as the objective takes."""
        yield from self.objective.samples.chunks(self.objective.chunk)

    def units(self, wanted: Sequence[int] | None = None) -> Iterator[Batch]:
        """The samples of each unit, or of the wanted ones, whose numbers rise."""
        start, left = 0, list(wanted or ())
        for batch in self.chunks():
            end = start + length(batch)
            here = [unit for unit in left if unit < end] if wanted is not None else range(start, end)
            left = left[len(here) :]
            yield from (cut(batch, slice(unit - start, unit - start + 1)) for unit in here)
            start = end

    def terms(self, directions: Tensor) -> Iterator[Terms]:
        """Chunk by chunk. Inside `objective.running()`."""
        for batch in self.chunks():
            yield self.of_chunk(batch, directions)

    def of_chunk(self, batch: Batch, directions: Tensor) -> Terms:
        raise NotImplementedError

    def split(self, directions: Tensor) -> list[Tensor]:
        """Directions (s, n) by param tensor: s rows each."""
        layout = self.objective.layout
        parts = directions.to(self.objective.dtype).split(layout.sizes, 1)
        return [part.reshape(-1, *shape) for part, shape in zip(parts, layout.shapes, strict=True)]


class ByNorms(Route):
    """From layers' inputs and the gradients by their outputs: one pass that makes no gradient by params."""

    name = "norms"

    def __init__(self, objective: Objective, seed: int) -> None:
        super().__init__(objective, seed)
        if isinstance(objective.samples.blocks[0], dict):
            raise InputError("a loss of (model, batch) hides which outputs are whose")
        self.layers = Layers(objective.model, objective.layout.names)

    def of_chunk(self, batch: Batch, directions: Tensor) -> Terms:
        objective, samples = self.objective, length(batch)
        weights: list[Tensor] = []
        squared = torch.zeros(samples, len(objective.layout.names), dtype=torch.float64, device=objective.device)
        products = torch.zeros(samples, len(directions), squared.shape[1], dtype=torch.float64, device=squared.device)

        def total() -> Tensor:
            sums, found = sample_totals(objective, objective.layout.split(objective.params), batch)
            weights.append(found.detach().double())
            return sums.sum()

        for position, (norms, along) in self.layers.terms(total, self.split(directions), samples):
            squared[:, position] = norms
            products[:, :, position] = along
        return Terms(weights[0], squared, products)


class ByVmap(Route):
    """All gradients of some samples at once, by vectorising the gradient of one."""

    name = "vmap"

    def of_chunk(self, batch: Batch, directions: Tensor) -> Terms:
        objective = self.objective
        together = max(1, HELD // (objective.layout.size * objective.params.element_size()))
        parts, along = objective.parts(), self.split(directions)
        found = [
            self._some(cut(batch, slice(i, i + together)), parts, along) for i in range(0, length(batch), together)
        ]
        return Terms(*(torch.cat([getattr(t, name) for t in found]) for name in ("weights", "squared", "products")))

    def _some(self, batch: Batch, parts: Sequence[Tensor], along: Sequence[Tensor]) -> Terms:
        def one(at: Sequence[Tensor], sample: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            alone = {key: tensor.unsqueeze(0) for key, tensor in sample.items()}
            single: Batch = alone if isinstance(batch, dict) else (alone["inputs"], alone["targets"])
            total, weight = self.objective.forward(at, single)[1]
            return total, weight.double()

        gradients, weights = vmap(grad(one, has_aux=True), (None, 0))(tuple(parts), named(batch))
        flat = [g.flatten(1) for g in gradients]
        squared = torch.stack([g.square().sum(1) for g in flat], 1)
        products = torch.stack([g @ d.flatten(1).T for g, d in zip(flat, along, strict=True)], 2)
        return Terms(weights, squared.double(), products.double())


class ByBatches(Route):
    """Gradients of whole batches, for anything: the estimator of two batch sizes (McCandlish et al. 2018, A.1)."""

    name = "batches"

    def __init__(self, objective: Objective, seed: int) -> None:
        super().__init__(objective, seed)
        self.unit_size = max(1, objective.num_samples // BATCHES)
        self.samples = objective.samples
        if self.samples.divisible:
            # neighbours in a file are no random batch: of sorted classes, or of classes in turn
            order = torch.randperm(len(self.samples), generator=torch.Generator().manual_seed(seed))
            self.samples = Samples((cut(self.samples.blocks[0], order),))

    def chunks(self) -> Iterator[Batch]:
        yield from self.samples.chunks(self.unit_size)

    def units(self, wanted: Sequence[int] | None = None) -> Iterator[Batch]:
        kept = None if wanted is None else set(wanted)
        return (batch for unit, batch in enumerate(self.chunks()) if kept is None or unit in kept)

    def of_chunk(self, batch: Batch, directions: Tensor) -> Terms:
        gradient, weight = single(self.objective, batch)
        parts = self.objective.layout.split(gradient)
        squared = torch.stack([part.square().sum() for part in parts])
        along = directions.double().split(self.objective.layout.sizes, 1)
        products = torch.stack([d @ part.flatten() for d, part in zip(along, parts, strict=True)], 1)
        return Terms(weight[None], squared[None], products[None])


def single(objective: Objective, batch: Batch) -> tuple[Tensor, Tensor]:
    """Gradient (n,) of a batch's summed loss, and its weight, in float64. Inside `objective.running()`.

    As many samples a pass as the objective takes: memory that runs out makes passes smaller, never units.
    """
    step = objective.chunk if objective.samples.divisible else length(batch)
    gradient = torch.zeros(objective.layout.size, dtype=torch.float64, device=objective.device)
    weights = gradient.new_zeros(())
    for start in range(0, length(batch), step):
        parts = [part.requires_grad_() for part in objective.parts()]
        _, (total, weight) = objective.forward(parts, cut(batch, slice(start, start + step)))
        found = passes.gradients(total, parts)
        gradient += flatten([torch.zeros_like(p) if g is None else g for g, p in zip(found, parts, strict=True)])
        weights += weight.detach()
    return gradient, weights


BY_NAME: dict[str, Callable[[Objective, int], Route]] = {"norms": ByNorms, "vmap": ByVmap, "batches": ByBatches}


def route_of(objective: Objective, name: str, seed: int) -> tuple[Route, str]:
    """The route of a name, or for `auto` the first that runs and agrees with gradients of single samples; and why.

    Raises UsageError for an unknown name, InputError where a sample has no gradient of its own, as with batch
    statistics, and for a route by name that does not run or does not agree.
    """
    if name != "auto" and name not in ROUTES:
        raise UsageError(f"a route is auto, {', '.join(ROUTES)}, got {name!r}")
    if objective.bn == "batch":
        raise InputError("with --bn batch samples share statistics and have no gradients of their own; use --bn eval")
    unknown = [m for m in objective.model.modules() if isinstance(m, BATCH_NORMS) and m.running_mean is None]
    if unknown:
        raise InputError(
            f"a {type(unknown[0]).__name__} without stored statistics lets samples share those of their batch, so that "
            "they have no gradients of their own; make it with track_running_stats=True"
        )
    alone = _alone(objective, seed)
    reasons = []
    for candidate in ROUTES if name == "auto" else (name,):
        try:
            route = BY_NAME[candidate](objective, seed)
            if candidate != "batches":
                _compare(route, alone, _direction(objective, seed))
        except (InputError, RuntimeError, NotImplementedError) as error:
            if memory.out_of_memory(error):
                raise
            if name != "auto":
                raise InputError(f"--route {name} does not do here: {one_line(error)[:200]}; leave it out") from error
            reasons.append(f"{candidate}: {one_line(error)[:160]}")
        else:
            return route, "; ".join(reasons)
    raise InputError("no route to the noise of the gradient: " + "; ".join(reasons))


def _alone(objective: Objective, seed: int) -> Terms:
    """The terms of a few samples' gradients, which are taken one by one and not kept.

    InputError where the gradients do not add up to that of these samples together.
    """
    batch, direction = _few(objective), _direction(objective, seed)
    along = direction[0].split(objective.layout.sizes)
    rows: list[Tensor] = []
    weights: list[Tensor] = []
    with objective.running():
        rest, weight = single(objective, batch)
        for i in range(length(batch)):
            gradient, own = single(objective, cut(batch, slice(i, i + 1)))
            rest -= gradient
            weights.append(own)
            parts = list(zip(gradient.split(objective.layout.sizes), along, strict=True))
            rows.append(torch.stack([torch.stack([g @ g, g @ d]) for g, d in parts], 1))
    found = Terms(torch.stack(weights), *(torch.stack([row[i] for row in rows]) for i in (0, 1)))
    error = float(rest.norm() + (found.weights.sum() - weight).abs())
    size = float(found.squared.sum(1).sqrt().sum() + found.weights.abs().sum())
    if error > AGREEMENT[objective.dtype] * max(size, 1e-300):
        raise InputError(
            "samples have no gradients of their own: those of a few do not add up to that of them together; does the "
            "network let samples share statistics, or the loss weigh them? A loss may return (sum, weight)"
        )
    return found


def _few(objective: Objective) -> Batch:
    # at least two together, since one alone shares nothing; no more than memory is known to hold
    count = min(TRIED, max(2, objective.chunk))
    return cut(next(objective.samples.head(count).chunks(count)), slice(0, count))


def _direction(objective: Objective, seed: int) -> Tensor:
    """A random direction (1, n)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, objective.layout.size, generator=generator, dtype=torch.float64).to(objective.device)


def _compare(route: Route, alone: Terms, direction: Tensor) -> None:
    """InputError where norms or products of a few samples differ from those of their gradients, taken one by one."""
    objective = route.objective
    with objective.running():
        found = route.of_chunk(_few(objective), direction)
    scale = float(alone.squared.sum().sqrt())
    pairs = [
        ("norms", found.squared.sqrt(), alone.squared.sqrt(), scale),
        ("products", found.products[:, 0], alone.products, scale * float(direction.norm())),
        ("weights", found.weights, alone.weights, float(alone.weights.abs().sum())),
    ]
    for what, got, expected, size in pairs:
        if float((got - expected).abs().max()) > AGREEMENT[objective.dtype] * max(size, 1e-300):
            raise InputError(f"its {what} of samples differ from those of gradients taken one by one")
