"""What a batch size costs, by a noise scale and by measured throughput: arithmetic alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .results import Array, BatchSizes

GAIN = 0.1  # of throughput for each doubling: less is no gain, by the definition of the knee
BUSY = 0.2  # half the range between quartiles over the median: repeats in peace stay below a tenth
LOSS = 0.1  # of efficiency, that the largest efficient batch size does not lose


def ladder(samples: int, largest: int | None = None) -> list[int]:
    """1, 2, 4 ... up to N samples or to `largest`, which is the last rung where it is no power of two."""
    top = samples if largest is None else min(samples, largest)
    return [*(2**i for i in range((top - 1).bit_length())), top]


def knee(sizes: Sequence[int], throughput: Sequence[float]) -> int:
    """The smallest B beyond which no larger B' gains more than a tenth for each doubling.

    T(B') <= 1.1^log2(B'/B) T(B) for all B' > B, T the median throughput. All larger sizes are asked, not the next
    alone, so that one that a busy machine slowed down does not pass for the end of the rise.
    """
    log_size, log_rate = np.log2(np.asarray(sizes, dtype=float)), np.log(np.asarray(throughput, dtype=float))
    for i, size in enumerate(sizes):
        if (log_rate[i + 1 :] - log_rate[i] <= np.log1p(GAIN) * (log_size[i + 1 :] - log_size[i])).all():
            return int(size)
    raise ValueError("no batch sizes")


@dataclass(frozen=True)
class Predicted:
    """By batch size, what one loss takes relative to the best; nan, and no best size, where no noise scale is known.

    With noise scale b: updates over the fewest 1 + b/B, samples over the fewest 1 + B/b, efficiency the inverse of
    that (McCandlish et al. 2018, equations 2.7 and 2.11); seconds are samples over throughput, over the least of them.
    """

    efficiency: Array
    updates: Array
    samples: Array
    seconds: Array
    fastest: int | None
    efficient: int | None  # the largest size that loses less than a tenth of its samples, if one does


def predicted(sizes: Sequence[int], throughput: Sequence[float], noise: float | None) -> Predicted:
    """What one loss takes by batch size, for samples a second by batch size and a noise scale in samples."""
    size, rate = np.asarray(sizes, dtype=float), np.asarray(throughput, dtype=float)
    if noise is None:
        unknown = np.full(size.shape, np.nan)
        return Predicted(unknown, unknown, unknown, unknown, None, None)
    samples = 1 + size / noise
    seconds = samples / rate
    kept = [int(one) for one, needed in zip(size, samples, strict=True) if 1 / needed > 1 - LOSS]
    return Predicted(
        efficiency=1 / samples,
        updates=1 + noise / size,
        samples=samples,
        seconds=seconds / seconds.min(),
        fastest=int(size[seconds.argmin()]),
        efficient=max(kept, default=None),
    )


def learning_rates(sizes: Sequence[int], base_size: int, base_rate: float) -> tuple[Array, Array]:
    """Rates by the linear rule, e0 B/B0 (Goyal et al. 2017), and by the sqrt rule, e0 sqrt(B/B0) (Hoffer et al. 2017).

    They are the two ends of what a noise scale allows: linear far below it, and slower than either far above it.
    """
    ratio = np.asarray(sizes, dtype=float) / base_size
    return base_rate * ratio, base_rate * np.sqrt(ratio)


@dataclass(frozen=True)
class Moment:
    """The noise scale at one moment of a run; `value` is `low` where the point estimate does not exist."""

    update: int
    value: float
    low: float
    high: float | None
    resolved: bool


def over_run(moments: Sequence[Moment], batch_size: int) -> tuple[float, float, float | None]:
    """The noise scale that counts for a whole run, and the ends of its interval, from moments equally far apart.

    Updates are the integral of 1 + b(s)/B over progress s, samples that of B + b(s) (McCandlish et al. 2018, appendix
    D), so that the mean of b over progress takes the place of b for every fixed B. A run at B0 makes progress
    1 / (1 + b/B0) with each update, which is the weight of each moment.
    """
    weights = [1 / (1 + moment.value / batch_size) for moment in moments]

    def mean(values: Sequence[float]) -> float:
        return math.fsum(w * v for w, v in zip(weights, values, strict=True)) / math.fsum(weights)

    highs = [moment.high for moment in moments if moment.high is not None]
    high = mean(highs) if len(highs) == len(moments) else None
    return mean([m.value for m in moments]), mean([m.low for m in moments]), high


def priced(found: BatchSizes, price_per_hour: float | None) -> BatchSizes:
    """The same measurement with the cost by a price of the device an hour; as it is for None."""
    if price_per_hour is None:
        return found
    # one device is paid by time: relative costs are relative times
    return dataclasses.replace(found, price_per_hour=price_per_hour, cost=found.seconds)


ORIGINS = {
    "checkpoint": "at the checkpoint",
    "init": "at initialisation",
    "run": "over a short run",
    "given": "as given",
}
ASSUMPTIONS = (
    "This assumes that updates to a loss follow 1 + b/B (McCandlish et al. 2018), that the learning rate is tuned at "
    "each B, for which the two rules say where to begin (both are too high far above b), that b stays as it is, though "
    "it grows while the loss falls, that tr(Sigma)/|G|^2 stands for the noise scale of the Hessian, that the samples "
    "are many more than B, and that the machine is as busy as it was."
)


def advice(found: BatchSizes) -> str:
    """What follows from batch sizes measured and predicted, and what it assumes: one paragraph."""
    rise = f"Throughput rises by less than {GAIN:.0%} a doubling from B = {found.knee} on."
    if len(found.batch_size) == 1:
        rise = f"B = {found.knee} alone was measured: there is nothing to compare its throughput with."
    elif found.knee == found.batch_size[-1]:
        rise = f"Throughput still rises at B = {found.knee}, the last."
    origin = ORIGINS[str(found.noise["from"])]
    if found.critical is None or found.fastest is None:
        unknown = f"The noise scale b {origin} cannot be told from zero: nothing is predicted."
        return f"{unknown} {rise} Measure it with more samples, or give it by --critical."
    parts = [_scale(found, found.critical, origin), rise, _fastest(found, found.critical, found.fastest)]
    if len(found.batch_size) == 1:
        parts[2:] = [f"It has an efficiency of {found.efficiency[0]:.0%}: {_with_rates(found, found.fastest)}."]
    elif found.efficient is None:
        parts.append(f"Every B loses more than {LOSS:.0%} efficiency.")
    else:
        parts.append(f"Largest B that loses less than {LOSS:.0%} efficiency: {_with_rates(found, found.efficient)}.")
    return " ".join([*parts, *_busy(found), ASSUMPTIONS])


def _busy(found: BatchSizes) -> list[str]:
    """What to think of repeats that differ much."""
    half = (found.samples_per_second_high - found.samples_per_second_low) / 2 / found.samples_per_second
    worst = int(half.argmax())
    if half[worst] <= BUSY:
        return []
    size = found.batch_size[worst]
    return [f"Throughput varied by +-{half[worst]:.0%} at B = {size}: the machine was busy, measure again."]


def _scale(found: BatchSizes, critical: float, origin: str) -> str:
    scale = _count(critical)
    if found.noise["from"] == "given":
        return f"Noise scale b = {scale} samples, {origin}."
    level = f"{found.noise['level']:.0%}"
    if not found.noise["resolved"]:
        return (
            f"Noise scale b {origin}: not resolved, at least {scale} samples ({level}). Predictions follow that "
            "lower end, so that the fastest B may be larger, and efficiency is at least what is said."
        )
    upper = "or more" if found.critical_high is None else f"to {_count(found.critical_high)}"
    return f"Noise scale b = {scale} samples {origin} ({level}: {_count(found.critical_low or 0.0)} {upper})."


def _count(samples: float) -> str:
    return f"{float(f'{samples:.3g}'):g}"


def _fastest(found: BatchSizes, critical: float, fastest: int) -> str:
    sizes = [int(size) for size in found.batch_size]
    ends = [end for end in (found.critical_low, found.critical_high) if end is not None and end > 0]
    others = {predicted(sizes, found.samples_per_second.tolist(), end).fastest or fastest for end in (*ends, critical)}
    spread = f", {min(others)} to {max(others)} over the interval of b" if len(others) > 1 else ""
    if found.noise["from"] != "given" and found.critical_high is None:
        spread = f", {min(others)} or more over the interval of b, which has no upper end"
    last = " (the last that was measured: a larger one may be faster)" if fastest == sizes[-1] else ""
    return (
        f"Fastest to the same loss: {_with_rates(found, fastest)}{spread}{last}. "
        "Cheapest: the same, since one device is paid by time."
    )


def _with_rates(found: BatchSizes, size: int) -> str:
    at = int(np.flatnonzero(found.batch_size == size)[0])
    linear, root = found.learning_rate_linear[at], found.learning_rate_sqrt[at]
    return f"B = {size} (learning rate {linear:.3g} linear, {root:.3g} sqrt)"
