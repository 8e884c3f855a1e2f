"""Comparing minima: intervals against closed forms and by coverage, verdicts, the sheet's texts, the page."""

import io
import itertools
import json
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.stats
from matplotlib.text import Text

from landscape import sheet
from landscape.comparison import (
    Footing,
    Interval,
    Measured,
    Relation,
    all_together,
    compared,
    holm,
    max_t,
    mean_interval,
    paired_difference,
    unpaired_difference,
    welch,
)
from landscape.draw.comparison import comparison_page, draw_comparison
from landscape.draw.style import style
from landscape.errors import InputError
from landscape.results.comparison import FIRST, NOT_COMPARABLE, NOT_RESOLVED, SECOND

RUNS = 200
NAN = math.nan


def drawn(seed=0):
    return np.random.default_rng(seed)


def share(covered):
    return np.mean(list(covered))


def holds(interval, truth):
    return interval.low <= truth <= interval.high


# -- intervals and tests, one by one


def test_intervals_are_those_of_scipy():
    first, second = drawn().normal(3, 1, (2, 6))
    expected = scipy.stats.ttest_1samp(first, 0).confidence_interval(0.9)
    assert mean_interval(first, 0.9) == Interval(first.mean(), *map(pytest.approx, expected))
    paired, reference = paired_difference(first, second), scipy.stats.ttest_rel(first, second).confidence_interval()
    assert (paired.low, paired.high) == (pytest.approx(reference.low), pytest.approx(reference.high))
    longer = np.append(second * 4, [1.0, 2.0])
    found, p = welch(first, longer)
    reference = scipy.stats.ttest_ind(first, longer, equal_var=False)
    assert p == pytest.approx(reference.pvalue)
    assert (found.low, found.high) == (
        pytest.approx(reference.confidence_interval().low),
        pytest.approx(reference.confidence_interval().high),
    )
    known = unpaired_difference((5.0, 1.0), (0.3, 0.4))
    assert (known.low, known.high) == (pytest.approx(4 - 1.959964 * 0.5), pytest.approx(4 + 1.959964 * 0.5))


def test_too_few_draws_have_no_interval_and_what_is_not_finite_no_value():
    one = mean_interval(np.array([2.0]))
    assert one.value == 2
    assert math.isnan(one.low)
    assert math.isnan(mean_interval(np.array([1.0, NAN])).value)
    assert mean_interval(np.full(5, 0.1)) == Interval(0.1, 0.1, 0.1)
    assert math.isnan(welch(np.ones(1), np.ones(3))[1])
    with pytest.raises(InputError, match="as many draws"):
        paired_difference(np.ones(3), np.ones(4))
    with pytest.raises(InputError, match="2 runs"):
        max_t(np.ones((2, 1)), np.ones((2, 3)))


@pytest.mark.parametrize("subsets", [4, 6, 10])
@pytest.mark.parametrize("law", ["normal", "lognormal"])
def test_intervals_over_subsets_cover(subsets, law):
    """What both minima share of a subset is most of its spread; the differences are skewed under `lognormal`."""
    generator, means, differences = drawn(subsets), [], []
    for _ in range(RUNS):
        common = generator.normal(0, 1, subsets)
        own = getattr(generator, law)(0, 0.4, (2, subsets))
        centre = 0.0 if law == "normal" else math.exp(0.08)
        first, second = 5 + common + 2 * own[0], 3 + common + own[1]
        means.append(holds(mean_interval(first), 5 + 2 * centre))
        differences.append(holds(paired_difference(first, second), 2 + centre))
    assert 0.9 <= share(means) <= 0.98
    assert 0.9 <= share(differences) <= 0.98


def test_intervals_over_probes_cover():
    generator, covered = drawn(1), []
    for _ in range(RUNS):
        first, second = generator.normal(10, 2, 12), generator.normal(7, 6, 12)
        errors = (first.std(ddof=1) / 12**0.5, second.std(ddof=1) / 12**0.5)
        found = unpaired_difference((first.mean(), second.mean()), errors, freedom=(11, 11))
        covered.append(holds(found, 3))
    assert 0.9 <= share(covered) <= 0.98


