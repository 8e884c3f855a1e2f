"""What is measured: frozen dataclasses of numpy arrays and plain numbers, which know no torch."""

from .base import Array, Result, Status, finite, stored_fields
from .comparison import Comparison
from .correlation import Correlation
from .noise import BatchErrors, BatchSizes, GradientNoise, TradeOff
from .paths import Path
from .series import SharpnessSeries
from .sharpness import Sharpness
from .slices import DONE, INTERPOLATED, NON_FINITE, TODO, LayerLines, Line, Plane, Slice
from .spectra import Density, Eigenpairs, Eigenvectors, Trace
from .sweeps import Sweep
from .training import Tracked, Training, Updates

KINDS: dict[str, type[Result]] = {
    kind.kind: kind
    for kind in (
        Training,
        Updates,
        Tracked,
        Sweep,
        Eigenpairs,
        Eigenvectors,
        Trace,
        Density,
        Line,
        LayerLines,
        Plane,
        Path,
        Sharpness,
        SharpnessSeries,
        GradientNoise,
        BatchErrors,
        TradeOff,
        BatchSizes,
        Comparison,
        Correlation,
    )
}

__all__ = [
    "DONE",
    "INTERPOLATED",
    "KINDS",
    "NON_FINITE",
    "TODO",
    "Array",
    "BatchErrors",
    "BatchSizes",
    "Comparison",
    "Correlation",
    "Density",
    "Eigenpairs",
    "Eigenvectors",
    "GradientNoise",
    "LayerLines",
    "Line",
    "Path",
    "Plane",
    "Result",
    "Sharpness",
    "SharpnessSeries",
    "Slice",
    "Status",
    "Sweep",
    "Trace",
    "TradeOff",
    "Tracked",
    "Training",
    "Updates",
    "finite",
    "stored_fields",
]
