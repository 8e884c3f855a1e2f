"""Permutation alignment: the hidden units of one network in the order that brings it closest to another."""

from .align import Alignment, align

__all__ = ["Alignment", "align"]