@pytest.mark.parametrize(("sizes", "spread"), [((4, 4), 1.0), ((5, 4), 2.0), ((6, 6), 3.0)])
def test_intervals_over_seeds_cover(sizes, spread):
    generator = drawn(sizes[0])
    covered = [
        holds(welch(generator.normal(2, 1, sizes[0]), generator.normal(1, spread, sizes[1]))[0], 1) for _ in range(RUNS)
    ]
    assert 0.9 <= share(covered) <= 0.98


def test_max_t_of_one_measure_is_the_permutation_test_of_welchs_t():
    first, second = drawn(3).normal(0, 1, (2, 5))
    first = first + 0.9

    def t(x, y, axis):
        return scipy.stats.ttest_ind(x, y, axis=axis, equal_var=False).statistic

    reference = scipy.stats.permutation_test((first, second), t, n_resamples=np.inf, vectorized=True)
    found = max_t(first[None], second[None])
    assert found.p[0] == pytest.approx(reference.pvalue)
    assert (found.exchanges, found.exact) == (252, True)


def test_max_t_adjusts_in_steps_and_never_below_one_measure_alone():
    values = drawn(4).normal(0, 1, (6, 10))
    values[0, :5] += 40
    values[1, :5] += 3
    found = max_t(values[:, :5], values[:, 5:])
    alone = np.array([max_t(row[None, :5], row[None, 5:]).p[0] for row in values])
    assert found.p[0] == 2 / 252
    assert (found.p >= alone - 1e-12).all()
    scaled = max_t(values[:, :5] * 1e-30, values[:, 5:] * 1e-30)
    np.testing.assert_allclose(scaled.p, found.p)
    # a measure that all runs agree on, and one that a run lacks
    values[2], values[3, 7] = 0.1, NAN
    changed = max_t(values[:, :5], values[:, 5:])
    assert changed.p[2] == 1
    assert math.isnan(changed.p[3])


def test_holm_multiplies_by_what_is_left():
    found = holm(np.array([0.02, NAN, 0.01, 0.6, 0.5]))
    np.testing.assert_allclose(found, [0.06, NAN, 0.04, 1.0, 1.0])
    values = drawn(7).normal(0, 1, (5, 8)) * np.where(np.arange(8) < 4, 5, 1)
    groups = values[:, :4], values[:, 4:]
    alone = np.array([welch(*rows)[1] for rows in zip(*groups, strict=True)])
    assert (all_together(*groups).p == np.maximum(max_t(*groups).p, holm(alone))).all()


def test_max_t_of_many_runs_draws_exchanges_by_its_seed():
    values = drawn(5).normal(0, 1, (3, 24))
    values[0, :12] += 3
    found, again, other = (max_t(values[:, :12], values[:, 12:], seed) for seed in (1, 1, 2))
    assert (found.exchanges, found.exact) == (20_000, False)
    assert (found.p == again.p).all()
    assert (found.p != other.p).any()
    assert 1 / 20_000 <= found.p[0] < 0.001


@pytest.mark.parametrize(("sizes", "spread"), [((4, 4), 1.0), ((5, 5), 1.0), ((5, 5), 3.0), ((6, 4), 1.0)])
def test_verdicts_over_seeds_err_on_any_of_20_measures_in_5_percent_at_most(sizes, spread):
    """400 runs where no measure differs, half of their spread shared; 3 standard errors above .05."""
    generator, wrong = drawn(sum(sizes)), []
    for _ in range(400):
        values = generator.normal(0, 1, (20, sum(sizes))) + generator.normal(0, 1, sum(sizes))
        values[:, : sizes[0]] *= spread
        groups = values[:, : sizes[0]], values[:, sizes[0] :]
        test = all_together if spread > 1 else max_t  # which alone asks for equal spreads
        wrong.append((test(*groups).p <= 0.05).any())
    assert share(wrong) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_verdicts_over_seeds_find_what_differs_much():
    """Of 20 measures one differs by 8 standard deviations between runs, and five and five seeds tell in most runs."""
    generator, found = drawn(6), []
    for _ in range(100):
        values = generator.normal(0, 1, (20, 10))
        values[3, :5] += 8
        found.append(all_together(values[:, :5], values[:, 5:]).p[3] <= 0.05)
    assert share(found) > 0.8


