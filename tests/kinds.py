"""A result of every kind, with numbers that are hard to store."""

import numpy as np

from landscape.results import (
    BatchErrors,
    BatchSizes,
    Comparison,
    Correlation,
    Density,
    Eigenpairs,
    Eigenvectors,
    GradientNoise,
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
    TradeOff,
    Training,
    Updates,
)

AWKWARD = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, 1 / 3])


def as_it_is(result):
    """A result that is stored whatever it holds: these contradict themselves, which the store would refuse."""
    object.__setattr__(result, "problems", list)
    return result


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
    return as_it_is(Eigenpairs(**(fields | changed)))


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
    return as_it_is(Line(**(fields | changed)))


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
    return as_it_is(LayerLines(**(fields | changed)))


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
    return as_it_is(Path(**(fields | changed)))


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
    return as_it_is(Plane(**(fields | changed)))


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
    return as_it_is(Sharpness(**(fields | changed)))


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
    return as_it_is(SharpnessSeries(**(fields | changed)))


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
    return as_it_is(Training(**(fields | changed)))


def updates(tag=0, **changed):
    columns = ("samples", "loss", "accuracy", "gradient_norm", "learning_rate", "batch_size", "weight_norm", "distance")
    fields = {
        "status": Status.COMPLETE,
        "settings": {"kind": "updates", "tag": tag},
        "update": np.arange(1.0, 1 + len(AWKWARD)),
        "seconds": np.arange(len(AWKWARD)) / 3,
        **dict.fromkeys(columns, AWKWARD),
    }
    return as_it_is(Updates(**(fields | changed)))


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
    return as_it_is(Tracked(**(fields | changed)))


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
    return as_it_is(Sweep(**(fields | changed)))


def eigenvectors(tag=0, **changed):
    fields = {
        "status": Status.CONVERGED,
        "settings": {"kind": "eigenpairs", "tag": tag},
        "eigenvalues": np.array([3.5, 1 / 3]),
        "vectors": np.arange(10.0, dtype=np.float32).reshape(5, 2) / 7,
    }
    return as_it_is(Eigenvectors(**(fields | changed)))


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
    return as_it_is(Trace(**(fields | MEASURED | changed)))


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
    return as_it_is(Density(**(fields | MEASURED | changed)))


def gradient_noise(tag=0, **changed):
    fields = {
        "status": Status.COMPLETE,
        "settings": {"kind": "noise", "tag": tag},
        **{"b_simple": 1 / 3, "b_simple_low": -0.0, "b_simple_high": np.inf, "level": 0.95},
        **{"trace_covariance": 1 / 7, "trace_covariance_stderr": 5e-324},
        **{"gradient_norm_squared": -1e-9, "gradient_norm_squared_stderr": float("nan")},
        **{"mean_gradient_norm_squared": 1e-9, "trace_covariance_squared": 0.5, "effective_rank": 12.5},
        **{"diversity": np.inf, "cosine": -1 / 3, "loss": 0.125, "num_params": 7, "num_samples": 1437},
        **{"route": "norms", "unit_size": 1, "layers": ("0.weight", "é")},
        **dict.fromkeys(("layer_trace", "layer_trace_stderr", "layer_signal_to_noise"), AWKWARD[:2]),
        "layer_gradient_norm_squared": AWKWARD[2:4],
        **{"b_noise": 1 / 9, "b_noise_low": 0.0, "b_noise_high": 1e300},
        **{"trace_hessian_covariance": 0.1, "trace_hessian_covariance_stderr": 0.2},
        **{"gradient_curvature": -0.5, "gradient_curvature_stderr": 0.25, "eps_max": 2.0, "eps_opt": 1.5},
        **{"num_probes": 30, "self_check": {"verdict": "agrees"}},
        **{"batch_size": 16, "learning_rate": 0.05, "momentum": 0.9, "train_samples": 1437},
        **{"temperature": 44.9, "temperature_exact": 44.4},
        **{"eigenvalues": AWKWARD[:3], "rank": 2, "spectrum_method": "gram"},
    }
    return as_it_is(GradientNoise(**(fields | changed)))


