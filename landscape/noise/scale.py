"""The noise of the gradient at a point: its scale, how sure it is, and what goes with it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch

from .. import memory as memory_of
from ..errors import UsageError
from ..objective import Objective
from ..results import GradientNoise, Status
from .curvature import Curvature, curvature
from .intervals import fieller
from .moments import Moments, Progress, mean_cosine, moments
from .routes import ROUTES, Route, route_of
from .spectrum import CovarianceSpectrum, covariance_spectrum

VERSION = 2
PROBES = 30


@dataclass(frozen=True, kw_only=True)
class Options:
    """What of the noise at a point is asked for. UsageError for values out of range.

    route: `auto`, `norms`, `vmap` or `batches` (`landscape.noise.routes`).
    level: confidence level of intervals.
    full, probes: whether b_noise is measured, by so many random products.
    spectrum: so many eigenvalues of Sigma.
    batch_size, learning_rate, momentum, train_samples: of training, for its temperature.
    seed: of what is drawn.
    hvp: path of the Hessian's products.
    """

    route: str = "auto"
    level: float = 0.95
    full: bool = False
    probes: int = PROBES
    spectrum: int = 0
    batch_size: int | None = None
    learning_rate: float | None = None
    momentum: float | None = None
    train_samples: int | None = None
    seed: int = 0
    hvp: str = "auto"

    def __post_init__(self) -> None:
        if self.route != "auto" and self.route not in ROUTES:
            raise UsageError(f"a route is auto, {', '.join(ROUTES)}, got {self.route!r}")
        if not 0 < self.level < 1:
            raise UsageError(f"--level must lie in 0 ... 1, ends excluded, got {self.level:g}")
        if self.spectrum < 0:
            raise UsageError(f"--spectrum is a number of eigenvalues, got {self.spectrum}")
        if self.full and self.probes < 2:
            raise UsageError(f"--probes must be at least 2, for a standard error, got {self.probes}")
        for name, value in (("batch size", self.batch_size), ("train samples", self.train_samples)):
            if value is not None and value < 1:
                raise UsageError(f"a {name} is at least 1, got {value}")
        if self.momentum is not None and not 0 <= self.momentum < 1:
            raise UsageError(f"a momentum lies in 0 ... 1, 1 not included, got {self.momentum:g}")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise UsageError(f"a learning rate is positive, got {self.learning_rate:g}")

    def identity(self, objective: Objective) -> dict[str, Any]:
        """What identifies the noise at a point; what is not asked for has no part in it."""
        unused = {} if self.full else {"probes": None}
        unused |= {} if self.full or self.spectrum else {"hvp": None}
        chosen = dataclasses.asdict(self) | unused
        return {"kind": GradientNoise.kind, "version": VERSION, **chosen, **objective.identity}


def noise_settings(objective: Objective, **options: Any) -> dict[str, Any]:
    """What identifies the noise at a point with these `Options`. UsageError for values out of range."""
    return Options(**options).identity(objective)


def gradient_noise(
    objective: Objective, *, memory: int | None = None, progress: Progress | None = None, **options: Any
) -> GradientNoise:
    """The noise scale tr(Sigma)/|G|^2 at a point, the moments behind it, by param tensor too, with intervals.

    Sigma is the covariance of single samples' gradients and G their mean, of the population that the N samples were
    drawn from (McCandlish et al. 2018, section 2.2): tr(Sigma) = sum_i |g_i - g|^2 / (N - 1), |G|^2 = |g|^2 -
    tr(Sigma)/N. The interval of the ratio is Fieller's; without an upper end, as near a minimum, the status is `not
    resolved`; so it is for less than 8 gradients, which have no standard errors. `options` are those of `Options`:
    `route="norms"` costs about as much as the gradient itself; `full=True` adds b_noise = tr(H Sigma)/G'HG by `probes`
    random products, `spectrum` so many eigenvalues of Sigma; the settings of training add its temperature lr N/(B (1 -
    momentum)) (Smith & Le 2018) and signal-to-noise is by tensor (Shwartz-Ziv & Tishby 2017). Units: loss^2/param^2,
    noise scales in samples. Two gradient passes and one for the cosines, and the gradients of 64 samples. UsageError,
    InputError, NumericalError as `Options`, `route_of`, `moments`.
    """
    asked = Options(**options)
    way, _ = memory_of.recovering(route_of)(objective, asked.route, asked.seed)
    found = moments(objective, way, asked.seed, progress)
    with_products: dict[str, Any] = {"seed": asked.seed, "hvp": asked.hvp, "memory": memory}
    bent = None
    if asked.full:
        bent = memory_of.recovering(curvature)(
            objective, way, found, probes=asked.probes, level=asked.level, progress=progress, **with_products
        )
    eigen = None
    if asked.spectrum:
        eigen = memory_of.recovering(covariance_spectrum)(objective, way, found, asked.spectrum, **with_products)
    return _result(objective, way, found, bent, eigen, asked)


def _result(
    objective: Objective,
    way: Route,
    found: Moments,
    bent: Curvature | None,
    eigen: CovarianceSpectrum | None,
    asked: Options,
) -> GradientNoise:
    samples, trace, norm = found.num_samples, found.trace, found.norm_squared
    of_trace, of_norm, across = found.covariance()
    low, high = 0.0, math.inf
    if not found.few:
        low, high = fieller(trace, norm, (of_trace, of_norm), across, asked.level, found.units - 1)
    if trace == 0:  # no noise at all, as where all samples are alike
        low, high = 0.0, (0.0 if norm > 0 and not found.few else math.inf)
    mean = float(found.layer_gradient.sum())
    factor = samples / (found.units * (found.units - 1))
    layer_trace = found.layer_spread * factor
    variance = found.layer_spread_squares / found.units - (found.layer_spread / found.units) ** 2
    layer_stderr = (variance.clamp(min=0) / (found.units - 1)).sqrt() * factor * found.units
    if found.few:
        layer_stderr = torch.full_like(layer_stderr, math.nan)
    return GradientNoise(
        status=_status(high, eigen),
        settings=asked.identity(objective),
        b_simple=trace / norm if norm > 0 else None,
        b_simple_low=low,
        b_simple_high=high if math.isfinite(high) else None,
        level=asked.level,
        trace_covariance=trace,
        trace_covariance_stderr=None if found.few else math.sqrt(of_trace),
        gradient_norm_squared=norm,
        gradient_norm_squared_stderr=None if found.few else math.sqrt(of_norm),
        mean_gradient_norm_squared=mean,
        trace_covariance_squared=found.trace_squared,
        effective_rank=found.effective_rank,
        diversity=found.diversity,
        cosine=mean_cosine(objective, way, found) if way.unit_size == 1 else None,
        loss=found.loss,
        num_params=objective.layout.size,
        num_samples=samples,
        route=way.name,
        unit_size=way.unit_size,
        layers=objective.layout.names,
        layer_trace=layer_trace.numpy(),
        layer_trace_stderr=layer_stderr.numpy(),
        layer_gradient_norm_squared=(found.layer_gradient - layer_trace / samples).numpy(),
        layer_signal_to_noise=torch.where(
            layer_trace > 0, (found.layer_gradient / layer_trace.clamp(min=1e-300)).sqrt(), torch.inf
        ).numpy(),
        **_of_curvature(bent, found, asked.batch_size),
        **_of_training(asked),
        eigenvalues=None if eigen is None else eigen.eigenvalues,
        rank=None if eigen is None else eigen.rank,
        spectrum_method=None if eigen is None else eigen.method,
    )


def _status(high: float, eigen: CovarianceSpectrum | None) -> Status:
    if eigen is not None and not eigen.converged:
        return Status.NOT_CONVERGED
    return Status.COMPLETE if math.isfinite(high) else Status.NOT_RESOLVED


def _of_curvature(bent: Curvature | None, found: Moments, batch_size: int | None) -> dict[str, Any]:
    if bent is None:
        return {}
    norm = found.norm_squared
    eps_max = norm / bent.along_gradient if norm > 0 and bent.along_gradient > 0 else None
    eps_opt = None
    if eps_max is not None and bent.b_noise is not None and batch_size is not None:
        eps_opt = eps_max / (1 + bent.b_noise / batch_size)
    return {
        "b_noise": bent.b_noise,
        "b_noise_low": bent.low,
        "b_noise_high": bent.high if math.isfinite(bent.high) else None,
        "trace_hessian_covariance": bent.trace,
        "trace_hessian_covariance_stderr": bent.trace_stderr,
        "gradient_curvature": bent.along_gradient,
        "gradient_curvature_stderr": None if found.few else bent.along_gradient_stderr,
        "eps_max": eps_max,
        "eps_opt": eps_opt,
        "num_probes": bent.probes,
        "self_check": bent.self_check,
    }


def _of_training(asked: Options) -> dict[str, Any]:
    """The settings of training and the temperature that they make (Smith & Le 2018)."""
    names = ("batch_size", "learning_rate", "momentum", "train_samples")
    given = {name: getattr(asked, name) for name in names}
    if asked.batch_size is None or asked.learning_rate is None or asked.train_samples is None:
        return given
    rate, batches = asked.learning_rate / (1 - (asked.momentum or 0.0)), asked.train_samples / asked.batch_size
    return {**given, "temperature": rate * batches, "temperature_exact": rate * (batches - 1)}