# -- verdicts


LABELS = ("small", "large")


def measured(name, first, second, over="subsets", **more):
    return Measured(name=name, over=over, draws=[np.asarray(first, float), np.asarray(second, float)], **more)


def made(*rows, labels=LABELS, relations=(), **more):
    given = {"settings": {"kind": "comparison"}, "num_samples": 200, "num_all_samples": 1437, "num_subsets": 4}
    found = compared(labels, rows, relations, **(given | more))
    assert found.problems() == []
    return found


WAVE = np.array([1.0, -1.0, 0.5, -0.5])


def test_a_minimum_against_itself_or_a_copy_is_not_resolved():
    draws = 5 + WAVE
    for copy in (draws, draws * (1 + 1e-6), draws + 1e-7 * WAVE):
        found = made(
            measured("trace", draws, copy),
            Measured(name="norm", over="none", value=[copy[0], draws[0]]),
            Measured(name="probed", over="probes", value=[copy[0], draws[0]], error=[0.0, 0.0]),
        )
        assert (found.verdict == NOT_RESOLVED).all()
        assert found.reason(0, 0) == "equal within rounding"
        groups = {label: [str(i) for i in range(4)] for label in LABELS}
        assert (made(measured("trace", draws, copy, "seeds"), groups=groups).verdict == NOT_RESOLVED).all()


def test_verdicts_follow_from_intervals():
    found = made(
        measured("clear", 5 + WAVE, 9 + WAVE * 1.1),
        measured("unclear", 5 + WAVE, 5.1 - WAVE),
        measured("coarse", 5 + WAVE, 5.01 + WAVE * 1.001, resolution=0.1),
        measured("alike", [0.5] * 4, [0.51] * 4),
        Measured(name="exact", over="none", value=[3.0, 2.0]),
        Measured(name="probed", over="probes", value=[3.0, 2.0], error=[0.1, 0.1], freedom=[9, 9]),
        measured("missing", 5 + WAVE, [NAN] * 4, reasons={"large": "did not converge"}),
        measured("single", [5.0], [9.0]),
        level=0.95,
    )
    codes = [SECOND, NOT_RESOLVED, NOT_RESOLVED, NOT_RESOLVED, FIRST, FIRST, NOT_COMPARABLE, 1]
    assert found.verdict[:, 0].tolist() == codes
    assert found.verdict_text(0, 0) == "large higher"
    assert found.verdict_text(4, 0) == "small higher"
    assert found.reason(1, 0) == "the interval of the difference holds zero"
    assert found.reason(2, 0) == "equal within what the solver resolves"
    assert "no spread" in found.reason(3, 0)
    assert found.reason(6, 0) == "large: did not converge"
    assert found.reason(7, 0) == "no interval: fewer than two subsets"
    assert found.value[6, 0] == 5  # what is known of the other label stays


def test_over_seeds_all_measures_count_together_and_few_seeds_are_said():
    generator = drawn(8)
    rows = [measured("one", 5 + WAVE, 8 + WAVE * 0.9, "seeds")]
    rows += [measured(f"m{i}", *generator.normal(0, 1, (2, 4)), "seeds") for i in range(20)]
    groups = {label: [f"{label}-{i}" for i in range(4)] for label in LABELS}
    together, alone = made(*rows, groups=groups), made(rows[0], groups=groups)
    assert alone.verdict_text(0, 0) == "large higher"
    assert (alone.method, alone.exchanges, alone.exact) == ("max-t", 70, True)
    assert together.verdict_text(0, 0) == "not resolved"
    assert "over all measures together" in together.reason(0, 0)
    few = made(measured("one", WAVE[:3], 8 + WAVE, "seeds"), groups={"small": ["a"] * 3, "large": ["b"] * 4})
    assert few.method == "welch"
    assert few.verdict_text(0, 0) == "large higher"
    assert any("Fewer than 4 seeds in a group (small 3)" in line for line in sheet.notes(few))
    with pytest.raises(InputError, match="whole runs"):
        made(rows[0], measured("two", np.ones(5), np.ones(5), "seeds"), groups=groups)


