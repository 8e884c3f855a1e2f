"""A result of every kind, with numbers that are hard to store."""

import numpy as np

from landscape.results import (
    Density,
    Eigenpairs,
    Eigenvectors,
    LayerLines,
    Line,
    Path,
    Plane,
    Sharpness,
    SharpnessSeries,
    Status,
    Sweep,
    Trace,
    Tracked,
    Training,
    Updates,
)

AWKWARD = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, 1 / 3])

# -- results of every kind ------------------------------------------------------------------------------------------


def eigenpairs(tag=0, **changed):
    fields = {
        "status": Status.CONVERGED,
        "settings": {"kind": "eigenpairs", "version": 1, "k": 3, "tag": tag},
        "eigenvalues": np.array([3.5, 1 / 3, -0.25]),
        "residuals": np.array([1e-9, 2e-8, np.nan]),
        "low": np.array([3.4, 0.3, -np.inf]),
        "high": np.array([3.6, 0.4, np.inf]),
        "operator": "hessian",
        "which": "both",
        "num_matvecs": 17,
        "num_params": 26122,
        "num_samples": 1437,
        "loss": 1 / 7,
        "gradient_fraction": 0.875,
        "gradient_overlap": -1 / 3,
        "gradient_norm": 1e-9,
        "self_check": {"verdict": "agrees", "subset": 256, "steps": 1.25e-11, "inner": {"a": [1, 2.5, None, "é"]}},
        "vectors": np.ones((4, 3)),
    }
    return Eigenpairs(**(fields | changed))


def line(tag=0, **changed):
    fields = {
        "status": Status.STOPPED,
        "settings": {"kind": "line", "tag": tag, "alphas": [0.0, 0.5]},
        "alpha": np.linspace(-1, 2, 7),
        "loss": AWKWARD,
        "loss_stderr": AWKWARD[::-1],
        "accuracy": np.linspace(0, 1, 7),
        "test_loss": AWKWARD * 2,
        "test_accuracy": np.linspace(1, 0, 7),
        **dict.fromkeys(("test_loss_stderr", "difference_stderr", "error_difference_stderr"), AWKWARD / 2),
        "eigenvalue": AWKWARD,
        "eigenvalue_residual": np.full(7, 1e-3),
        "point_status": np.array([0, 1, 2, 1, 1, 0, 1], dtype=np.uint8),
        "unit_length": 12.5,
        **BARRIERS,
        "num_samples": 1437,
        "bn": "interpolate",
        "split": "train",
        "direction": {"kind": "between", "ends": ["small", "large"]},
    }
    return Line(**(fields | changed))


BARRIERS = {
    **{"barrier": -0.5, "barrier_low": -0.0, "barrier_high": np.inf},
    **{"error_barrier": float("nan"), "error_barrier_low": 1 / 3, "error_barrier_high": 5e-324},
}


def layer_lines(tag=0, **changed):
    grid = np.arange(6.0).reshape(2, 3) / 7
    columns = ("loss", "loss_stderr", "accuracy", "test_loss", "test_loss_stderr", "test_accuracy", "difference_stderr")
    fields = {
        "status": Status.COMPLETE,
        "settings": {"kind": "layer-lines", "tag": tag},
        "layers": ("0", "head.2"),
        "alpha": np.array([0.0, 0.5, 1.0]),
        **dict.fromkeys(columns, grid),
        "point_status": np.ones((2, 3), dtype=np.uint8),
        "unit_lengths": np.array([2.5, np.nan]),
        "num_samples": 7,
        "split": "train",
        "bn": "recompute",
        "direction": {"kind": "between", "ends": ["small", "large"]},
    }
    return LayerLines(**(fields | changed))


