"""How high the loss and the error rise between two minima, with intervals over samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Z95 = 1.959964  # the normal law's two-sided 95 %


class Barrier(NamedTuple):
    """A barrier and the ends of its 95 % interval over samples; nan where a point in [0, 1] is not finite."""

    value: float
    low: float
    high: float


def barriers(
    t: np.ndarray,
    loss: np.ndarray,
    accuracy: np.ndarray,
    loss_stderr: np.ndarray,
    error_stderr: np.ndarray,
) -> tuple[Barrier | None, Barrier | None]:
    """Barrier of the loss and of the error over [0, 1]; None where the ends are not among the points.

    max over t of L(t) - (1-t) L(0) - t L(1) (Entezari et al. 2022, definition 1), and max over t of the error less the
    mean of the ends' errors (Frankle et al. 2020, section 2); the stderr are those of what is maximised. (t, loss,
    accuracy ...: (m,).) None for the error where there is no accuracy.
    """
    inside = (t >= 0) & (t <= 1)
    if not (0.0 in t and 1.0 in t):
        return None, None
    t, loss, error = t[inside], loss[inside], 1 - accuracy[inside]
    of_loss = _largest(loss - (1 - t) * loss[0] - t * loss[-1], loss_stderr[inside])
    if np.isnan(error).all():
        return of_loss, None
    return of_loss, _largest(error - (error[0] + error[-1]) / 2, error_stderr[inside])


def _largest(excess: np.ndarray, stderr: np.ndarray) -> Barrier:
    """The largest excess, between the largest lower and the largest upper end of the points' own intervals.

    If each point's interval holds its truth, this one holds the largest. Neither barrier can be negative: the ends of
    the line are among its points.
    """
    margin = Z95 * stderr  # nan, where it is not known, goes through to both ends
    low, high = float(np.max(excess - margin)), float(np.max(excess + margin))
    return Barrier(float(np.max(excess)), low if np.isnan(low) else max(0.0, low), high)