def test_three_minima_are_compared_by_pair():
    draws = [5 + WAVE, 9 + WAVE * 1.1, 5 - WAVE]
    found = made(Measured(name="trace", over="subsets", draws=draws), labels=("a", "b", "c"))
    assert found.pairs == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [found.verdict_text(0, k) for k in range(3)] == ["b higher", "not resolved", "b higher"]
    as_json = sheet.as_json(found)["measures"][0]
    assert as_json["verdict"]["a vs b"] == "b higher"
    assert as_json["difference"]["b vs c"]["value"] == pytest.approx(4)


@pytest.mark.parametrize("labels", [("one",), ("one", "one")])
def test_labels_must_differ(labels):
    with pytest.raises(InputError, match="2 labels that differ"):
        made(Measured(name="norm", over="none", value=[1.0] * len(labels)), labels=labels)


def test_measures_must_bring_what_their_intervals_are_over():
    for wrong in (
        Measured(name="norm", over="subsets", value=[1.0, 2.0]),
        Measured(name="norm", over="elsewhere", value=[1.0, 2.0]),
        Measured(name="norm", over="none", value=[1.0]),
    ):
        with pytest.raises(InputError, match="norm"):
            made(wrong)


def test_contradictions_are_told():
    found = made(measured("trace", 5 + WAVE, 9 + WAVE * 1.1))
    for wrong, told in (
        ({"verdict": np.array([[FIRST]], np.uint8)}, "counts as higher"),
        ({"low": found.high + 1}, "outside its interval"),
        ({"verdict": np.array([[NOT_COMPARABLE]], np.uint8)}, "not comparable"),
        ({"difference": found.difference * NAN}, "missing"),
        ({"titles": ()}, "not equally many"),
        ({"second": np.array([0])}, "not those of the labels"),
    ):
        assert told in " ".join(replace(found, **wrong).problems())


EVEN = Footing(weight_decay=0.0, architecture="mlp", num_params=9, loss=1.0, gradient_norm=1e-3, curvature=10.0)


def test_what_is_not_on_equal_footing_is_told():
    rows = [
        measured("train-loss", 5 + WAVE, 9 + WAVE * 1.1),
        measured("trace", 5 + WAVE, 9 + WAVE * 1.1, scaling="raw"),
    ]
    large = replace(EVEN, weight_decay=1e-4, architecture="mlp wide", num_params=12, gradient_norm=2.0, loss=1.1)
    lines = made(*rows, footing={"small": [EVEN], "large": [large]}).warnings
    expected = (
        "weight decay (l2) differs in training (small 0, large 0.0001)",
        "architectures differ (params: small 9, large 12)",
        "large is not at a minimum: gradient norm 2, and a step along the gradient would take 18% of the loss away "
        "(it was trained with weight decay 0.0001, which --l2 0.0001 counts)",
        "train losses differ (small 1, large 1.1)",
        "a rescaling of layers that changes no output gives raw measures any value (Dinh et al. 2017): trace;",
    )
    assert len(lines) == len(expected)
    assert all(line.startswith(words) for words, line in zip(expected, lines, strict=True))
    assert made(measured("train-loss", 5 + WAVE, 5 + WAVE), footing=dict.fromkeys(LABELS, [EVEN])).warnings == ()


def test_the_share_of_the_loss_above_the_minimum_is_that_of_a_quadratic():
    # L = 1 + l w^2 / 2 at w: one step along the gradient takes l w^2 / 2 away, all that it lies above the minimum
    curvature, w = 3.0, 0.2
    at = replace(EVEN, loss=1 + curvature * w**2 / 2, gradient_norm=curvature * w, curvature=curvature)
    assert at.decrease == pytest.approx(at.loss - 1)
    assert replace(at, curvature=-1.0).share == math.inf
    assert replace(at, gradient_norm=0.0, curvature=NAN, loss=0.0).share == 0


def warned(*rows, **footing):
    return made(*rows, footing=dict.fromkeys(LABELS, [EVEN]) | footing).warnings