def path(tag=0, **changed):
    columns = ("loss", "loss_stderr", "accuracy", "test_loss", "test_loss_stderr", "test_accuracy")
    columns = (*columns, "difference_stderr", "error_difference_stderr")
    fields = {
        "status": Status.COMPLETE,
        "settings": {"kind": "path", "tag": tag},
        "t": np.array([0.0, 0.25, 1.0]),
        **dict.fromkeys(columns, np.array([1 / 3, 0.25, 5e-324])),
        "point_status": np.ones(3, dtype=np.uint8),
        "curve": "polychain",
        "bends": np.arange(8.0, dtype=np.float32).reshape(2, 4) / 7,
        "velocity": np.arange(8.0).reshape(2, 4) / 3,
        "epochs": 2,
        "updates": 46,
        "epoch": np.array([1, 2]),
        "epoch_loss": np.array([0.5, np.nan]),
        "length": 13.5,
        "distance": 11.25,
        **BARRIERS,
        **{"max_error": 0.25, "max_end_error": 0.125, "max_test_error": 1 / 3, "max_test_end_error": -0.0},
        "num_samples": 7,
        "split": "train",
        "bn": "recompute",
        "direction": {"kind": "between", "ends": ["small", "large"]},
    }
    return Path(**(fields | changed))


def plane(tag=0, **changed):
    grid = np.arange(15.0).reshape(3, 5) / 7
    fields = {
        "status": Status.COMPLETE,
        "settings": {"kind": "plane", "tag": tag},
        "alpha": np.linspace(-1, 1, 3),
        "beta": np.linspace(-2, 2, 5),
        "loss": grid,
        "loss_stderr": np.asfortranarray(grid + 1),
        "accuracy": grid.astype(np.float32),
        "test_loss": grid[::-1],
        "test_accuracy": grid * 0,
        "point_status": np.ones((3, 5), dtype=np.uint8),
        **dict.fromkeys(("test_loss_stderr", "difference_stderr"), grid / 3),
        "tolerance": 0.01,
        "interpolation_error": 0.0,
        "unit_lengths": np.array([2.5, 3.5]),
        "cosine": -1e-17,
        "explained": np.array([0.75, 5e-324]),
        "marks": ("small", "large", "é"),
        **dict.fromkeys(("mark_alpha", "mark_beta", "mark_residual", "mark_loss"), np.array([0.0, -0.0, 1 / 3])),
        "trajectory": ("small", "small"),
        **{f"trajectory_{name}": np.array([0.5, 1 / 3]) for name in ("alpha", "beta", "residual", "distance")},
        "num_samples": 0,
        "bn": "eval",
        "split": "test",
        "direction": {"kind": "random", "seed": 3, "normalize": "filter", "left out": "params of one dimension"},
    }
    return Plane(**(fields | changed))


def sharpness(tag=0, **changed):
    fields = {
        "status": Status.COMPLETE,
        "settings": {"kind": "sharpness", "tag": tag},
        "measure": "keskar",
        "space": "full",
        "value": 42.1,
        "stderr": 0.5,
        "epsilon": 1e-3,
        "loss": 1e-300,
        "max_loss": float("inf"),
        "iterations": 10,
        "num_evaluations": 12,
        "on_boundary": 0.25,
        "displaced_start": True,
        "num_params": 2**40,
        "num_samples": 0,
        "rho": 0.05,
        "norm": "inf",
        "law": "orthonormal",
        "dimension": 100,
        "repeats": 7,
        "values": AWKWARD,
        "std": 5e-324,
        "m": 128,
        "gap": -0.0,
        "layer": "head.weight",
        "num_matvecs": 17,
        "parts": {"loss": 0.5, "kept": [1, None]},
        "self_check": {"verdict": "agrees"},
        "hvp": {"path": "double"},
    }
    return Sharpness(**(fields | changed))


