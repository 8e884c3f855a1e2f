"""Rescaling: the same function of a ReLU network at other params, one factor for each layer."""

from .rescale import Rescaling, rescalable_layers, rescale

__all__ = ["Rescaling", "rescalable_layers", "rescale"]