def test_saddles_and_unconverged_runs_of_a_group_are_told():
    row = Measured(name="norm", over="none", value=[1.0, 2.0])
    away, bent = replace(EVEN, curvature=-1.0), replace(EVEN, largest=2.0, smallest=-0.5)
    (line,) = warned(row, small=[EVEN, away, EVEN])
    assert line.startswith("1 of 3 runs of small are not at a minimum: gradient norm 0.001, and the loss curves down")
    assert warned(row, small=[bent]) == ("small is no minimum: smallest eigenvalue -0.5, largest 2",)
    (line,) = warned(row, small=[bent, EVEN])
    assert line.startswith("1 of 2 runs of small are no minimum")
    assert warned(row, small=[replace(bent, smallest=-0.1)]) == ()
    assert warned(row, large=[replace(EVEN, loss=NAN)]) == ("large: the train loss is not finite",)


def test_a_penalty_counts_in_the_loss_that_a_step_takes_away():
    row = Measured(name="norm", over="none", value=[1.0, 2.0])
    at = replace(EVEN, gradient_norm=1.0)  # the step takes .05
    assert "5%" in warned(row, small=[at])[0]
    assert warned(row, small=[replace(at, penalty=9.0)]) == ()


def test_train_losses_that_differ_much_are_told_though_nobody_asked_or_it_is_not_resolved():
    row, far = Measured(name="norm", over="none", value=[1.0, 2.0]), [replace(EVEN, loss=3.0)]
    assert warned(row, large=far) == (
        "train losses differ (small 1, large 3): sharpness and curvature follow the train loss",
    )
    wide = measured("train-loss", 1 + 9 * WAVE, 3 - 9 * WAVE)
    assert full_verdict(wide) == NOT_RESOLVED
    assert any("train losses differ" in line for line in warned(wide, large=far))
    assert warned(row, large=[replace(EVEN, loss=1.1)]) == ()


def full_verdict(row):
    return int(made(row).verdict[0, 0])


def test_values_that_are_not_resolved_tell_nothing_apart():
    row = measured("noise-scale", 5 + WAVE, 90 + WAVE * 1.1)
    assert full_verdict(row) == SECOND
    open_ended = replace(row, unresolved={"large": "not resolved: no upper end"})
    assert full_verdict(open_ended) == NOT_RESOLVED
    assert made(open_ended).reason(0, 0) == "large: not resolved: no upper end"


def test_a_whole_that_contradicts_its_subsets_is_told():
    row = replace(measured("trace", 5 + WAVE, 9 + WAVE * 1.1), value=[9.0, 5.0], error=[0.5, NAN])
    text = sheet.as_text(made(row))
    assert "On all samples at once small vs large come out in the other order: trace." in text
    assert "9.00 +- 0.98" in text


def test_labels_that_read_like_a_pair_are_refused():
    with pytest.raises(InputError, match="must not hold ' vs '"):
        made(Measured(name="norm", over="none", value=[1.0, 2.0]), labels=("a vs b", "c"))


def test_groups_of_one_run_have_no_verdicts_and_the_sheet_says_so():
    row = measured("norm", [1.0], [2.0], over="seeds")
    text = sheet.as_text(made(row, num_subsets=0, groups={"small": ["a"], "large": ["b"]}))
    assert "A group of one run has no spread over seeds (small 1, large 1)" in text
    assert "its intervals are over seeds" not in text
    assert "by chance" not in text


def test_one_function_at_other_params_is_told():
    same, other = 5 + WAVE, 9 + WAVE * 1.1
    rows = [measured("train-loss", same, same, scaling="function"), measured("trace", same, other, scaling="raw")]
    (line, _) = made(*rows, footing=dict.fromkeys(LABELS, [EVEN])).warnings
    assert line.startswith("small and large agree in every measure of the outputs to rounding")
    assert "trace" in line
    rows[0] = measured("train-loss", same, same * (1 + 1e-4), scaling="function")
    assert not any("agree" in line for line in made(*rows, footing=dict.fromkeys(LABELS, [EVEN])).warnings)


# -- the sheet and the page


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((12.345, 11.1, 13.59), "12.3 +- 1.2"),
        ((0.4305, 0.36, 0.51), "0.430 (0.360 to 0.510)"),
        ((1.2345e-5, 1.1e-5, 1.369e-5), "(1.23 +- 0.13)e-5"),
        ((1.2345e-5, NAN, NAN), "1.234e-5"),
        ((1480.0, 1359.0, 1601.0), "1480 +- 120"),
        ((0.0, -0.0, 0.0), "0 +- 0"),
        ((-81.9, -90.3, -73.5), "-81.9 +- 8.4"),
        ((NAN, NAN, NAN), "-"),
        ((3.0, NAN, NAN), "3"),
    ],
)
def test_numbers_end_where_their_intervals_say(ends, text):
    assert sheet.number(*ends) == text


