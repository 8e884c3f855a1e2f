"""Slices whose drawings are easy to predict, and what there is to be found in a drawing."""

import kinds
import numpy as np
from matplotlib.contour import ContourSet

from landscape.results import Status

T = np.linspace(-1, 2, 13)  # holds 0, 0.5 and 1
AXIS = np.linspace(-1, 1, 9)
COMPLETE = {"status": Status.COMPLETE}
# fields of the makers that these drawings are to be without
BARE_LINE = dict.fromkeys(("test_loss", "test_accuracy", "test_loss_stderr", "eigenvalue", "eigenvalue_residual"))
BARE_PLANE = dict.fromkeys(("marks", "mark_alpha", "mark_beta", "mark_residual", "mark_loss", "explained"))
BARE_PLANE |= dict.fromkeys(("trajectory", *(f"trajectory_{n}" for n in ("alpha", "beta", "residual", "distance"))))


def line(tag=0, missing=(), **changed):
    """A line with a barrier of 1 at t = 0.5 over a chord of 0.5."""
    loss = 0.5 + np.maximum(0, 1 - 16 * (T - 0.5) ** 2 / 4)
    status = np.ones(len(T), dtype=np.uint8)
    status[list(missing)], loss[list(missing)] = 2, np.nan
    fields = COMPLETE | BARE_LINE | {
        "alpha": T, "loss": loss, "loss_stderr": np.full(len(T), 0.01), "accuracy": 1 / (1 + T**2), "barrier": 1.0,
        "barrier_low": 0.9, "barrier_high": 1.1, "point_status": status,
        **dict.fromkeys(("difference_stderr", "error_difference_stderr"), None),
    }  # fmt: skip
    return kinds.line(tag, **(fields | changed))


def along(kind="random", tag=0, **changed):
    direction = {"kind": kind, "normalize": "filter" if kind == "random" else "none", "seed": 0}
    none = dict.fromkeys(("barrier", "barrier_low", "barrier_high"))
    return line(tag, **({"direction": direction, **none} | changed))


def plane(tag=0, status=None, kind="random", **changed):
    loss = 0.1 + AXIS[:, None] ** 2 + 2 * AXIS[None, :7] ** 2
    status = np.ones(loss.shape, dtype=np.uint8) if status is None else status
    fields = COMPLETE | BARE_PLANE | {
        "alpha": AXIS, "beta": AXIS[:7], "loss": np.where(np.isin(status, (1, 3)), loss, np.nan),
        "loss_stderr": loss / 10, "accuracy": None, "test_loss": None, "test_accuracy": None, "point_status": status,
        **dict.fromkeys(("test_loss_stderr", "difference_stderr", "tolerance", "interpolation_error")),
        "direction": {"kind": kind},
    }  # fmt: skip
    return kinds.plane(tag, **(fields | changed))


def some(status, where):
    found = np.ones((9, 7), dtype=np.uint8)
    found[where] = status
    return found


MARKED = {
    "marks": ("small", "large", "other"),
    "mark_alpha": np.array([0.0, 0.5, -0.5]),
    "mark_beta": np.array([0.0, 0.25, -0.5]),
    "mark_residual": np.array([0.0, 1e-12, 12.3]),
    "mark_loss": np.ones(3),
}
RUNS = {
    "trajectory": ("a", "a", "a", "b", "b"),
    "trajectory_alpha": np.array([-0.8, -0.5, 0.0, 0.7, 0.5]),
    "trajectory_beta": np.array([-0.8, 0.0, 0.0, 0.4, 0.2]),
    "trajectory_residual": np.array([2.0, 1.0, 0.0, 3.0, 0.0]),
    "trajectory_distance": np.array([4.0, 4.0, 0.0, 4.0, 5.0]),
    "explained": np.array([0.71, 0.2]),
}


def layers(tag=0, count=6, **changed):
    loss = np.array([0.5 + (index + 1) * T**2 for index in range(count)])
    columns = dict.fromkeys(("accuracy", "test_accuracy", "test_loss_stderr", "difference_stderr"))
    fields = columns | {
        "layers": tuple(f"layer{i}.conv" for i in range(count)), "alpha": T, "loss": loss, "loss_stderr": loss / 10,
        "test_loss": loss * 2, "point_status": np.ones(loss.shape, dtype=np.uint8),
        "unit_lengths": np.arange(1.0, count + 1),
    }  # fmt: skip
    return kinds.layer_lines(tag, **(fields | changed))


def labelled(axes, label):
    return next(found for found in axes.get_lines() if found.get_label() == label)


def texts(axes):
    return [text.get_text() for text in axes.texts]


def legend(axes):
    return [text.get_text() for text in axes.figure.legends[0].get_texts()]


def hatched(axes):
    sets = [found for found in axes.collections if isinstance(found, ContourSet) and any(found.hatches)]
    return [path for found in sets for path in found.get_paths()]


def filled(axes):
    return next(f for f in axes.collections if isinstance(f, ContourSet) and f.filled and not any(f.hatches))
