"""Figures of lines and layers, the files of all slices: gaps where points are missing, legends name what differs."""

import subprocess
import sys
import warnings

import kinds
import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawn import AXIS, MARKED, RUNS, T, along, labelled, layers, legend, line, plane, some, texts

from landscape import draw as drawing
from landscape.draw import names
from landscape.store import Store
from landscape.studies.figures import draw_store
from landscape.studies.slice_figures import grouped, straight_of


@pytest.fixture
def axes():
    with drawing.style(), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield plt.subplots(figsize=(4, 3))[1]


# -- lines ----------------------------------------------------------------------------------------------------------


def test_a_barrier_is_an_arrow_from_the_chord_to_the_loss_with_its_interval(axes):
    drawing.draw_line(line(), axes)
    arrow = next(text for text in axes.texts if getattr(text, "arrow_patch", None) is not None)
    assert (tuple(arrow.xy), arrow.get_position()) == ((0.5, 0.5), (0.5, 1.5))
    assert "barrier 1\n[0.9, 1.1]" in texts(axes)
    assert axes.get_xlabel() == r"$\alpha$ from small to large, bn interpolate"


@pytest.mark.parametrize(
    "changed", [{"barrier": -0.1}, {"barrier": None}, {"barrier": np.nan}, {"loss": 0.5 + 1e-4 * T}, {"missing": [6]}]
)
def test_no_arrow_where_there_is_no_barrier_to_see(axes, changed):
    drawing.draw_line(line(**changed), axes)
    assert not any("barrier" in text for text in texts(axes))


def test_curvature_has_a_panel_below_and_hollow_points_where_it_is_rough():
    with drawing.style():
        figure, (above, below) = plt.subplots(2, 1, sharex=True)
        residual = np.where(T > 1.5, 0.2, 1e-3)
        drawing.draw_line(line(eigenvalue=10.0**T, eigenvalue_residual=residual, missing=[3]), above, below)
        assert below.get_yscale() == "log"
        assert (above.get_xlabel(), below.get_xlabel()) == ("", r"$\alpha$ from small to large, bn interpolate")
        rough = labelled(below, "residual > 5 %")
        assert rough.get_markerfacecolor() == "white"
        assert (np.isfinite(rough.get_ydata()) == (T > 1.5)).all()
        assert np.isnan(below.get_lines()[0].get_ydata()[3])
        figure.canvas.draw()


def test_labels_of_alpha_say_what_it_is():
    between = {"kind": "between", "ends": ["a", "b"]}
    assert names.alpha_label(along()) == r"$\alpha$ along the random direction (unit 12.5)"
    assert names.alpha_label(along("eigen", unit_length=np.nan)) == r"$\alpha$ along the eigenvector"
    assert names.alpha_label(line(direction=between | {"curve": "sincos"})) == r"$\alpha$ from a to b (sin/cos curve)"
    assert names.alpha_and_policy(line(direction=between, bn="recompute")).endswith("to b, bn recompute")
    assert names.alpha_and_policy(line(direction=between, bn="eval")).endswith("to b")
    assert names.alpha_label(line(direction=between | {"align": {"moved": 3}})).endswith("b (after permutation)")


def test_names_of_lines_say_only_what_differs():
    between = {"kind": "between", "ends": ["a", "b"]}
    assert names.line_names([line(bn="eval"), line(bn="recompute")]) == ["bn eval", "bn recompute"]
    curved, aligned = between | {"curve": "sincos"}, between | {"align": {"distance": 2.0}}
    assert names.line_names([line(), line(direction=curved)]) == ["linear", "sin/cos"]
    assert names.line_names([line(), line(direction=aligned)]) == ["as trained", "after permutation"]
    assert names.line_names([along(), along("eigen")]) == ["random direction", "eigenvector"]
    two_seeds = [along(direction={"kind": "random", "seed": seed}) for seed in (0, 1)]
    assert names.line_names(two_seeds) == ["seed 0", "seed 1"]
    assert names.line_names([line(split="train"), line(split="test", bn="eval")]) == [
        "bn interpolate, train",
        "bn eval, test",
    ]
    assert names.line_names([line(), line(alpha=2 * T)]) == [r"$\alpha$ in [-1, 2]", r"$\alpha$ in [-2, 4]"]
    assert names.line_names([line(), line()]) == ["#1", "#2"]


def test_lines_side_by_side_leave_gaps_with_a_cross_above(axes):
    with drawing.style():
        figure, panels = plt.subplots(1, 2)
        drawing.draw_lines([line(bn="eval"), line(1, bn="recompute", missing=[0, 12])], *panels)
        for panel, label in zip(panels, ("bn recompute", "_child1"), strict=True):
            assert np.isnan(labelled(panel, label).get_ydata()[[0, 12]]).all()
            cross = next(f for f in panel.get_lines() if f.get_marker() == "x" and len(f.get_xdata()))
            assert cross.get_xdata().tolist() == [-1, 2]
            assert (cross.get_ydata() > 1).all()
            assert cross.get_color() == labelled(panel, label).get_color()
        assert legend(panels[0]) == ["bn eval", "bn recompute", "not finite"]
        figure.canvas.draw()


