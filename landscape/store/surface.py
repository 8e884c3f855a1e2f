"""Surface files of loss-landscape (Li et al. 2018; github.com/tomgoldstein/loss-landscape), read and written.

Such a file is HDF5: `xcoordinates` (nx,), of planes `ycoordinates` (ny,) too, `train_loss` and `train_acc`, perhaps
`test_loss` and `test_acc`; -1 is what is not computed yet, accuracies are in per cent, `dir_file` names the file of the
directions. Of several MPI processes the first alone writes, by `reduce_max`: there are no files in parts.

Order of a plane's points, by the source: scheduler.py gives the flat index k the coordinates `meshgrid(x, y)[k]`, an
array (ny, nx) whose rows follow y, and plot_surface.py lays the losses out as (nx, ny). So a square array is the
transpose of ours. One that is not square has a shape that its values do not follow, which plot_2D.py refuses to draw,
but its flat order is right. Both shapes are therefore read by their flat order. Written is (ny, nx): what
`contour(*meshgrid(x, y), Z)` of plot_2D.py draws, h52vtp.py flattens, and plot_surface.py itself goes on with.

`proj_xcoord` and `proj_ycoord`, a trajectory on the plane, come from the file that projection.py writes. By its method
`cos` they are lengths along the directions: our multiples where the directions are unit vectors, as those of its PCA.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from ..errors import InputError
from ..results import DONE, NON_FINITE, TODO, Line, Plane, Status
from .foreign import Foreign, foreign
from .groups import Entry

VERSION = 1
MISSING = -1.0
AXES = ("xcoordinates", "ycoordinates")
SPLITS = ("train", "test")
PROJECTED = ("proj_xcoord", "proj_ycoord")
EXPLAINED = "explained_variance_ratio_"
NUMBERS = (*AXES, *(f"{split}_{name}" for split in SPLITS for name in ("loss", "acc")), *PROJECTED, EXPLAINED)
DIR_FILE = "dir_file"


def imported(path: str | os.PathLike[str], trajectory: str | os.PathLike[str] | None = None) -> Line | Plane:
    """The line or plane of a surface file, with the trajectory of a projection file; `stopped` where points lack.

    A loss of 0 counts as measured, though plot_surface.py would compute it again. Unknown are standard errors, lengths
    and the cosine (nan). Raises InputError for what is no such file, is damaged, or keeps data outside itself.
    """
    found = foreign(path, "surface file", NUMBERS, (DIR_FILE,))
    settings = {"kind": Line.kind, "version": VERSION, "imported": found.sha256}
    axes = [_axis(found, name) for name in AXES[: 1 + (AXES[1] in found.arrays)]]
    orders = [np.argsort(axis, kind="stable") for axis in axes]
    split = next((split for split in SPLITS if f"{split}_loss" in found.arrays), None)
    if split is None:
        raise InputError(f"{path} has neither train_loss nor test_loss: nothing is computed yet")
    raw = _grid(found, f"{split}_loss", orders)
    status = np.where(raw == MISSING, TODO, np.where(np.isfinite(raw), DONE, NON_FINITE)).astype(np.uint8)
    dir_file = found.texts.get(DIR_FILE)
    fields: dict[str, Any] = {
        "alpha": axes[0][orders[0]],
        "loss": np.where(status == DONE, raw, np.nan),
        "loss_stderr": np.full(raw.shape, np.nan),
        "accuracy": _column(found, f"{split}_acc", orders, 100.0),
        "test_loss": _column(found, "test_loss", orders) if split == "train" else None,
        "test_accuracy": _column(found, "test_acc", orders, 100.0) if split == "train" else None,
        "point_status": status,
        "status": _status(status),
        "split": split,
        # name_direction_file of net_plotter.py: directions of `states` move the statistics of batch norm too
        "bn": "interpolate" if "_states" in (dir_file or "") else "eval",
        "direction": {
            "kind": "imported",
            "file": found.path.name,
            "dir_file": dir_file,
            "left_out": list(found.left_out),
            "unknown": "standard errors, lengths and cosine of the directions, number of samples",
        },
    }
    if len(axes) == 1:
        if trajectory is not None:
            raise InputError(f"{path} is a line; a trajectory needs a plane")
        return Line(**fields, settings=settings, unit_length=np.nan)
    settings["kind"] = Plane.kind
    fields |= {"beta": axes[1][orders[1]], **_shares(found), **_trajectory(found)}
    if trajectory is not None:
        projected = foreign(trajectory, "projection file", PROJECTED)
        settings["trajectory"] = projected.sha256
        fields |= _trajectory(projected)
        if not set(PROJECTED) <= set(projected.arrays):
            raise InputError(f"{trajectory} lacks {' or '.join(PROJECTED)}; it is no projection file")
    return Plane(**fields, settings=settings, unit_lengths=np.full(2, np.nan), cosine=np.nan)


def chosen(entries: Sequence[Entry]) -> tuple[list[tuple[Entry, Line | Plane]], list[Entry]]:
    """The lines and planes, and the entries that are neither. InputError where nothing is a line or a plane."""
    fit = [(entry, entry.result) for entry in entries if isinstance(entry.result, (Line, Plane))]
    if not fit:
        raise InputError("there is neither a line nor a plane to write as a surface file; use csv, json or npz")
    return fit, [entry for entry in entries if not isinstance(entry.result, (Line, Plane))]


def surface_of(result: Line | Plane) -> bytes:
    """A surface file of a line or plane: what is to do -1, what is not finite nan, interpolated points as measured.

    A loss of exactly -1 reads as not computed there. The trajectory of a single run goes into the same file, which
    plot_2D.py then takes as --surf_file, --proj_file and --dir_file at once; it would join several runs by a line.
    """

    def theirs(values: np.ndarray | None, scale: float = 1.0) -> np.ndarray:
        if values is None:  # plot_1D.py wants an accuracy all the same
            values = np.full(result.loss.shape, MISSING / scale)
        values = np.where(np.isfinite(values), np.asarray(values, dtype=np.float64) * scale, np.nan)
        return np.ascontiguousarray(np.where(result.point_status == TODO, MISSING, values).T)

    split = "test" if result.split == "test" else "train"
    arrays = {"xcoordinates": result.alpha, f"{split}_loss": theirs(result.loss)}
    arrays[f"{split}_acc"] = theirs(result.accuracy, 100.0)
    if result.test_loss is not None and split == "train":
        arrays |= {"test_loss": theirs(result.test_loss), "test_acc": theirs(result.test_accuracy, 100.0)}
    if isinstance(result, Plane):
        arrays["ycoordinates"] = result.beta
        if len(set(result.trajectory or ())) == 1:
            assert result.trajectory_alpha is not None
            assert result.trajectory_beta is not None
            arrays |= dict(zip(PROJECTED, (result.trajectory_alpha, result.trajectory_beta), strict=True))
        if result.explained is not None:
            arrays[EXPLAINED] = result.explained
    with h5py.File.in_memory(libver=("earliest", "v110")) as file:
        for name, values in arrays.items():
            file[name] = values
        if result.direction.get("dir_file"):
            file["dir_file"] = str(result.direction["dir_file"])
        file.flush()
        return file.id.get_file_image()


def _axis(found: Foreign, name: str) -> np.ndarray:
    axis = found.arrays.get(name)
    if axis is None:
        raise InputError(f"{found.path} has no {name}; it is no surface file of loss-landscape")
    least = 2 if AXES[1] in found.arrays else 1
    if axis.ndim != 1 or len(axis) < least or not np.isfinite(axis).all() or len(np.unique(axis)) < len(axis):
        raise InputError(f"{name} of {found.path} must be {least} or more positions, finite and all different")
    return axis


def _grid(found: Foreign, name: str, orders: Sequence[np.ndarray]) -> np.ndarray:
    """A data set by (alpha, beta), both rising: flat, its points are those of meshgrid(x, y), rows following y."""
    values, sizes = found.arrays[name], tuple(len(order) for order in orders)
    if values.shape not in (sizes, sizes[::-1]):
        raise InputError(f"{name} of {found.path} has shape {values.shape}, its coordinates ask for {sizes}")
    return np.ascontiguousarray(values.reshape(sizes[::-1]).T[np.ix_(*orders)])


def _column(found: Foreign, name: str, orders: Sequence[np.ndarray], scale: float = 1.0) -> np.ndarray | None:
    """A data set over `scale`, nan where it is not computed yet; None where nothing of it is."""
    values = _grid(found, name, orders) if name in found.arrays else np.array(MISSING)
    if (values == MISSING).all():
        return None
    return np.where(values == MISSING, np.nan, values / scale)


def _status(points: np.ndarray) -> Status:
    if (points == TODO).any():
        return Status.STOPPED
    return Status.COMPLETE if (points == DONE).any() else Status.NON_FINITE


def _shares(found: Foreign) -> dict[str, np.ndarray]:
    shares = found.arrays.get(EXPLAINED)
    return {} if shares is None or shares.shape != (2,) else {"explained": shares}


def _trajectory(found: Foreign) -> dict[str, Any]:
    """The fields of a projected trajectory; how far its points lie beside the plane is not known."""
    x, y = (found.arrays.get(name) for name in PROJECTED)
    if x is None or y is None:
        return {}
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"{' and '.join(PROJECTED)} of {found.path} have shapes {x.shape} and {y.shape}; not one path")
    names, unknown = (found.path.stem,) * len(x), np.full(x.shape, np.nan)
    fields = {"alpha": x, "beta": y, "residual": unknown, "distance": unknown}
    return {"trajectory": names, **{f"trajectory_{name}": values for name, values in fields.items()}}
