"""Training: a recipe run from its initial point, watched, stopped, and gone on with bit for bit."""

from .evaluation import evaluate
from .run import train
from .state import Diverged, Snapshots, Tracking, Trained, TrainingState, TrainingWatch

__all__ = [
    "Diverged",
    "Snapshots",
    "Tracking",
    "Trained",
    "TrainingState",
    "TrainingWatch",
    "evaluate",
    "train",
]