def sharpness_series(tag=0, **changed):
    rows = np.array([1 / 3, np.nan, 5e-324, np.nan])
    fields = {
        "status": Status.COMPLETE,
        "settings": {"kind": "sharpness-series", "tag": tag},
        "measure": "keskar",
        "against": "warm-epochs",
        "options": {"epsilon": 1e-3, "space": "full", "m": None},
        "num_samples": 1437,
        "names": ("b16", "b16, é", "b64", "b64-2"),
        "batch_size": np.array([16, 16, 64, 64]),
        "seed": np.array([0, 1, 0, 1]),
        "updates": np.array([90, 90, 23, 23]),
        "warm_epochs": np.array([0.0, 0.0, 0.5, 2.0]),
        "run_status": np.array([1, 2, 1, 4], dtype=np.uint8),
        **dict.fromkeys(("epoch", "value", "loss", "train_accuracy", "test_accuracy", "start_accuracy"), rows),
        "stderr": np.full(4, np.nan),
    }
    return SharpnessSeries(**(fields | changed))


def training(tag=0, **changed):
    rows = np.arange(4.0)
    fields = {
        "status": Status.COMPLETE,
        "settings": {"kind": "training", "tag": tag, "recipe": '{"lr": 0.05}'},
        "epoch": rows,
        "updates": np.array([0, 23, 46, 69]),
        "initial_params": np.linspace(-1, 1, 11, dtype=np.float32),
        "learning_rate": np.full(4, 0.05),
        "distance": np.sqrt(rows),
        "seconds": rows / 3,
    }
    fields |= dict.fromkeys(("samples", "batch_size", "gradient_norm", "weight_norm"), rows / 3)
    fields["kept"] = {"what": "best", "epoch": 2, "test_loss": None}
    fields |= {f"{split}_{name}": rows / 7 for split in ("train", "test") for name in ("loss", "accuracy")}
    return Training(**(fields | changed))


def updates(tag=0, **changed):
    columns = ("samples", "loss", "accuracy", "gradient_norm", "learning_rate", "batch_size", "weight_norm", "distance")
    fields = {
        "status": Status.COMPLETE,
        "settings": {"kind": "updates", "tag": tag},
        "update": np.arange(1.0, 1 + len(AWKWARD)),
        "seconds": np.arange(len(AWKWARD)) / 3,
        **dict.fromkeys(columns, AWKWARD),
    }
    return Updates(**(fields | changed))


def tracked(tag=0, **changed):
    fields = {
        "status": Status.COMPLETE,
        "settings": {"kind": "tracked", "tag": tag},
        "measure": "eigen",
        "epoch": np.arange(3.0),
        "updates": np.arange(3.0) * 7,
        "values": np.array([[1.0, np.nan], [2.0, np.inf], [5e-324, -0.0]]),
        "columns": ("eigenvalue", "residual"),
    }
    return Tracked(**(fields | changed))


