"""The Fisher information matrix, exact and by Monte Carlo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..data import Batch, Samples
from ..errors import UsageError
from ..losses import IGNORED, Loss, Totals
from ..objective import Objective
from ..products import Engine, GramForm
from .likelihood import Likelihood, likelihood_of
from .outputs import refuse_dict_batches, slope
from .sampled import SampledOperator
from .selfcheck import check_gram


class Fisher(SampledOperator):
    """F = 1/W sum_i E_{t ~ p(t | x_i)} [g g'], g the gradient of -log p(t | x_i): targets drawn from the model.

    Exact: the expectation over classes (or over a Gaussian) is taken in closed form, and F is the Gauss-Newton matrix
    of the negative log-likelihood (Martens 2020, section 9.2). With `monte_carlo=M`, M targets a sample are drawn once,
    so that the matrix is fixed: its expectation is F (Kunstner et al. 2019, section 2). The given targets have no part
    in it but for those that are ignored; nor has the l2 penalty.

    Args:
        monte_carlo: targets to draw a sample; None for the exact matrix.
        likelihood: `categorical`, `gaussian` or `bernoulli`; by default that of cross_entropy or mse.
        seed: of the draws.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        monte_carlo: int | None = None,
        likelihood: str | None = None,
        seed: int = 0,
        hvp: str = "auto",
        memory: int | None = None,
    ) -> None:
        if monte_carlo is not None and monte_carlo < 1:
            raise UsageError(f"monte_carlo must be at least 1, got {monte_carlo}")
        refuse_dict_batches(objective, "the Fisher matrix")
        self.monte_carlo, self.seed = monte_carlo, seed
        self.likelihood = likelihood_of(objective.loss, likelihood)
        self.name = "fisher" if monte_carlo is None else "fisher-mc"
        self.sampled = objective
        if monte_carlo is not None:
            self.sampled = objective.with_samples(
                _drawn(objective, self.likelihood, monte_carlo, seed), _loss_of_draws(self.likelihood)
            )
        form = self._form(self.sampled)
        super().__init__(objective, form, hvp=hvp, memory=memory, over=self.sampled)

    def _form(self, sampled: Objective) -> GramForm:
        def outputs_and_count(parts: Sequence[Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
            outputs = sampled.outputs(parts, batch)
            targets = batch[1][:, 0] if self.monte_carlo else batch[1]  # pyright: ignore[reportArgumentType]
            return outputs, self.likelihood.count(outputs, targets).to(outputs.device)

        return GramForm(outputs_and_count, self._of_draws if self.monte_carlo else self._expected)

    def _expected(self, outputs: Tensor, tangent: Tensor, batch: Batch) -> Tensor:
        moved = self.likelihood.information(outputs, tangent)
        targets = batch[1]  # pyright: ignore[reportArgumentType]
        if targets.is_floating_point():
            return moved
        return moved * (targets != IGNORED).unsqueeze(1) if self.likelihood.name == "categorical" else moved

    def _of_draws(self, outputs: Tensor, tangent: Tensor, batch: Batch) -> Tensor:
        drawn = batch[1]  # pyright: ignore[reportArgumentType]
        scores = self.likelihood.score(outputs, drawn)
        along = (scores * tangent.unsqueeze(1)).flatten(2).sum(2)
        return (scores * along.view(*along.shape, *[1] * (outputs.dim() - 1))).mean(1)

    def identity(self) -> Mapping[str, Any]:
        draws = {"monte_carlo": self.monte_carlo, "draw_seed": self.seed} if self.monte_carlo else {}
        return {**super().identity(), "likelihood": self.likelihood.name, **draws}

    def self_check(self, seed: int) -> Mapping[str, Any]:
        def engine(part: Objective) -> Engine:
            return Engine(part, self._form(part), hvp="double", budget=0)

        self.engine.build()
        return check_gram(self.sampled, engine, self._square, seed)

    def _square(self, objective: Objective, batch: Batch, v: list[Tensor], step: float) -> Tensor:
        """W v'Fv of a chunk by central differences of the outputs along v, and of the scores along those."""
        tangent, outputs = slope(objective, batch, v, step)
        return (self._of_draws if self.monte_carlo else self._expected)(outputs, tangent, batch).mul(tangent).sum()


def _loss_of_draws(likelihood: Likelihood) -> Loss:
    """-log p, averaged over a sample's drawn targets (B, M, ...)."""

    def per_sample(outputs: Tensor, drawn: Tensor) -> Totals:
        draws = [likelihood.per_sample(outputs, drawn[:, m]) for m in range(drawn.shape[1])]
        sums, weights = zip(*draws, strict=True)
        return torch.stack(sums).mean(0), weights[0]

    return Loss(name=likelihood.name, per_sample=per_sample)


def _drawn(objective: Objective, likelihood: Likelihood, count: int, seed: int) -> Samples:
    """The samples with `count` drawn targets each in place of their own, (N, count, ...); ignored ones stay so."""
    generator = torch.Generator().manual_seed(seed)
    blocks: list[list[tuple[Tensor, Tensor]]] = [[] for _ in objective.samples.blocks]
    with objective.running(), torch.no_grad():
        parts = objective.parts()
        for index, block in enumerate(objective.samples.blocks):
            for batch in Samples((block,)).chunks(objective.chunk):
                outputs = objective.outputs(parts, batch)
                drawn = torch.stack([likelihood.draw(outputs, generator) for _ in range(count)], dim=1)
                targets = batch[1]  # pyright: ignore[reportArgumentType]
                if likelihood.name == "categorical" and not targets.is_floating_point():
                    drawn = torch.where((targets == IGNORED).unsqueeze(1), IGNORED, drawn)
                blocks[index].append((batch[0], drawn))  # pyright: ignore[reportArgumentType]
    joined = ((torch.cat([x for x, _ in chunks]), torch.cat([t for _, t in chunks])) for chunks in blocks)
    return Samples(tuple(joined))
