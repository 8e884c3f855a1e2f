"""Which batch size pays: throughput measured, noise scale measured, the time to one loss predicted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .. import batch_sizes as arithmetic
from .. import execution
from ..batch_sizes import Moment
from ..data import Samples
from ..errors import NumericalError, UsageError
from ..noise import gradient_noise, noise_settings
from ..objective import Objective
from ..recipe import Recipe, Schedule
from ..recipe.recipe import default_rate
from ..results import BatchSizes, GradientNoise, Status
from ..training.batch_norm import re_estimate
from .measured import Minimum, Setup
from .throughput import Rung, Trainer, climb

VERSION = 2
MOST = 10_000  # samples that the noise scale is measured on by default
MOMENTS = 4  # of a short run at which the noise scale is measured
# What an update is made of; the rest of a recipe (schedules, budget, averages) has no part in it.
OF_UPDATE = (
    *("flip", "crop", "rotate", "shift", "momentum", "nesterov", "weight_decay", "decay_on", "accumulate", "clip"),
    *("multiplicative_noise", "sam", "conservative", "ghost_batch", "seed", "init_seed", "order_seed", "augment_seed"),
    *("reshuffle", "bf16", "channels_last", "compile"),
)

Estimate = Callable[[Objective], GradientNoise]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured: batch sizes up to `max_batch_size` or `memory` bytes, each for about so many seconds.

    `noise`: the noise scale at the `checkpoint`, at `init`, over a `run` of so many `updates`, or as `given`.
    """

    seconds: float = 1.0
    max_batch_size: int | None = None
    memory: int | None = None
    noise: str = "init"
    critical: float | None = None
    updates: int = 200
    price_per_hour: float | None = None

    def __post_init__(self) -> None:
        if self.noise not in arithmetic.ORIGINS or (self.noise == "given") != (self.critical is not None):
            raise UsageError(f"the noise scale is of checkpoint, init or run, or given; got {self.noise!r}")
        if self.updates < MOMENTS:
            raise UsageError(f"--updates must be at least {MOMENTS}, got {self.updates}")


def update_of(
    known: Recipe | None,
    samples: int,
    *,
    optimizer: str | None = None,
    lr: float | None = None,
    momentum: float | None = None,
    batch_size: int | None = None,
    **fields: Any,
) -> Recipe:
    """The recipe of an update at the base batch size: of a checkpoint's recipe as far as nothing else is asked.

    Rates are those of the mean over a batch. Raises UsageError where values are out of range.
    """
    chosen: dict[str, Any] = {} if known is None else {name: getattr(known, name) for name in OF_UPDATE}
    kept = known if known is not None and optimizer in (None, known.optimizer) else None
    chosen["optimizer"] = optimizer or ("sgd" if known is None else known.optimizer)
    size = Schedule(known or Recipe(updates=1), samples).first_batch_size
    rate = default_rate(chosen["optimizer"])
    if kept is not None:
        rate = Schedule(kept, samples).peak * (size if kept.reduction == "sum" else 1)
    chosen |= {"lr": rate, "batch_size": size}
    if chosen["optimizer"] != "sgd":
        chosen["nesterov"] = False
    given = {"lr": lr, "momentum": momentum, "batch_size": batch_size, **fields}
    chosen |= {name: value for name, value in given.items() if value is not None}
    chosen["batch_size"] = min(chosen["batch_size"], samples)
    return Recipe(**chosen, updates=1)


@dataclass(frozen=True)
class Scale:
    """A noise scale (its lower end where nothing else is known), the ends of its interval, and where it is from."""

    critical: float | None
    low: float | None
    high: float | None
    resolved: bool
    about: Mapping[str, Any]


def points(setup: Setup, plan: Plan, samples: int | None) -> Minimum:
    """The point that is measured, over the samples that the noise scale is measured on (at most 10,000 by default).

    For `init` the initial point, whatever checkpoint gave the settings.
    """
    if plan.noise == "init":
        setup = dataclasses.replace(setup, checkpoints=())
    (minimum,) = setup.minima(samples or min(MOST, setup.available))
    return minimum


def settings(objective: Objective, samples: Samples, recipe: Recipe, plan: Plan) -> dict[str, Any]:
    """All that identifies the result: point, data, update, plan, estimator of the noise scale, kind of machine.

    The price is no part of it (`landscape.batch_sizes.priced`).
    """
    noise = {} if plan.noise == "given" else noise_settings(objective)
    return {
        "kind": BatchSizes.kind,
        "version": VERSION,
        **objective.identity,
        "train": samples.digest(),
        "update": {name: getattr(recipe, name) for name in (*OF_UPDATE, "optimizer", "lr", "batch_size")},
        # a price changes no measurement: it is set on what was measured
        "plan": {name: value for name, value in dataclasses.asdict(plan).items() if name != "price_per_hour"},
        "noise": {name: value for name, value in noise.items() if name not in objective.identity},
        "machine": execution.conditions(objective.device),
    }


def batch_sizes(
    objective: Objective,
    samples: Samples,
    recipe: Recipe,
    plan: Plan,
    *,
    estimate: Estimate = gradient_noise,
    progress: Callable[[int], None] | None = None,
) -> BatchSizes:
    """Throughput and memory of training by batch size, and what each size takes to one loss.

    `samples` are the training samples, `objective` the point and the samples that `estimate` measures the noise scale
    on; `recipe` is of an update at the base batch size (`update_of`). The user's model is not changed. Costs the
    plan's seconds for each of about log2(N) sizes and, for a run, its updates and four estimates. Raises ResourceError
    where no batch fits, InputError where the model cannot be trained, NumericalError where the short run diverges.
    """
    scale = measured_scale(objective, samples, recipe, plan, estimate)
    sizes = arithmetic.ladder(len(samples), plan.max_batch_size)
    trainer = Trainer(objective, samples, recipe)
    rungs, short = climb(trainer, sizes, seconds=plan.seconds, bound=plan.memory, progress=progress)
    stopped = "memory" if short else "data" if sizes[-1] == len(samples) else "limit"
    identity = settings(objective, samples, recipe, plan)
    return _result(rungs, stopped, scale, recipe, plan, objective.device, len(samples), identity)