def awkward():
    rows = [
        measured("trace", 5 + WAVE, 9 + WAVE * 1.1, unit="loss/param^2", section="curvature & co", scaling="raw"),
        measured("filter-trace", 5 + WAVE, 5 - WAVE, section="curvature & co", scaling="invariant", value=[5.1, 5.2]),
        Measured(name="norm", over="none", value=[3.0, 2.0], unit="param", section="params"),
        measured("flat", 5 + WAVE, [NAN] * 4, reasons={"b|2%": "none"}, section="params"),
    ]
    relations = [Relation(name="barrier", values=[Interval(1.9, 1.8, 2.0)], unit="loss")]
    return made(*rows, labels=("a_1", "b|2%"), relations=relations, warnings=("they differ",))


def test_the_sheet_of_two_checkpoints_speaks_of_these_alone():
    text = sheet.as_text(awkward())
    assert "these 2 checkpoints, a_1 and b|2%" in text
    assert "batch size" not in text
    assert "warning: they differ" in text
    assert "flat: not comparable: b|2%: none." in text
    rows = [line.split() for line in text.splitlines()]
    assert ["norm", "(param)", "3", "2", "1", "a_1", "higher"] in rows
    assert ["barrier", "(loss)", "1.90", "+-", "0.10"] in rows
    assert max(len(line) for line in text.splitlines()) < 140


def test_latex_and_markdown_are_escaped():
    latex, markdown = sheet.as_latex(awkward()), sheet.as_markdown(awkward())
    assert r"a\_1 - b\textbar{}2\%" in latex
    assert r"\emph{curvature \& co}" in latex
    assert r"trace (loss/param$^{2}$)" in latex
    assert r"$5.0 \pm 1.5$" in latex
    for line in latex.splitlines():
        assert line.count("{") == line.count("}") or "resizebox" in line or "end{tabular}}" in line
    assert sheet.escaped(r"\~x^y{}#$<") == (r"\textbackslash{}\textasciitilde{}x\textasciicircum{}y\{\}\#\$\textless{}")
    assert r"b\|2%" in markdown
    widths = {line.replace(r"\|", "").count("|") for line in markdown.splitlines() if line.startswith("| ")}
    assert len(widths) == 2  # the measures, and the pairs


def test_json_has_what_programs_are_promised():
    found = json.loads(json.dumps(sheet.as_json(awkward()), allow_nan=False))
    first = found["measures"][0]
    assert {"name", "unit", "values", "difference", "verdict"} <= set(first)
    assert set(first["values"]["a_1"]) == {"value", "low", "high", "full", "full_stderr"}
    assert first["difference"]["value"] == pytest.approx(-4)
    assert first["verdict"] == "b|2% higher"
    assert found["measures"][3]["values"]["b|2%"]["value"] is None
    assert found["pairs"][0]["values"]["a_1 vs b|2%"]["high"] == 2


@pytest.mark.parametrize("labels", [2, 3])
def test_the_page_is_drawn_the_same_twice(labels):
    def page():
        names = ("small", "a label that is long", "c")[:labels]
        draws = [5 + WAVE, 90 + WAVE * 40, 5 - WAVE][:labels]
        rows = [Measured(name=f"m{i}", over="subsets", draws=draws, section=f"{i // 9}") for i in range(25)]
        rows += [Measured(name="gone", over="none", value=[1.0] * (labels - 1) + [NAN], scaling="invariant")]
        pairs = labels * (labels - 1) // 2
        found = made(*rows, labels=names, relations=[Relation(name="cosine", values=[Interval(0.1, NAN, NAN)] * pairs)])
        with style():
            figure = plt.figure()
            draw_comparison(found, comparison_page(found, figure))
            assert figure.get_size_inches()[1] < 9
            image = io.BytesIO()
            figure.savefig(image, format="png", metadata={"Software": None})
        return image.getvalue()

    assert page() == page()


