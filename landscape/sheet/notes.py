"""What a comparison is to be read as, in sentences, and all of it for a program."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..results.base import Array, finite
from ..results.comparison import (
    FEWEST_SEEDS,
    FIRST,
    MAX_T,
    NONE,
    NOT_COMPARABLE,
    PAIRED,
    PROBES,
    SECOND,
    SUBSETS,
    WELCH,
    Comparison,
    pair_name,
)

BIASED = (
    "from it the mean of what is not linear in the samples differs: largest eigenvalues of subsets lie above that of "
    "all on average"
)


def notes(found: Comparison) -> list[str]:
    """What the sheet speaks of, how its intervals and verdicts are to be read, and the reasons of missing ones."""
    lines = [_subject(found), *_subsets(found)]
    if NONE in found.over:
        lines.append(
            "Without +-: of this checkpoint on these samples, no interval; it is called higher where it differs beyond "
            "rounding."
        )
    lines.append(_rule(found))
    if found.relations:
        lines.append(_of_pairs(found))
    return [*lines, *_recipes(found), *_turned(found), *_missing(found), *_doubtful(found)]


def _subsets(found: Comparison) -> list[str]:
    """How many samples values are over."""
    test = found.num_test_samples
    if not found.num_subsets:
        return []
    line = f"Over subsets: the mean of {found.num_subsets} disjoint subsets of {found.num_samples} samples each"
    line += "" if test is None else f" ({test} of the test split)"
    if np.isfinite(found.full).any():
        every = f"all {found.num_all_samples} samples" + ("" if test is None else f" ({found.num_all_test_samples})")
        line += f". Under all: the value on {every} at once, with the error of probes where these are drawn; " + BIASED
    return [f"{line}."]


def _rule(found: Comparison) -> str:
    """What verdicts follow from."""
    level, count = f"{found.level:.0%}", int(np.isfinite(found.difference_low).any(axis=1).sum())
    if found.method == MAX_T:
        number_of = f"all {found.exchanges}" if found.exact else f"{found.exchanges} random"
        return (
            f"Intervals hold at {level} for each measure alone (Welch 1947), verdicts for all {count} measures of a "
            f"pair together: by the larger p of max-T over {number_of} exchanges of seeds (Westfall and Young 1993), "
            "which asks no law of the runs, and of Holm (1979) over Welch's, which asks no equal spread."
        )
    if found.method == WELCH:
        sizes = _seeds(found)
        few = ", ".join(f"{label} {count}" for label, count in sizes.items() if count < FEWEST_SEEDS)
        if min(sizes.values()) < 2:
            return f"A group of one run has no spread over seeds ({few}): without an interval nothing is resolved."
        return (
            f"Fewer than {FEWEST_SEEDS} seeds in a group ({few}): verdicts follow from Welch's interval of each "
            f"measure alone, {level}, not corrected for their number. {_by_chance(found)}"
        )
    return f"Intervals and verdicts hold at {level} for each measure alone. {_by_chance(found)}"


def _of_pairs(found: Comparison) -> str:
    """What the pairs' own numbers are over."""
    if not found.matched:
        return "Of the pair: intervals are over samples."
    one = len(found.matched) == 1
    counts = "; ".join(how if one else f"{pair}: {how}" for pair, how in sorted(found.matched.items()))
    return f"Of the pair: means over matched runs, with intervals over these: {counts}."


def _turned(found: Comparison) -> list[str]:
    """Verdicts that the values on all samples contradict."""
    lines = []
    for k, pair in enumerate(found.pairs):
        whole = found.full[:, found.first[k]] - found.full[:, found.second[k]]
        turned = np.isin(found.verdict[:, k], (FIRST, SECOND)) & (whole * found.difference[:, k] < 0)
        names = [title for title, is_turned in zip(found.titles, turned, strict=True) if is_turned]
        if names:
            lines.append(f"On all samples at once {pair_name(*pair)} come out in the other order: {', '.join(names)}.")
    return lines


def _recipes(found: Comparison) -> list[str]:
    """What groups were trained with that differs; of single checkpoints it would read as a cause."""
    shown: list[str] = []
    if not found.groups:
        return shown
    for name, by_label in sorted(found.differing.items()):
        values = (f"{label} {', '.join(map(str, by_label[label]))}" for label in found.labels if label in by_label)
        shown.append(f"{name} ({'; '.join(values)})")
    return [f"Their recipes differ in {', '.join(shown)}."] if shown else []


