"""What differs between minima: values with intervals, differences, verdicts, warnings. numpy and scipy only."""

from .footing import Footing, unequal_footing
from .intervals import Interval, mean_interval, paired_difference, unpaired_difference, welch, with_error
from .measured import Measured, Relation
from .table import compared
from .together import MaxT, all_together, holm, max_t
from .verdicts import verdict

__all__ = [
    "Footing",
    "Interval",
    "MaxT",
    "Measured",
    "Relation",
    "all_together",
    "compared",
    "holm",
    "max_t",
    "mean_interval",
    "paired_difference",
    "unequal_footing",
    "unpaired_difference",
    "verdict",
    "welch",
    "with_error",
]
