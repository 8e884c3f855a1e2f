"""Figures: files of each kind, embedded fonts, masked points, one scale for compared minima."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from kinds import correlation, sharpness_series, sweep, tracked, updates
from landscape_cli import figure

from landscape import draw as drawing
from landscape.results import KINDS, Density, Eigenpairs, Line, Plane, Sharpness, Status, Trace, Training
from landscape.store import Store
from landscape.studies.figures import draw_store

STATUS = {"status": Status.COMPLETE}


def settings(kind, name):
    return {"settings": {"kind": kind, "name": name}}


def plane(name, scale=1.0, hole=False):
    axis = np.linspace(-1, 1, 7)
    loss = scale * (1e-4 + axis[:, None] ** 2 + 2 * axis[None, :5] ** 2)
    status = np.ones(loss.shape, dtype=np.uint8)
    if hole:
        loss[0, 0], status[0, 0] = np.inf, 2
    return Plane(
        **STATUS, **settings("plane", name), alpha=axis, beta=axis[:5], loss=loss, loss_stderr=loss / 10,
        point_status=status, unit_lengths=np.ones(2), cosine=0.0, split="train",
    )  # fmt: skip


def line(name):
    alpha = np.linspace(-1, 2, 13)
    loss = 1e-3 + alpha**4
    loss[-1] = np.nan
    status = np.where(np.isnan(loss), 2, 1).astype(np.uint8)
    return Line(
        **STATUS, **settings("line", name), alpha=alpha, loss=loss, loss_stderr=loss / 10, accuracy=1 / (1 + alpha**2),
        test_loss=loss * 2, test_accuracy=0.9 / (1 + alpha**2), point_status=status, unit_length=3.0, barrier=0.5,
        split="train", bn="eval", direction={"kind": "between", "ends": ["a", "b"]},
    )  # fmt: skip


def eigenpairs(name, values):
    return Eigenpairs(
        **STATUS, **settings("eigenpairs", name), eigenvalues=np.array(values), residuals=np.full(len(values), 1e-3),
        operator="hessian", which="largest", num_matvecs=9, num_params=50, num_samples=7, loss=0.1,
    )  # fmt: skip


def trace(name, layers=True):
    parts = {
        "layers": ("0.weight", "0.bias"),
        "layer_value": np.array([2.0, 0.5]),
        "layer_stderr": np.array([0.1, 0.1]),
    }
    return Trace(
        **STATUS, **settings("trace", name), value=2.5, stderr=0.1, method="hutchinson", operator="hessian",
        frobenius=1.5, frobenius_stderr=0.1, effective_rank=2.8, num_matvecs=30, num_probes=30, num_params=50,
        num_samples=7, loss=0.1, **(parts if layers else {}),
    )  # fmt: skip


def density(name, scale=1.0):
    nodes = scale * np.array([[1.0, 1e-3, -1e-4], [1.1, 2e-3, -2e-4]])
    return Density(
        **STATUS, **settings("density", name), nodes=nodes, weights=np.array([[0.1, 0.5, 0.4], [0.2, 0.4, 0.4]]),
        operator="ggn", trace=1.0, trace_stderr=0.1, bulk_edge=0.01 * scale, num_outliers=3.0, num_outliers_stderr=0.5,
        outlier_share=0.9, num_matvecs=6, num_params=50, num_samples=7, num_classes=3, loss=0.1,
    )  # fmt: skip


def training(name):
    rows = np.arange(5.0)
    return Training(
        **STATUS, **settings("training", name), epoch=rows, updates=rows * 10, train_loss=np.exp(-rows),
        train_accuracy=1 - np.exp(-rows - 1), test_loss=np.exp(-rows / 2), test_accuracy=1 - np.exp(-rows / 2 - 1),
        learning_rate=rows * 0 + 0.1, distance=rows, seconds=rows, initial_params=np.zeros(3),
    )  # fmt: skip


def sharpness(name, loss):
    return Sharpness(
        **STATUS, **settings("sharpness", name), measure="keskar", space="full", value=loss * 100, epsilon=1e-3,
        loss=loss, max_loss=2 * loss, iterations=10, num_evaluations=12, on_boundary=0.5, displaced_start=False,
        num_params=5, num_samples=7,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "r.h5")
    for label, result in [
        ("a", plane("p1")), ("b", plane("p2", 30.0, hole=True)), ("a--b", line("l")), ("a", eigenpairs("e1", [3, 1.0])),
        ("b", eigenpairs("e2", [1, -0.5])), ("a", training("t1")), ("b", training("t2")), ("a", sharpness("s1", 1e-3)),
        ("b", sharpness("s2", 1e-2)), ("a", trace("t3")), ("b", trace("t4", layers=False)), ("a", density("d1")),
        ("study", correlation()),
        ("none", sharpness_series()), ("run", sharpness_series(tag=1, against="epoch")),
        ("b", density("d2", 7.0)), ("none", sweep()), ("a", tracked()), ("b", tracked(tag=1)), ("a", updates()),
    ]:  # fmt: skip
        store.add(label, result)
    return store


def test_every_kind_is_drawn_as_pdf_and_png(store, tmp_path):
    before = plt.get_fignums()
    written = draw_store(store.path, tmp_path / "out")
    names = {path.name for path in written}
    expected = {"training", "eigenvalues", "trace", "density", "sharpness", "line-a--b", "plane", "surface"}
    expected |= {"sweep", "tracked-eigen", "updates", "series-warm-epochs-keskar", "series-epoch-keskar"}
    expected |= {"correlation-gap", "correlation-test-accuracy"}
    assert names == {f"{name}.{form}" for name in expected for form in ("pdf", "png")}
    for path in written:
        content = path.read_bytes()
        assert content.startswith(b"%PDF" if path.suffix == ".pdf" else b"\x89PNG")
        assert b"/Type3" not in content
    assert plt.get_fignums() == before


def test_the_same_results_give_the_same_bytes(store, tmp_path):
    first, second = (draw_store(store.path, tmp_path / name, kinds=("plane", "line")) for name in "xy")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_compared_planes_share_levels_over_the_finite_points(store):
    norm, levels = drawing.plane.common_scale([plane("p", 1.0), plane("q", 30.0, hole=True)])
    assert norm.vmin == pytest.approx(1e-4)
    assert norm.vmax == pytest.approx(30 * (1e-4 + 3), rel=0.4)
    assert np.isfinite(levels).all()


def test_draw_takes_any_result():
    several = (
        plane("p"),
        line("l"),
        eigenpairs("e", [1.0]),
        training("t"),
        sharpness("s", 0.1),
        trace("t"),
        density("d"),
        sweep(),
        tracked(),
        updates(),
        sharpness_series(),
        sharpness_series(against="batch-size"),
        sharpness_series(against="epoch"),
        correlation(),
    )
    for result in several:
        figure, axes = plt.subplots(layout="constrained")
        assert drawing.draw(result, axes) is axes
        figure.canvas.draw()
        plt.close(figure)
    with pytest.raises(TypeError):
        drawing.draw(3)


def test_every_kind_that_is_drawn_can_be_chosen():
    assert set(figure.KINDS) == set(KINDS) - {"eigenvectors"}
