"""Data: fixed samples on a device, built-in data sets, and what a user brings."""

from .registry import BUILTIN, Splits, load_data
from .samples import Batch, Samples, samples_of

__all__ = ["BUILTIN", "Batch", "Samples", "Splits", "load_data", "samples_of"]
