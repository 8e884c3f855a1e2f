"""The noise of the gradient: its moments at a point, its errors by batch size, what it predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from .base import Array, Result, Status, mapping, quantity

LAYER = ("layer",)
SIZE = ("batch_size",)
SQUARED = "loss^2 / param^2"


@dataclass(frozen=True, kw_only=True, eq=False)
class GradientNoise(Result):
    """Moments of the gradients of single samples at one point, and the noise scales that follow from them.

    Samples are taken as draws from a population with mean gradient G and covariance Sigma (McCandlish et al. 2018,
    section 2.2); none of the estimates is of these N samples alone.
    """

    kind: ClassVar[str] = "noise"
    b_simple: float | None = quantity(
        "simple noise scale, tr(Sigma) / |G|^2; none where the estimate of |G|^2 is not positive",
        unit="samples",
        optional=True,
    )
    b_simple_low: float = quantity("lower end of its interval", unit="samples")
    b_simple_high: float | None = quantity(
        "upper end of its interval; none where |G|^2 cannot be told from zero", unit="samples", optional=True
    )
    level: float = quantity("confidence level of the intervals")
    trace_covariance: float = quantity("tr(Sigma), unbiased", unit=SQUARED)
    trace_covariance_stderr: float | None = quantity(
        "its standard error over samples; none for less than 8 gradients", unit=SQUARED, optional=True
    )
    gradient_norm_squared: float = quantity("|G|^2, unbiased: may be negative", unit=SQUARED)
    gradient_norm_squared_stderr: float | None = quantity(
        "its standard error over samples; none for less than 8 gradients", unit=SQUARED, optional=True
    )
    mean_gradient_norm_squared: float = quantity("squared norm of the mean gradient of the samples", unit=SQUARED)
    trace_covariance_squared: float = quantity("tr(Sigma^2), from pairs of samples")
    effective_rank: float | None = quantity(
        "tr(S)^2 / tr(S^2) of the sample covariance S, at most the number of gradients less one", optional=True
    )
    diversity: float = quantity("sum of the squared norms of the samples' gradients over that of their sum")
    cosine: float | None = quantity("mean cosine between the gradients of two samples", optional=True)
    loss: float = quantity("the objective at this point", unit="loss")
    num_params: int = quantity("number of params", unit="params")
    num_samples: int = quantity("samples that were used", unit="samples")
    route: str = quantity("how gradients were taken: norms, vmap or batches")
    unit_size: int = quantity("samples of a gradient: 1 but for batches", unit="samples")
    layers: tuple[str, ...] = field(metadata={"about": "names of the param tensors"})
    layer_trace: Array = quantity("tr(Sigma) of each param tensor", dims=LAYER, unit=SQUARED)
    layer_trace_stderr: Array = quantity("its standard error; nan for less than 8 gradients", dims=LAYER, unit=SQUARED)
    layer_gradient_norm_squared: Array = quantity("|G|^2 of each param tensor, unbiased", dims=LAYER, unit=SQUARED)
    layer_signal_to_noise: Array = quantity("norm of the mean gradient over sqrt(tr(Sigma)), by tensor", dims=LAYER)
    b_noise: float | None = quantity("noise scale, tr(H Sigma) / G'HG", unit="samples", optional=True)
    b_noise_low: float | None = quantity("lower end of its interval", unit="samples", optional=True)
    b_noise_high: float | None = quantity("upper end of its interval", unit="samples", optional=True)
    trace_hessian_covariance: float | None = quantity("tr(H Sigma)", optional=True)
    trace_hessian_covariance_stderr: float | None = quantity("its standard error over probes", optional=True)
    gradient_curvature: float | None = quantity("g'Hg less tr(H Sigma)/N: may be negative", optional=True)
    gradient_curvature_stderr: float | None = quantity(
        "its standard error over samples, H taken as known", optional=True
    )
    eps_max: float | None = quantity("best learning rate without noise, |G|^2 / G'HG", optional=True)
    eps_opt: float | None = quantity("best learning rate at the batch size, eps_max / (1 + b_noise / B)", optional=True)
    num_probes: int | None = quantity("random products behind tr(H Sigma)", optional=True)
    self_check: Mapping[str, Any] | None = mapping(
        "what the self-check of the Hessian's product found", of_run=True, optional=True
    )
    batch_size: int | None = quantity("batch size of training", unit="samples", optional=True)
    learning_rate: float | None = quantity("learning rate of training", optional=True)
    momentum: float | None = quantity("momentum of training", optional=True)
    train_samples: int | None = quantity("samples of the training split", unit="samples", optional=True)
    temperature: float | None = quantity("lr N / (B (1 - momentum))", optional=True)
    temperature_exact: float | None = quantity("lr (N/B - 1) / (1 - momentum)", optional=True)
    eigenvalues: Array | None = quantity(
        "largest eigenvalues of the covariance, descending", dims=("pair",), unit=SQUARED, optional=True
    )
    rank: int | None = quantity("numerical rank of the covariance, where all eigenvalues are known", optional=True)
    spectrum_method: str | None = quantity("gram or lanczos", optional=True)

    def problems(self) -> list[str]:
        resolved = self.b_simple is not None and self.b_simple_high is not None
        if self.status != Status.NOT_CONVERGED and (self.status == Status.NOT_RESOLVED) == resolved:
            return [f"the status is {self.status}, but the interval of b_simple has {'an' if resolved else 'no'} end"]
        return []


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchErrors(Result):
    """E|g_B - g|^2 of batches drawn from N samples, against what the covariance predicts."""

    kind: ClassVar[str] = "batch-errors"
    batch_size: Array = quantity("samples of a batch", dims=SIZE, unit="samples")
    with_replacement: Array = quantity("mean squared error of batches drawn with replacement", dims=SIZE, unit=SQUARED)
    with_replacement_stderr: Array = quantity("its standard error over draws", dims=SIZE, unit=SQUARED)
    without_replacement: Array = quantity("the same without replacement", dims=SIZE, unit=SQUARED)
    without_replacement_stderr: Array = quantity("its standard error over draws", dims=SIZE, unit=SQUARED)
    predicted: Array = quantity("tr(Sigma_N) / B", dims=SIZE, unit=SQUARED)
    predicted_finite: Array = quantity("tr(Sigma_N) / B (N - B) / (N - 1)", dims=SIZE, unit=SQUARED)
    trace_covariance: float = quantity("tr(Sigma_N) of these N samples, with 1/N", unit=SQUARED)
    mean_gradient_norm_squared: float = quantity("|g|^2 of these N samples", unit=SQUARED)
    draws: int = quantity("random orders of the samples, each cut into batches of every size")
    num_params: int = quantity("number of params", unit="params")
    num_samples: int = quantity("samples that batches are drawn from", unit="samples")
    loss: float = quantity("the objective at this point", unit="loss")
    largest_part: float | None = quantity(
        "the largest part of a single sample in tr(Sigma_N); none where it comes from batches", optional=True
    )

    def problems(self) -> list[str]:
        measured = [self.with_replacement, self.without_replacement]
        if self.status == Status.COMPLETE and not np.isfinite(measured).all():
            return ["it counts as complete, but holds numbers that are not finite"]
        return []


@dataclass(frozen=True, kw_only=True, eq=False)
class TradeOff(Result):
    """Updates and samples to one train loss by batch size, and the law that they follow.

    (S / S_min - 1) (E / E_min - 1) = 1, b_crit = E_min / S_min (McCandlish et al. 2018, section 2.3).
    """

    kind: ClassVar[str] = "trade-off"
    target: float = quantity("the train loss that is reached", unit="loss")
    batch_size: Array = quantity("samples of an update", dims=SIZE, unit="samples")
    updates: Array = quantity("updates to the target by the best rate; nan: not reached", dims=SIZE, unit="updates")
    samples: Array = quantity("samples to the target by the best rate", dims=SIZE, unit="samples")
    updates_low: Array = quantity("the fewest updates over seeds", dims=SIZE, unit="updates")
    updates_high: Array = quantity("the most updates over seeds", dims=SIZE, unit="updates")
    learning_rate: Array = quantity("the rate that was best", dims=SIZE)
    num_seeds: Array = quantity("runs of that rate that reached the target", dims=SIZE)
    num_missed: Array = quantity("runs of that batch size that did not", dims=SIZE)
    regime: Array = quantity("1 perfect scaling, 2 diminishing returns, 3 maximal data parallelism", dims=SIZE)
    s_min: float | None = quantity("updates at infinite batch size", unit="updates", optional=True)
    s_min_low: float | None = quantity("lower end of its interval", unit="updates", optional=True)
    s_min_high: float | None = quantity("upper end of its interval", unit="updates", optional=True)
    e_min: float | None = quantity("samples at batch size zero", unit="samples", optional=True)
    e_min_low: float | None = quantity("lower end of its interval", unit="samples", optional=True)
    e_min_high: float | None = quantity("upper end of its interval", unit="samples", optional=True)
    b_crit: float | None = quantity("critical batch size, e_min / s_min", unit="samples", optional=True)
    b_crit_low: float | None = quantity("lower end of its interval", unit="samples", optional=True)
    b_crit_high: float | None = quantity("upper end of its interval", unit="samples", optional=True)
    level: float = quantity("confidence level of the intervals")
    misfit: float | None = quantity("root mean square of the fit's residuals in log updates", optional=True)
    b_simple: float | None = quantity(
        "noise scale along the runs, a median, for comparison", unit="samples", optional=True
    )
    b_simple_low: float | None = quantity("the least of the runs", unit="samples", optional=True)
    b_simple_high: float | None = quantity(
        "the largest of the runs; none where it is not resolved in one", unit="samples", optional=True
    )

    def problems(self) -> list[str]:
        if self.status == Status.COMPLETE and self.b_crit is None:
            return ["it counts as complete, but has no b_crit"]
        return []


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchSizes(Result):
    """Throughput and memory by batch size on one device, and with a noise scale what each size takes to one loss."""

    kind: ClassVar[str] = "batch-size"
    batch_size: Array = quantity("samples of an update", dims=SIZE, unit="samples")
    samples_per_second: Array = quantity("samples a second of training, the median", dims=SIZE, of_run=True)
    samples_per_second_low: Array = quantity("the first quartile of its repeats", dims=SIZE, of_run=True)
    samples_per_second_high: Array = quantity("the third quartile of its repeats", dims=SIZE, of_run=True)
    peak_memory: Array = quantity("largest memory in use; nan: not known here", dims=SIZE, unit="B", of_run=True)
    efficiency: Array = quantity("samples needed at best over samples needed, 1 / (1 + B / noise scale)", dims=SIZE)
    updates: Array = quantity("updates to the same loss, over the fewest possible", dims=SIZE)
    samples: Array = quantity("samples to the same loss, over the fewest possible", dims=SIZE)
    seconds: Array = quantity("time to the same loss, over that of the fastest size", dims=SIZE, of_run=True)
    cost: Array | None = quantity(
        "price of the time to the same loss, over that of the cheapest size", dims=SIZE, optional=True, of_run=True
    )
    learning_rate_linear: Array = quantity("learning rate by the linear rule", dims=SIZE)
    learning_rate_sqrt: Array = quantity("learning rate by the sqrt rule", dims=SIZE)
    knee: int = quantity("the batch size from which throughput hardly rises", unit="samples", of_run=True)
    critical: float | None = quantity("the noise scale that predictions follow", unit="samples", optional=True)
    critical_low: float | None = quantity("lower end of its interval", unit="samples", optional=True)
    critical_high: float | None = quantity("upper end of its interval", unit="samples", optional=True)
    fastest: int | None = quantity("the batch size of the shortest time", unit="samples", optional=True, of_run=True)
    cheapest: int | None = quantity("the batch size of the lowest cost", unit="samples", optional=True, of_run=True)
    efficient: int | None = quantity(
        "the largest batch size that loses less than a tenth of its samples", unit="samples", optional=True
    )
    stopped_by: str = quantity("what ended the series: data, memory or limit", of_run=True)
    train_samples: int = quantity("samples of the training split", unit="samples")
    base_batch_size: int = quantity("the batch size that the learning rate was given for", unit="samples")
    base_learning_rate: float = quantity("that learning rate")
    price_per_hour: float | None = quantity("price of the device an hour", optional=True)
    device: str = quantity("the device", of_run=True)
    noise: Mapping[str, Any] = mapping("where the noise scale is from")
    advice: str = quantity("what follows, and what it assumes", of_run=True)

    def problems(self) -> list[str]:
        return [] if (np.diff(self.batch_size) > 0).all() else ["batch sizes do not rise"]