def batch_errors(tag=0, **changed):
    columns = ("with_replacement", "with_replacement_stderr", "without_replacement", "without_replacement_stderr")
    fields = {
        "status": Status.COMPLETE,
        "settings": {"kind": "batch-errors", "tag": tag},
        "batch_size": np.array([1, 2, 7]),
        **dict.fromkeys((*columns, "predicted", "predicted_finite"), AWKWARD[-3:]),
        **{"trace_covariance": 1 / 7, "mean_gradient_norm_squared": 0.0, "draws": 20},
        **{"num_params": 3, "num_samples": 7, "loss": 0.5, "largest_part": 0.5},
    }
    return as_it_is(BatchErrors(**(fields | changed)))


def trade_off(tag=0, **changed):
    rows = ("updates", "samples", "updates_low", "updates_high", "learning_rate")
    ends = [f"{name}{end}" for name in ("s_min", "e_min", "b_crit") for end in ("", "_low", "_high")]
    fields = {
        "status": Status.COMPLETE,
        "settings": {"kind": "trade-off", "tag": tag},
        "target": 0.01,
        "batch_size": np.array([16, 64]),
        **dict.fromkeys(rows, AWKWARD[1:3]),
        **dict.fromkeys(("num_seeds", "num_missed", "regime"), np.array([1, 2])),
        **dict.fromkeys(ends, 1 / 3),
        **{"level": 0.95, "misfit": 5e-324, "b_simple": 12.0, "b_simple_low": 1.0, "b_simple_high": 100.0},
    }
    return as_it_is(TradeOff(**(fields | changed)))


def batch_sizes(tag=0, **changed):
    rows = ("samples_per_second", "samples_per_second_low", "samples_per_second_high", "peak_memory", "efficiency")
    rows = (*rows, "updates", "samples", "seconds", "cost", "learning_rate_linear", "learning_rate_sqrt")
    fields = {
        "status": Status.COMPLETE,
        "settings": {"kind": "batch-size", "tag": tag},
        "batch_size": np.array([1, 2, 4]),
        **dict.fromkeys(rows, AWKWARD[:3]),
        **{"knee": 2, "critical": 1 / 3, "critical_low": 0.1, "critical_high": np.inf},
        **{"fastest": 4, "cheapest": 1, "efficient": 2, "stopped_by": "data", "train_samples": 4},
        **{"base_batch_size": 2, "base_learning_rate": 0.1, "price_per_hour": 2.5, "device": "cpu"},
        **{"noise": {"at": "init"}, "advice": "Take é."},
    }
    return as_it_is(BatchSizes(**(fields | changed)))


def comparison(tag=0, **changed):
    of_labels, of_pairs = np.array([[1 / 3, -0.0], [np.nan, 5e-324]]), np.array([[np.nan], [-np.inf]])
    names = ("train-loss", "trace")
    fields = {
        "status": Status.COMPLETE,
        "settings": {"kind": "comparison", "tag": tag},
        **{"labels": ("small", "é"), "measures": names, "titles": names, "units": ("loss", "1")},
        **{"sections": ("a", "b"), "scaling": ("function", "raw"), "over": ("subsets", "none")},
        **dict.fromkeys(("value", "low", "high", "full", "full_stderr"), of_labels),
        "draws": np.stack([of_labels, of_labels], axis=2),
        **{"first": np.array([0]), "second": np.array([1])},
        **dict.fromkeys(("difference", "difference_low", "difference_high", "resolution", "p_value"), of_pairs),
        "verdict": np.array([[0], [3]], dtype=np.uint8),
        **{"reasons": {"trace": {"small vs é": "why"}}, "relations": ("barrier",), "relation_titles": ("barrier",)},
        **{
            "relation_units": ("loss",),
            "layers": {"cosine": {"small vs é": {"0.weight": 0.5}}},
            "relation_reasons": {"cka": {}},
        },
        **dict.fromkeys(("relation_value", "relation_low", "relation_high"), np.array([[1e300]])),
        **{"warnings": ("one", "two"), "level": 0.95, "method": "max-t", "exchanges": 70, "exact": True},
        **{"num_subsets": 2, "num_samples": 10, "num_all_samples": 20, "groups": {"small": ["a"], "é": ["b"]}},
        **{"num_test_samples": 5, "num_all_test_samples": 11, "matched": {"small vs é": "1 pair"}},
        **{"differing": {"batch_size": {"small": [16], "é": [256]}}, "alpha": AWKWARD[:2]},
        **{"slice_loss": of_labels, "t": AWKWARD[-2:]},
        **dict.fromkeys(("between_loss", "aligned_loss"), of_labels[:1]),
        "cells": {"small": {"all": {"trace": [1.5, None, None, 0.0]}}},
    }
    return as_it_is(Comparison(**(fields | changed)))


