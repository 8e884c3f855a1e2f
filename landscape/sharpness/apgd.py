"""Auto-PGD: projected ascent whose steps halve where they no longer help."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from .ascent import Bounds
from .search import Search

MOMENTUM = 0.75
SHARE = 0.75  # of the steps between two checks must rise, else the step is halved


def apgd(search: Search, bounds: Bounds, start: Tensor, steps: int) -> None:
    """Auto-PGD (Croce & Hein 2020, algorithm 1): the highest value and its place stay in `search`.

    z = P(x + s t(g)), x <- P(x + a (z - x) + (1 - a)(x - x_before)) with a = .75, where t(g) has the size of the ball's
    radius in its norm and s = 2 to begin with. At checks s is halved, and the search goes on from the highest place,
    where fewer than .75 of the steps since the last check rose, or where neither s nor the highest value changed since
    then. `steps` + 1 gradient passes, fewer where the start is known.
    """
    checks = set(_checks(steps))
    x = start
    value, gradient = search.evaluate(x)
    x_before, size, rose, last = x, 2.0, 0, 0
    size_at_check, highest_at_check = size, search.highest
    for step in range(1, steps + 1):
        momentum = 1.0 if step == 1 else MOMENTUM
        z = bounds.project(x + size * bounds.furthest(gradient))
        x, x_before = bounds.project(x + momentum * (z - x) + (1 - momentum) * (x - x_before)), x
        before = value
        value, gradient = search.evaluate(x)
        rose += value > before
        if step in checks:
            slow = rose < SHARE * (step - last)
            stuck = size == size_at_check and search.highest == highest_at_check
            size_at_check, highest_at_check, rose, last = size, search.highest, 0, step
            if slow or stuck:
                size /= 2
                x = x_before = search.highest_at
                value, gradient = search.highest, search.highest_gradient


def _checks(steps: int) -> Iterator[int]:
    """Steps after which is checked: at .22 of all, then at intervals that shrink by .03 down to .06."""
    at, width = 0.0, 0.22
    while at + width < 1:
        at += width
        yield math.ceil(at * steps)
        width = max(width - 0.03, 0.06)
