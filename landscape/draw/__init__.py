"""Drawing: numpy results onto matplotlib axes. Knows no torch and no files."""

from .density import draw_density
from .dispatch import draw
from .eigenvalues import draw_eigenvalues
from .line import draw_line
from .plane import draw_plane, draw_planes, draw_surfaces
from .sharpness import draw_sharpness
from .style import style
from .trace import draw_trace
from .training import draw_training

__all__ = [
    "draw",
    "draw_density",
    "draw_eigenvalues",
    "draw_line",
    "draw_plane",
    "draw_planes",
    "draw_sharpness",
    "draw_surfaces",
    "draw_trace",
    "draw_training",
    "style",
]
