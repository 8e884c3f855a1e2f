"""Going on with what was stopped or killed: to the same bits as a run without a break, or not at all."""

from .journal import Journal, drop_journal, journal_path, journals_of
from .manifest import HOW, different, refuse_other
from .points import Pace, Points, Row, Watch

__all__ = [
    "HOW",
    "Journal",
    "Pace",
    "Points",
    "Row",
    "Watch",
    "different",
    "drop_journal",
    "journal_path",
    "journals_of",
    "refuse_other",
]
