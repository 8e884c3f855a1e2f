"""The recipe of a training run, as flags, TOML and JSON, and the arithmetic of its schedules."""

from .recipe import Recipe
from .schedule import Position, Schedule
from .text import from_json, from_toml, overridden, to_toml

__all__ = ["Position", "Recipe", "Schedule", "from_json", "from_toml", "overridden", "to_toml"]