def correlation(tag=0, **changed):
    runs, table = np.array([1 / 3, np.nan, 5e-324]), np.array([[0.5, np.nan, -0.0], [1 / 3, np.inf, 2.0]])
    fields = {
        "status": Status.COMPLETE,
        "settings": {"kind": "correlation", "tag": tag},
        "names": ("b16", "b16, é", "b64"),
        "run_status": np.array([1, 2, 1], dtype=np.uint8),
        "batch_size": np.array([16, 16, 64]),
        "seed": np.array([0, 1, -1]),
        "setting": np.array([0, 0, 1]),
        "hyperparameters": {"batch_size": ["16", "16", "64"], "lr": ["0.1", None, "0.2"]},
        **dict.fromkeys(("train_loss", "train_accuracy", "test_loss", "test_accuracy"), runs),
        "measures": ("trace", "train-loss"),
        "units": ("loss/param^2", "loss"),
        "scaling": ("raw", "function"),
        "value": table,
        "stderr": -table,
        **dict.fromkeys(("tau", "low", "high", "granulated"), table[:, :2]),
        "num_runs": np.array([2, 3]),
        "num_settings": np.array([2, 2]),
        "psi": np.stack([table[:, :2], table[:, 1:]], axis=2),
        "notes": {"trace": {"b16": "not converged, é"}},
        "reasons": {"trace": {"gap": "not resolved"}},
        "num_samples": 1437,
        "level": 0.95,
    }
    return as_it_is(Correlation(**(fields | changed)))


MAKERS = {
    "batch-errors": batch_errors,
    "batch-size": batch_sizes,
    "comparison": comparison,
    "correlation": correlation,
    "noise": gradient_noise,
    "trade-off": trade_off,
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
OF_THE_SCALE = ("b_simple", "b_simple_low", "b_simple_high")
NONES = {
    "batch-errors": ("largest_part",),
    "batch-size": (
        "cost",
        "critical",
        "critical_low",
        "critical_high",
        "fastest",
        "cheapest",
        "efficient",
        "price_per_hour",
    ),
    "comparison": (
        *("draws", "p_value", "num_test_samples", "num_all_test_samples"),
        "exchanges",
        "exact",
        "alpha",
        "slice_loss",
        "t",
        "between_loss",
        "aligned_loss",
    ),
    "correlation": ("psi", "granulated"),
    "noise": (
        *("trace_covariance_stderr", "gradient_norm_squared_stderr"),
        *("b_simple", "b_simple_high", "effective_rank", "cosine", "b_noise", "b_noise_low", "b_noise_high"),
        *("trace_hessian_covariance", "trace_hessian_covariance_stderr", "gradient_curvature"),
        *("gradient_curvature_stderr", "eps_max", "eps_opt", "num_probes", "self_check", "batch_size"),
        *("learning_rate", "momentum", "train_samples", "temperature", "temperature_exact", "eigenvalues"),
        *("rank", "spectrum_method"),
    ),
    "trade-off": (
        *(f"{name}{end}" for name in ("s_min", "e_min", "b_crit") for end in ("", "_low", "_high")),
        *("misfit", *OF_THE_SCALE),
    ),
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
