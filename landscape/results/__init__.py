"""What is measured: frozen dataclasses of numpy arrays and plain numbers, which know no torch."""

from .base import Array, Result, Status, finite, stored_fields
from .sharpness import Sharpness
from .slices import DONE, NON_FINITE, TODO, Line, Plane
from .spectra import Density, Eigenpairs, Eigenvectors, Trace
from .sweeps import Sweep
from .training import Tracked, Training, Updates

KINDS: dict[str, type[Result]] = {
    kind.kind: kind
    for kind in (Training, Updates, Tracked, Sweep, Eigenpairs, Eigenvectors, Trace, Density, Line, Plane, Sharpness)
}

__all__ = [
    "DONE",
    "KINDS",
    "NON_FINITE",
    "TODO",
    "Array",
    "Density",
    "Eigenpairs",
    "Eigenvectors",
    "Line",
    "Plane",
    "Result",
    "Sharpness",
    "Status",
    "Sweep",
    "Trace",
    "Tracked",
    "Training",
    "Updates",
    "finite",
    "stored_fields",
]
