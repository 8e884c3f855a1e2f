"""Drawing: numpy results onto matplotlib axes. Knows no torch and no files."""

from .along import draw_tracked, draw_tracked_noise, draw_updates
from .batch_errors import draw_batch_errors
from .batch_size import draw_batch_sizes
from .comparison import comparison_page, draw_comparison
from .correlation import draw_correlation
from .density import draw_density
from .dispatch import draw
from .eigenvalues import draw_eigenvalues
from .layers import draw_layers
from .line import draw_line
from .lines import draw_lines
from .noise import draw_noise
from .path import draw_path
from .plane import draw_plane, draw_planes
from .series import draw_series, draw_series_along, draw_tracked_along
from .sharpness import draw_sharpness
from .style import style
from .surface import draw_surfaces
from .sweep import draw_sweep
from .trace import draw_trace
from .trade_off import draw_trade_off
from .training import draw_training

__all__ = [
    "comparison_page",
    "draw",
    "draw_batch_errors",
    "draw_batch_sizes",
    "draw_comparison",
    "draw_correlation",
    "draw_density",
    "draw_eigenvalues",
    "draw_layers",
    "draw_line",
    "draw_lines",
    "draw_noise",
    "draw_path",
    "draw_plane",
    "draw_planes",
    "draw_series",
    "draw_series_along",
    "draw_sharpness",
    "draw_surfaces",
    "draw_sweep",
    "draw_trace",
    "draw_tracked",
    "draw_tracked_along",
    "draw_tracked_noise",
    "draw_trade_off",
    "draw_training",
    "draw_updates",
    "style",
]
