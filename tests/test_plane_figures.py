"""Figures of planes: missing points look missing, marks and runs lie where they are, lengths are true in the params."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawn import AXIS, MARKED, RUNS, filled, hatched, labelled, legend, plane, some, texts
from mpl_toolkits.mplot3d import Axes3D

from landscape import draw as drawing
from landscape.draw import marks
from landscape.draw import plane as planes


@pytest.fixture
def axes():
    with drawing.style(), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield plt.subplots(figsize=(4, 3))[1]


def test_missing_points_are_hatched_and_not_filled_and_those_to_do_are_blank(axes):
    status = some(2, (slice(0, 2), slice(0, 2)))
    status[7:, 5:] = 0
    drawing.draw_plane(plane(status=status), axes)
    assert (planes.shown(plane(status=status)).mask == (status != 1)).all()
    inside = [(AXIS[0] + 0.01, AXIS[0] + 0.01), (AXIS[1] - 0.01, AXIS[1] - 0.01)]
    hatch, fill = hatched(axes), filled(axes).get_paths()
    for point in inside:
        assert any(path.contains_point(point) for path in hatch)
        assert not any(path.contains_point(point) for path in fill)
    to_do = (AXIS[8] - 0.01, AXIS[6] - 0.01)
    assert not any(path.contains_point(to_do) for path in (*hatch, *fill))
    assert any(path.contains_point((0.01, 0.01)) for path in fill)


def test_interpolated_points_are_filled_and_the_evaluated_ones_dotted(axes):
    status = some(3, (slice(1, None, 2), slice(None)))
    found = plane(status=status, tolerance=0.01, interpolation_error=0.0042)
    drawing.draw_plane(found, axes)
    assert not planes.shown(found).mask.any()
    dots = next(f for f in axes.get_lines() if f.get_marker() == marks.EVALUATED["marker"])
    assert len(dots.get_xdata()) == (status == 1).sum() == 35
    title = planes.plane_title(found, "net")
    assert title == "net\n35 of 63 points evaluated (dots)\n" + r"error $\approx$ 0.42 % of the range (estimate)"


def test_marks_are_named_hollow_off_the_plane_and_take_the_place_of_the_star(axes):
    drawing.draw_plane(plane(**MARKED), axes)
    for index, name in enumerate(MARKED["marks"]):
        x, y = labelled(axes, name).get_xydata()[0]
        assert (x, y) == (MARKED["mark_alpha"][index], MARKED["mark_beta"][index])
        assert labelled(axes, name).get_markerfacecolor() == ("none" if name == "other" else "white")
    assert {"small", "large", "other (+12.3 off the plane)"} <= {text.replace("\n", " ") for text in texts(axes)}
    assert not any(f.get_marker() == "*" for f in axes.get_lines())
    beside = next(text for text in axes.texts if text.get_text() == "small")
    axes.figure.canvas.draw()
    point = axes.transData.transform((0, 0))
    assert not beside.get_window_extent().contains(*point)


def test_a_plane_without_a_mark_at_its_centre_has_the_star(axes):
    drawing.draw_plane(plane(**MARKED | {"mark_alpha": np.array([0.1, 0.5, -0.5])}), axes)
    assert any(f.get_marker() == "*" for f in axes.get_lines())


def test_trajectories_are_drawn_with_their_ends_and_their_share_off_the_plane(axes):
    figure = axes.figure
    figure.clear()
    drawing.draw_planes({"net": plane(**RUNS | MARKED)}, figure)
    above, below = figure.axes[:2]
    chosen = np.array(RUNS["trajectory"]) == "a"
    assert (labelled(above, "a").get_xdata() == RUNS["trajectory_alpha"][chosen]).all()
    assert (labelled(above, "b").get_ydata() == RUNS["trajectory_beta"][~chosen]).all()
    share = labelled(below, "a").get_ydata()
    assert share[:2].tolist() == [0.5, 0.25]
    assert np.isnan(share[2])  # the centre itself
    assert above.get_xlabel() == r"$\alpha$ (unit 2.5)" + "\n71 % of variance"
    assert legend(above) == ["a", "b", "first point", "last point"]
    figure.canvas.draw()


def test_marks_and_trajectories_outside_the_range_are_shown(axes):
    drawing.draw_plane(plane(**MARKED | {"mark_alpha": np.array([0.0, 3.0, -0.5])}), axes)
    assert axes.get_xlim()[0] == -1
    assert axes.get_xlim()[1] > 3


@pytest.mark.parametrize(
    ("lengths", "aspect"), [([2.0, 3.0], 1.5), ([1.0, 9.0], "auto"), ([np.nan, 2.0], "auto"), ([0.0, 1.0], "auto")]
)
def test_axes_are_isometric_in_the_params_unless_that_is_too_elongated(axes, lengths, aspect):
    drawing.draw_plane(plane(unit_lengths=np.array(lengths)), axes)
    assert axes.get_aspect() == aspect
    assert ("unit" in axes.get_xlabel()) == np.isfinite(lengths[0])


def test_a_plane_without_a_finite_point_is_all_hatched(axes):
    drawing.draw_plane(plane(status=some(2, slice(None))), axes)
    assert any(path.contains_point((0.2, 0.2)) for path in hatched(axes))


def test_surfaces_have_interpolated_points_and_holes_where_points_are_missing(axes, monkeypatch):
    figure, heights, plot = axes.figure, [], Axes3D.plot_surface
    monkeypatch.setattr(
        Axes3D, "plot_surface", lambda self, x, y, z, **o: heights.append(z) or plot(self, x, y, z, **o)
    )
    figure.clear()
    status = some(3, (slice(1, None, 2), slice(None)))
    status[0, 0] = 2
    drawing.draw_surfaces({"net": plane(status=status)}, figure)
    figure.canvas.draw()
    assert (np.isnan(heights[0]) == (status == 2)).all()