def _result(
    rungs: list[Rung],
    stopped: str,
    scale: Scale,
    recipe: Recipe,
    plan: Plan,
    device: torch.device,
    count: int,
    identity: Mapping[str, Any],
) -> BatchSizes:
    sizes = [rung.size for rung in rungs]
    low, median, high = (np.array([np.quantile(rung.rates, q) for rung in rungs]) for q in (0.25, 0.5, 0.75))
    expected = arithmetic.predicted(sizes, median.tolist(), scale.critical)
    base = int(recipe.batch_size)
    linear, root = arithmetic.learning_rates(sizes, base, recipe.lr)
    found = BatchSizes(
        status=Status.COMPLETE if scale.resolved else Status.NOT_RESOLVED,
        settings=identity,
        batch_size=np.array(sizes),
        samples_per_second=median,
        samples_per_second_low=low,
        samples_per_second_high=high,
        peak_memory=np.array([rung.memory for rung in rungs]),
        efficiency=expected.efficiency,
        updates=expected.updates,
        samples=expected.samples,
        seconds=expected.seconds,
        cost=None,
        learning_rate_linear=linear,
        learning_rate_sqrt=root,
        knee=arithmetic.knee(sizes, median.tolist()),
        critical=scale.critical,
        critical_low=scale.low,
        critical_high=scale.high,
        fastest=expected.fastest,
        cheapest=expected.fastest,
        efficient=expected.efficient,
        stopped_by=stopped,
        train_samples=count,
        base_batch_size=base,
        base_learning_rate=float(recipe.lr),
        price_per_hour=None,
        device=_name(device),
        noise=dict(scale.about),
        advice="",
    )
    return arithmetic.priced(dataclasses.replace(found, advice=arithmetic.advice(found)), plan.price_per_hour)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"cpu, {threads} {'thread' if threads == 1 else 'threads'}"


# -- the noise scale


def measured_scale(
    objective: Objective, samples: Samples, recipe: Recipe, plan: Plan, estimate: Estimate = gradient_noise
) -> Scale:
    """The noise scale that the plan asks for.

    At initialisation the stored statistics of batch norms are 0 and 1, of no batch: they are estimated first, over the
    samples that are measured, in batches of the base size.
    """
    if plan.noise == "given":
        return Scale(plan.critical, None, None, True, {"from": "given"})
    if plan.noise == "run":
        return _over_run(objective, samples, recipe, plan, estimate)
    about: dict[str, Any] = {"from": plan.noise}
    if plan.noise == "init" and objective.bn == "eval" and execution.has_batch_norm(objective.model):
        trainer = Trainer(objective, objective.samples, recipe)
        re_estimate(trainer.model, objective.loss, trainer.samples, int(recipe.batch_size))
        objective = _at(objective, trainer)
        about["batch_norm"] = "statistics estimated over the samples"
    found = estimate(objective)
    moment = _moment(0, found)
    critical = moment.value if moment.value > 0 else None
    about |= _told(found, [moment])
    return Scale(critical, moment.low, moment.high, moment.resolved and critical is not None, about)


def _over_run(objective: Objective, samples: Samples, recipe: Recipe, plan: Plan, estimate: Estimate) -> Scale:
    """Along the plan's updates at the base batch size and rate, at moments in the middle of equal parts of them."""
    trainer = Trainer(objective, samples, recipe)
    marks = [(2 * i + 1) * plan.updates // (2 * MOMENTS) for i in range(MOMENTS)]
    moments: list[Moment] = []
    estimates: list[GradientNoise] = []
    made = 0
    for mark in marks:
        with trainer.training():
            trainer.updates(int(recipe.batch_size), mark - made, recipe.lr)
        made = mark
        there = _at(objective, trainer)
        if not torch.isfinite(there.params).all():
            raise NumericalError(f"the short run diverged within {made} updates at a rate of {recipe.lr:g}; lower --lr")
        estimates.append(estimate(there))
        moments.append(_moment(made, estimates[-1]))
    critical, low, high = arithmetic.over_run(moments, int(recipe.batch_size))
    resolved = all(moment.resolved for moment in moments)
    about = {"from": "run", "updates": plan.updates, **_told(estimates[-1], moments)}
    return Scale(critical if critical > 0 else None, low, high, resolved and critical > 0, about)


def _at(objective: Objective, trainer: Trainer) -> Objective:
    return objective.at(trainer.tensors())


def _moment(update: int, found: GradientNoise) -> Moment:
    low = found.b_simple_low if math.isfinite(found.b_simple_low) else 0.0
    resolved = found.b_simple is not None and found.b_simple_high is not None
    # an estimate whose interval has no upper end is no bound: what can be relied on is the lower end
    value = found.b_simple if resolved and found.b_simple is not None else max(low, 0.0)
    return Moment(update, value, low, found.b_simple_high, resolved)


def _told(found: GradientNoise, moments: list[Moment]) -> dict[str, Any]:
    rows = [dataclasses.asdict(moment) for moment in moments]
    return {
        "resolved": all(moment.resolved for moment in moments),
        "level": found.level,
        "num_samples": found.num_samples,
        "route": found.route,
        "moments": rows,
    }