def _missing(found: Comparison) -> list[str]:
    """Why there is no value, each reason once."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for row, title in enumerate(found.titles):
        for k, pair in enumerate(found.pairs):
            if found.verdict[row, k] == NOT_COMPARABLE:
                reasons.setdefault(found.reason(row, k), {}).setdefault(title, []).append(pair_name(*pair))
    lines = [f"{', '.join(of)}: not comparable: {why}." for why, of in reasons.items()]
    relations: dict[str, list[str]] = {}
    for name, title in zip(found.relations, found.relation_titles, strict=True):
        for pair, why in sorted(found.relation_reasons.get(name, {}).items()):
            relations.setdefault(why if len(found.pairs) == 1 else f"{pair}: {why}", []).append(title)
    return [*lines, *(f"{', '.join(names)} of the pair: {why}." for why, names in relations.items())]


def _doubtful(found: Comparison) -> list[str]:
    """What to hold against values that there are."""
    lines = []
    for row, (name, title) in enumerate(zip(found.measures, found.titles, strict=True)):
        for index, label in enumerate(found.labels):
            why = found.reasons.get(name, {}).get(label)
            if why and np.isfinite(found.value[row, index]):
                lines.append(f"{title} of {label}: {why}.")
    return lines


def _subject(found: Comparison) -> str:
    if found.method == PAIRED:
        names = " and ".join((", ".join(found.labels[:-1]), found.labels[-1]))
        kinds = [kind for kind in (SUBSETS, PROBES) if kind in found.over]
        over = f"its intervals are over {' and '.join(kinds)}, not over training runs" if kinds else "without intervals"
        return (
            f"This sheet speaks of these {len(found.labels)} checkpoints, {names}: {over}. Other runs of the same "
            "settings may differ otherwise."
        )
    sizes = ", ".join(f"{label} {count}" for label, count in _seeds(found).items())
    over = "; its intervals are over seeds" if np.isfinite(found.low).any() else ""
    return f"This sheet speaks of groups of training runs ({sizes} seeds){over}."


def _seeds(found: Comparison) -> dict[str, int]:
    """By label, in their order, which a file does not keep of the groups."""
    return {label: len(found.groups[label]) for label in found.labels}


def _by_chance(found: Comparison) -> str:
    count = int(np.isfinite(found.difference_low).sum())
    if not count:
        return "No measure has an interval."
    expected = (1 - found.level) * count
    return (
        f"Of {count} verdict{'' if count == 1 else 's'} without a difference about {expected:.1g} would come by chance."
    )


def as_json(found: Comparison) -> dict[str, Any]:
    """`measures` and `pairs` for a program; with more than two labels `difference` and `verdict` are by pair."""
    names = [pair_name(*pair) for pair in found.pairs]

    def of(value: Array, low: Array, high: Array, *at: int) -> dict[str, Any]:
        return {"value": value[at], "low": low[at], "high": high[at]}

    measures = []
    for m, name in enumerate(found.measures):
        values = {
            label: {
                **of(found.value, found.low, found.high, m, i),
                **{"full": found.full[m, i], "full_stderr": found.full_stderr[m, i]},
            }
            for i, label in enumerate(found.labels)
        }
        by_pair = {
            pair: of(found.difference, found.difference_low, found.difference_high, m, k)
            for k, pair in enumerate(names)
        }
        verdicts = {pair: found.verdict_text(m, k) for k, pair in enumerate(names)}
        alone = len(names) == 1
        measures.append(
            {
                **{"name": name, "unit": found.units[m], "scaling": found.scaling[m], "over": found.over[m]},
                "values": values,
                "difference": by_pair[names[0]] if alone else by_pair,
                "verdict": verdicts[names[0]] if alone else verdicts,
                "reasons": found.reasons.get(name, {}),
            }
        )
    relations = [
        {
            **{"name": name, "unit": found.relation_units[r], "layers": found.layers.get(name, {})},
            "reasons": found.relation_reasons.get(name, {}),
            "values": {
                pair: of(found.relation_value, found.relation_low, found.relation_high, r, k)
                for k, pair in enumerate(names)
            },
        }
        for r, name in enumerate(found.relations)
    ]
    return finite({"measures": measures, "pairs": relations, "warnings": found.warnings, "notes": notes(found)})