def paged(labels, measures=2, slices=True, cells=1e-5):
    """A comparison as wordy as those of checkpoints are; all measures but the first two differ much."""
    pairs, t = len(labels) * (len(labels) - 1) // 2, np.linspace(0, 1, 21)
    alike, apart = (
        [5 + WAVE * (-1) ** i for i in range(len(labels))],
        [10.0**i * (5 + WAVE) for i in range(len(labels))],
    )
    rows = [
        Measured(name="gone", over="subsets", draws=[part * NAN for part in alike], section="loss and accuracy"),
        Measured(name="alike", over="subsets", draws=alike, section="loss and accuracy", unit="loss/param^2"),
    ]
    for i in range(23):
        more = {"unit": "loss^(1/2)/param", "section": f"section {i // 5} (raw)", "scaling": "invariant"}
        rows.append(Measured(name=f"a long name of measure {i}", over="subsets", draws=apart, **more))
    ends = [Interval(1.234 * cells, *sorted((1.111 * cells, 1.357 * cells)))] * pairs
    relations = [Relation(name=f"aligned barrier {i}", values=ends, unit="loss") for i in range(8)]
    losses = 1e-6 * (1 + t) * np.ones((pairs, 1))
    drawn = {"alpha": t, "slice_loss": losses[:1] * np.ones((len(labels), 1)), "t": t, "between_loss": losses}
    drawn["aligned_loss"] = losses * 40
    return made(*rows[:measures], labels=labels, relations=relations, **(drawn if slices else {}))


LONG = {size: tuple(letter * size for letter in "mWaio") for size in (3, 12, 20, 80)}


@pytest.mark.parametrize(
    ("labels", "more"),
    [
        (("small", "large"), {"measures": 1}),
        (("small", "large"), {"measures": 25, "slices": False}),
        (("digits-small", "digits-large", "digits-large-updates"), {}),
        *((LONG[size][:count], {"measures": 1 + size % 5}) for size in LONG for count in (2, 3)),
        *((LONG[size], {"measures": measures}) for size, measures in ((3, 3), (12, 25), (80, 0), (20, 1))),
        (LONG[12][:2], {"measures": 0, "slices": False}),
        (("a$b", "c$d"), {"cells": -1.0}),
        (("_a", "b"), {}),
    ],
)
def test_the_page_has_no_texts_that_meet_or_leave_it(labels, more, monkeypatch):
    texts, draw = [], Text.draw
    monkeypatch.setattr(Text, "draw", lambda text, renderer: (texts.append(text), draw(text, renderer)))
    with style():
        figure, found = plt.figure(), paged(labels, **more)
        draw_comparison(found, comparison_page(found, figure))
        figure.draw_without_rendering()
        texts = [text for text in texts if text.get_visible() and text.get_text().strip()]
        boxes = {text: text.get_window_extent() for text in texts}
        for text, box in boxes.items():
            assert box.x0 >= 0 <= box.y0, text
            assert box.x1 <= figure.bbox.x1, text
            assert box.y1 <= figure.bbox.y1, text
        met = [(a.get_text(), b.get_text()) for a, b in itertools.combinations(texts, 2) if boxes[a].overlaps(boxes[b])]
        assert met == []
    words = "\n".join(text.get_text() for text in texts)
    assert all(label.replace("$", r"\$") in words for label in labels if len(label) < 80)
    assert "of the pair (95 % intervals over samples)" in words
    for axes in figure.axes if more.get("slices", True) else ():
        if axes.get_xlabel().startswith("step"):
            assert len(axes.get_legend().get_texts()) == len(labels)


def test_the_page_says_that_intervals_of_groups_are_over_runs():
    groups = {label: [f"{label}-{i}" for i in range(4)] for label in LABELS}
    relations = [Relation(name="cosine", values=[Interval(0.1, 0.0, 0.2)])]
    found = made(measured("trace", 5 + WAVE, 9 + WAVE, "seeds"), groups=groups, relations=relations)
    with style():
        figure = plt.figure()
        draw_comparison(found, comparison_page(found, figure))
        words = [text.get_text() for text in figure.findobj(Text)]
    assert "of the pair (95 % intervals over matched runs)" in words
