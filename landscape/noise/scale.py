"""The noise of the gradient at a point: its scale, how sure it is, and what goes with it."""

from __future__ import annotations

import math
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

VERSION = 1
PROBES = 30


def noise_settings(
    objective: Objective,
    *,
    route: str = "auto",
    level: float = 0.95,
    full: bool = False,
    probes: int = PROBES,
    spectrum: int = 0,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    momentum: float | None = None,
    train_samples: int | None = None,
    seed: int = 0,
    hvp: str = "auto",
) -> dict[str, Any]:
    """What identifies the noise at a point. UsageError for values out of range."""
    if route != "auto" and route not in ROUTES:
        raise UsageError(f"a route is auto, {', '.join(ROUTES)}, got {route!r}")
    if not 0 < level < 1:
        raise UsageError(f"--level must lie in 0 ... 1, ends excluded, got {level:g}")
    if spectrum < 0:
        raise UsageError(f"--spectrum is a number of eigenvalues, got {spectrum}")
    if full and probes < 2:
        raise UsageError(f"--probes must be at least 2, for a standard error, got {probes}")
    for name, value, least in (("batch size", batch_size, 1), ("train samples", train_samples, 1)):
        if value is not None and value < least:
            raise UsageError(f"a {name} is at least {least}, got {value}")
    if momentum is not None and not 0 <= momentum < 1:
        raise UsageError(f"a momentum lies in 0 ... 1, 1 not included, got {momentum:g}")
    if learning_rate is not None and not 0 < learning_rate < math.inf:
        raise UsageError(f"a learning rate is positive, got {learning_rate:g}")
    return {
        "kind": GradientNoise.kind,
        "version": VERSION,
        "route": route,
        "level": level,
        "probes": probes if full else None,
        "hvp": hvp if full or spectrum else None,
        "spectrum": spectrum,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "momentum": momentum,
        "train_samples": train_samples,
        "seed": seed,
        **objective.identity,
    }


def gradient_noise(
    objective: Objective,
    *,
    route: str = "auto",
    level: float = 0.95,
    full: bool = False,
    probes: int = PROBES,
    spectrum: int = 0,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    momentum: float | None = None,
    train_samples: int | None = None,
    seed: int = 0,
    hvp: str = "auto",
    memory: int | None = None,
    progress: Progress | None = None,
) -> GradientNoise:
    """The noise scale tr(Sigma)/|G|^2 at a point, the moments behind it, by param tensor too, with intervals.

    Sigma is the covariance of single samples' gradients and G their mean, of the population that the N samples were
    drawn from (McCandlish et al. 2018, section 2.2): tr(Sigma) = sum_i |g_i - g|^2 / (N - 1), |G|^2 = |g|^2 -
    tr(Sigma)/N. The interval of the ratio is Fieller's; without an upper end, as near a minimum, the status is `not
    resolved`. `route` says how (`landscape.noise.routes`): `norms` costs about as much as the gradient itself. `full`
    adds b_noise = tr(H Sigma)/G'HG by `probes` random products, `spectrum` so many eigenvalues of Sigma; the settings
    of training add its temperature lr N/(B (1 - momentum)) (Smith & Le 2018) and signal-to-noise is by tensor
    (Shwartz-Ziv & Tishby 2017). Units: loss^2/param^2, noise scales in samples. Two gradient passes and one for the
    cosines, and the gradients of 64 samples. UsageError, InputError, NumericalError as `route_of`, `moments`.
    """
    chosen: dict[str, Any] = {"route": route, "level": level, "full": full, "probes": probes, "spectrum": spectrum}
    training = {"batch_size": batch_size, "learning_rate": learning_rate, "momentum": momentum}
    training["train_samples"] = train_samples
    settings = noise_settings(objective, **chosen, **training, seed=seed, hvp=hvp)
    way, _ = memory_of.recovering(route_of)(objective, route, seed)
    found = moments(objective, way, seed, progress)
    with_products: dict[str, Any] = {"seed": seed, "hvp": hvp, "memory": memory}
    bent = None
    if full:
        bent = memory_of.recovering(curvature)(
            objective, way, found, probes=probes, level=level, progress=progress, **with_products
        )
    eigen = None
    if spectrum:
        eigen = memory_of.recovering(covariance_spectrum)(objective, way, found, spectrum, **with_products)
    return _result(objective, way, found, bent, eigen, level, settings, training)


def _result(
    objective: Objective,
    way: Route,
    found: Moments,
    bent: Curvature | None,
    eigen: CovarianceSpectrum | None,
    level: float,
    settings: dict[str, Any],
    training: dict[str, Any],
) -> GradientNoise:
    samples, trace, norm = found.num_samples, found.trace, found.norm_squared
    of_trace, of_norm, across = found.covariance()
    low, high = fieller(trace, norm, (of_trace, of_norm), across, level, found.units - 1)
    if trace == 0:  # no noise at all, as where all samples are alike
        low, high = 0.0, (0.0 if norm > 0 else math.inf)
    mean = float(found.layer_gradient.sum())
    factor = samples / (found.units * (found.units - 1))
    layer_trace = found.layer_spread * factor
    variance = found.layer_spread_squares / found.units - (found.layer_spread / found.units) ** 2
    layer_stderr = (variance.clamp(min=0) / (found.units - 1)).sqrt() * factor * found.units
    of_loss = found.gradient - objective.l2 * objective.params.double().cpu()
    own = float(of_loss @ of_loss)
    return GradientNoise(
        status=_status(high, eigen),
        settings=settings,
        b_simple=trace / norm if norm > 0 else None,
        b_simple_low=low,
        b_simple_high=high if math.isfinite(high) else None,
        level=level,
        trace_covariance=trace,
        trace_covariance_stderr=math.sqrt(of_trace),
        gradient_norm_squared=norm,
        gradient_norm_squared_stderr=math.sqrt(of_norm),
        mean_gradient_norm_squared=mean,
        trace_covariance_squared=found.trace_squared,
        effective_rank=found.effective_rank,
        diversity=((samples - 1) * trace + samples * own) / (samples**2 * own) if own > 0 else math.inf,
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
        **_of_curvature(bent, norm, training["batch_size"]),
        **_of_training(**training),
        eigenvalues=None if eigen is None else eigen.eigenvalues,
        rank=None if eigen is None else eigen.rank,
        spectrum_method=None if eigen is None else eigen.method,
    )


def _status(high: float, eigen: CovarianceSpectrum | None) -> Status:
    if eigen is not None and not eigen.converged:
        return Status.NOT_CONVERGED
    return Status.COMPLETE if math.isfinite(high) else Status.NOT_RESOLVED


def _of_curvature(bent: Curvature | None, norm: float, batch_size: int | None) -> dict[str, Any]:
    if bent is None:
        return {}
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
        "gradient_curvature_stderr": bent.along_gradient_stderr,
        "eps_max": eps_max,
        "eps_opt": eps_opt,
        "num_probes": bent.probes,
        "self_check": bent.self_check,
    }


def _of_training(
    batch_size: int | None, learning_rate: float | None, momentum: float | None, train_samples: int | None
) -> dict[str, Any]:
    """The settings of training and the temperature that they make (Smith & Le 2018)."""
    given = {
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "momentum": momentum,
        "train_samples": train_samples,
    }
    if batch_size is None or learning_rate is None or train_samples is None:
        return given
    rate = learning_rate / (1 - (momentum or 0.0))
    return {
        **given,
        "temperature": rate * train_samples / batch_size,
        "temperature_exact": rate * (train_samples / batch_size - 1),
    }
