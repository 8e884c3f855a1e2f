"""The noise of the gradient: its moments at a point, its law by batch size, a monitor for training."""

from .errors import DRAWS, batch_errors, errors_settings
from .monitor import NoiseScale
from .routes import ROUTES
from .scale import PROBES, Options, gradient_noise, noise_settings

__all__ = [
    "DRAWS",
    "PROBES",
    "ROUTES",
    "NoiseScale",
    "Options",
    "batch_errors",
    "errors_settings",
    "gradient_noise",
    "noise_settings",
]