def test_directions_of_different_length_are_compared_by_distance(axes):
    drawing.draw_lines([along(), along("eigen", unit_length=1.0)], axes)
    assert axes.get_xlabel() == "distance from the centre"
    assert labelled(axes, "random direction").get_xdata()[-1] == 25.0


# -- layers ---------------------------------------------------------------------------------------------------------


def test_layers_have_a_panel_each_on_one_scale():
    with drawing.style():
        figure, axes = plt.subplots(2, 4, sharex=True, sharey=True)
        found = layers()
        found.point_status[1, 0], found.loss[1, 0] = 2, np.inf
        drawing.draw_layers(found, list(axes.flat))
        assert [panel.get_title() for panel in axes.flat[:2]] == ["layer0.conv\nunit 1", "layer1.conv\nunit 2"]
        assert [panel.axison for panel in axes.flat] == [True] * 6 + [False] * 2
        assert len({panel.get_ylim() for panel in axes.flat[:6]}) == 1
        assert np.isnan(labelled(axes.flat[1], "loss, train").get_ydata()[0])
        assert labelled(axes.flat[0], r"loss at $\alpha = 0$").get_ydata()[0] == 0.5
        assert any(patch.get_hatch() for patch in axes.flat[1].patches)
        assert legend(axes.flat[0])[1:] == ["loss, train", "loss, test"]
        figure.canvas.draw()


# -- files ----------------------------------------------------------------------------------------------------------


def entries(path, *results):
    store = Store(path)
    for label, result in results:
        store.add(label, result)
    return store.entries()


def test_planes_share_a_figure_only_with_their_like(tmp_path):
    alone = entries(tmp_path / "1.h5", ("a--b", plane(kind="minima")))
    assert list(grouped(alone)) == ["plane"]
    found = entries(
        tmp_path / "2.h5", ("a", plane(0, kind="eigen")), ("a", plane(1)), ("b", plane(2)),
        ("a", plane(3, alpha=AXIS * 2)), ("b", plane(4, kind="eigen", beta=AXIS[:7] / 2)), ("a", plane(5)),
    )  # fmt: skip
    groups = {name: list(members) for name, members in grouped(found).items()}
    assert groups == {
        "plane-eigen": ["a"],
        "plane": ["a, plane-2", "a, plane-4", "b"],
        "plane-random": ["a"],
        "plane-eigen-2": ["b"],
    }


def test_a_path_takes_the_straight_line_between_its_minima(tmp_path):
    between = {"kind": "between", "ends": ["a", "b"]}
    found = entries(
        tmp_path / "r.h5", ("a--b", line(0, direction=between | {"align": {"moved": 1}})), ("a--b", kinds.path()),
        ("a--b", line(1, direction=between | {"curve": "sincos"})), ("a--b", line(2, direction=between)),
        ("a--b", line(3, direction=between, bn="recompute")), ("c--d", line(4)), ("c--d", kinds.path(1)),
    )  # fmt: skip
    by_label = {entry.label: entry for entry in found if entry.result.kind == "path"}
    straight = straight_of(found, by_label["a--b"])
    assert straight.settings["tag"] == 3
    assert straight_of([by_label["a--b"]], by_label["a--b"]) is None


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "r.h5"
    holes = some(2, (slice(0, 2), slice(0, 2)))
    entries(
        path, ("a--b", line(0, eigenvalue=10.0**T, eigenvalue_residual=T / 10 + 0.1)), ("a--b", layers()),
        ("a--b", line(1, missing=[11, 12], bn="eval")), ("a", along(tag=2)), ("a--b", kinds.path()),
        ("a", plane(0, status=holes)), ("b", plane(1, status=some(3, (slice(1, None, 2), slice(None))))),
        ("a--b", plane(2, kind="minima", **MARKED)), ("a", plane(3, kind="trajectory", **RUNS)),
    )  # fmt: skip
    return path


def test_each_slice_has_its_file_and_the_same_bytes_again_in_a_process_without_torch(store, tmp_path):
    first = draw_store(store, tmp_path / "x")
    expected = {"line-a--b", "line-2-a--b", "lines-a--b", "line-a", "layer-lines-a--b", "path-a--b"}
    expected |= {f"{form}{kind}" for form in ("plane", "surface") for kind in ("", "-minima", "-trajectory")}
    assert {path.stem for path in first} == expected
    assert not any(b"/Type3" in path.read_bytes() for path in first)
    code = (
        f"from landscape.studies.figures import draw_store; draw_store({str(store)!r}, {str(tmp_path / 'y')!r}); "
        "import sys; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert [path.read_bytes() for path in first] == [(tmp_path / "y" / path.name).read_bytes() for path in first]


@pytest.mark.parametrize("name", ["line", "layer-lines", "path", "plane"])
def test_draw_takes_slices_with_numbers_that_are_hard_to_draw(name, axes):
    nothing = dict.fromkeys(kinds.NONES[name])
    for changed in ({}, nothing):
        drawing.draw(kinds.MAKERS[name](**changed), axes, label="net")
        axes.figure.canvas.draw()