def sweep(tag=0, **changed):
    names = ("learning_rate", "updates", "epochs", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
    fields = {
        "status": Status.STOPPED,
        "settings": {"kind": "sweep", "tag": tag},
        "rule": "sqrt",
        "budget": "updates",
        "batch_size": np.array([16, 16, 64, 64]),
        "seed": np.array([0, 1, 0, 1]),
        "run_status": np.array([1, 2, 3, 0], dtype=np.uint8),
        **dict.fromkeys((*names, "distance", "seconds"), np.array([1 / 3, np.nan, 5e-324, np.nan])),
    }
    return Sweep(**(fields | changed))


def eigenvectors(tag=0, **changed):
    fields = {
        "status": Status.CONVERGED,
        "settings": {"kind": "eigenpairs", "tag": tag},
        "eigenvalues": np.array([3.5, 1 / 3]),
        "vectors": np.arange(10.0, dtype=np.float32).reshape(5, 2) / 7,
    }
    return Eigenvectors(**(fields | changed))


MEASURED = {
    "num_matvecs": 17,
    "num_params": 26122,
    "num_samples": 1437,
    "loss": 1 / 7,
    "self_check": {"verdict": "agrees"},
    "hvp": {"path": "double", "kept_chunks": 2, "agreement": None},
}


def trace(tag=0, **changed):
    fields = {
        "status": Status.CONVERGED,
        "settings": {"kind": "trace", "tag": tag},
        "value": 1 / 3,
        "stderr": 5e-324,
        "method": "hutch++",
        "operator": "ggn",
        "frobenius": 2.5,
        "frobenius_stderr": 0.0,
        "effective_rank": np.inf,
        "layers": ("0.weight", "0.bias"),
        "layer_value": np.array([1.5, np.nan]),
        "layer_stderr": np.array([0.5, -0.0]),
        "num_probes": 30,
    }
    return Trace(**(fields | MEASURED | changed))


def density(tag=0, **changed):
    fields = {
        "status": Status.COMPLETE,
        "settings": {"kind": "density", "tag": tag},
        "nodes": np.linspace(-1, 1, 6).reshape(2, 3),
        "weights": np.full((2, 3), 1 / 3),
        "operator": "hessian",
        "trace": -1 / 3,
        "trace_stderr": 0.25,
        "bulk_edge": 1e-300,
        "num_outliers": 10.5,
        "num_outliers_stderr": 0.5,
        "outlier_share": 0.75,
        "num_classes": 10,
    }
    return Density(**(fields | MEASURED | changed))


MAKERS = {
    "density": density,
    "eigenpairs": eigenpairs,
    "eigenvectors": eigenvectors,
    "layer-lines": layer_lines,
    "line": line,
    "path": path,
    "plane": plane,
    "sharpness": sharpness,
    "sharpness-series": sharpness_series,
    "sweep": sweep,
    "trace": trace,
    "tracked": tracked,
    "training": training,
    "updates": updates,
}
OF_TEST = ("test_loss", "test_loss_stderr", "test_accuracy")
NONES = {
    "density": ("trace_stderr", "num_outliers_stderr", "num_samples", "num_classes", "loss"),
    "eigenpairs": (
        "low",
        "high",
        "num_samples",
        "loss",
        "gradient_fraction",
        "gradient_overlap",
        "gradient_norm",
    ),  # fmt: skip
    "eigenvectors": (),
    "trace": ("layers", "layer_value", "layer_stderr", "num_samples", "loss"),
    "layer-lines": ("accuracy", "difference_stderr", "num_samples", *OF_TEST),
    "line": (
        "accuracy",
        *OF_TEST,
        "difference_stderr",
        "error_difference_stderr",
        "eigenvalue",
        "eigenvalue_residual",
        *BARRIERS,
        "num_samples",
    ),
    "path": (
        "accuracy",
        *OF_TEST,
        "difference_stderr",
        "error_difference_stderr",
        *BARRIERS,
        "velocity",
        "max_error",
        "max_end_error",
        "max_test_error",
        "max_test_end_error",
        "num_samples",
    ),
    "plane": (
        "accuracy",
        *OF_TEST,
        "difference_stderr",
        "tolerance",
        "interpolation_error",
        "explained",
        *(f"mark{rest}" for rest in ("s", "_alpha", "_beta", "_residual", "_loss")),
        *(f"trajectory{rest}" for rest in ("", "_alpha", "_beta", "_residual", "_distance")),
        "num_samples",
        "bn",
    ),
    "sharpness": (
        *("stderr", "epsilon", "max_loss", "iterations", "num_evaluations", "on_boundary", "displaced_start"),
        *("rho", "norm", "law", "dimension", "repeats", "values", "std", "m", "gap", "layer", "num_matvecs"),
        *("parts", "self_check", "hvp"),
    ),
    "sharpness-series": ("warm_epochs", "start_accuracy"),
    "sweep": (),
    "tracked": (),
    "training": ("initial_params", "samples", "batch_size", "gradient_norm", "weight_norm", "kept"),
    "updates": (),
}


def same(stored, given):
    """Equal in type, shape and bits; mappings by value."""
    if isinstance(given, np.ndarray):
        return stored.dtype == given.dtype and stored.shape == given.shape and stored.tobytes() == given.tobytes()
    if isinstance(given, float):
        return type(stored) is float and np.float64(stored).tobytes() == np.float64(given).tobytes()
    return type(stored) is type(given) and stored == given
