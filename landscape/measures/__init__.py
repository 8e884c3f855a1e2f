"""The measures of sharpness: what each is, what it costs, what it is blind to. No torch, so that listing is quick."""

from .options import CHOICES, checked_seed, chosen, refuse_idle, unresolved
from .table import MEASURES, Measure

__all__ = ["CHOICES", "MEASURES", "Measure", "checked_seed", "chosen", "refuse_idle", "unresolved"]
