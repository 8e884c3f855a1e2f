"""All measures of all labels side by side, as a result."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..results import Array, Status
from ..results.comparison import JOINED, MAX_T, Comparison, pair_name
from .footing import Footing, unequal_footing
from .intervals import Interval
from .measured import Measured, Relation
from .verdicts import Judged, judge, method_for, tested


def compared(
    labels: Sequence[str],
    measured: Sequence[Measured],
    relations: Sequence[Relation] = (),
    *,
    settings: Mapping[str, Any],
    num_samples: int,
    num_all_samples: int,
    num_subsets: int = 0,
    level: float = 0.95,
    seed: int = 0,
    groups: Mapping[str, Sequence[str]] | None = None,
    footing: Mapping[str, Sequence[Footing]] | None = None,
    **more: Any,
) -> Comparison:
    """All measures side by side with verdicts for each pair of labels; `more` are further fields of the result.

    Over subsets and probes a verdict follows from the interval of its own measure. Over seeds it follows from all
    measures of the pair together (`all_together`), or from Welch's interval where a group has fewer than 4 runs.
    `footing` of each checkpoint of a label becomes warnings. Raises InputError for fewer than 2 labels, for a label
    that stands twice, or where a measure lacks what its interval is over.
    """
    if any(JOINED in label for label in labels):
        raise InputError(f"a label must not hold {JOINED!r}, which joins the names of a pair: {', '.join(labels)}")
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise InputError(f"a comparison needs 2 labels that differ, got {', '.join(labels) or 'none'}")
    rows = [one.checked(labels) for one in measured]
    pairs = list(itertools.combinations(range(len(labels)), 2))
    method = method_for(groups)
    tests = [tested(rows, i, j, seed) for i, j in pairs] if method == MAX_T else None
    judged = [
        [judge(one, labels, pair, level, None if tests is None else tests[k][0][m]) for k, pair in enumerate(pairs)]
        for m, one in enumerate(rows)
    ]
    found = Comparison(
        status=more.pop("status", Status.COMPLETE),
        settings=settings,
        labels=tuple(labels),
        **_of_labels(rows, labels, level),
        first=np.array([i for i, _ in pairs]),
        second=np.array([j for _, j in pairs]),
        **_of_differences(rows, judged, labels, pairs),
        p_value=None if groups is None else _matrix([[one.p for one in row] for row in judged], len(pairs)),
        **_of_relations(relations, len(pairs)),
        level=level,
        method=method,
        exchanges=None if tests is None else max(test.exchanges for _, test in tests),
        exact=None if tests is None else all(test.exact for _, test in tests),
        num_subsets=num_subsets,
        num_samples=num_samples,
        num_all_samples=num_all_samples,
        groups={label: list(paths) for label, paths in (groups or {}).items()},
        **more,
    )
    lines = (*(unequal_footing(footing, found) if footing else ()), *found.warnings)
    return replace(found, warnings=lines)


def _of_labels(rows: Sequence[Measured], labels: Sequence[str], level: float) -> dict[str, Any]:
    """The fields of the result that have a row for each measure and a column for each label, with their names."""
    unknown = [math.nan] * len(labels)
    values = [[one.of_label(i, level) for i in range(len(labels))] for one in rows]
    return {
        "measures": tuple(one.name for one in rows),
        "titles": tuple(one.title or one.name.replace("-", " ") for one in rows),
        "units": tuple(one.unit for one in rows),
        "sections": tuple(one.section for one in rows),
        "scaling": tuple(one.scaling for one in rows),
        "over": tuple(one.over for one in rows),
        **_columns(values, ("value", "low", "high"), len(labels)),
        "full": _matrix([unknown if one.value is None else one.value for one in rows], len(labels)),
        "full_stderr": _matrix([unknown if one.error is None else one.error for one in rows], len(labels)),
        "draws": _draws(rows, len(labels)),
    }


def _of_differences(
    rows: Sequence[Measured],
    judged: Sequence[Sequence[Judged]],
    labels: Sequence[str],
    pairs: Sequence[tuple[int, int]],
) -> dict[str, Any]:
    """Those that have a row for each measure and a column for each pair, and why there is no more to say."""
    differences = [[one.difference for one in row] for row in judged]
    reasons = {one.name: {**one.reasons, **_reasons(judged[m], labels, pairs)} for m, one in enumerate(rows)}
    return {
        **_columns(differences, ("difference", "difference_low", "difference_high"), len(pairs)),
        "resolution": _matrix([[one.resolution for one in row] for row in judged], len(pairs)),
        "verdict": _matrix([[one.verdict for one in row] for row in judged], len(pairs)).astype(np.uint8),
        "reasons": {name: why for name, why in reasons.items() if why},
    }


def _of_relations(relations: Sequence[Relation], pairs: int) -> dict[str, Any]:
    """Those of the pairs themselves."""
    values = [list(one.values) for one in relations]
    return {
        "relations": tuple(one.name for one in relations),
        "relation_titles": tuple(one.title or one.name.replace("-", " ") for one in relations),
        "relation_units": tuple(one.unit for one in relations),
        "relation_reasons": {one.name: dict(one.reasons) for one in relations if one.reasons},
        **_columns(values, ("relation_value", "relation_low", "relation_high"), pairs),
    }


def _reasons(judged: Sequence[Judged], labels: Sequence[str], pairs: Sequence[tuple[int, int]]) -> dict[str, str]:
    named = [(pair_name(labels[i], labels[j]), one.reason) for (i, j), one in zip(pairs, judged, strict=True)]
    return {name: reason for name, reason in named if reason}


def _columns(rows: Sequence[Sequence[Interval]], names: tuple[str, str, str], width: int) -> dict[str, Array]:
    """Three fields of the result from intervals: values, lower ends, upper ends."""
    cells = [[(one.value, one.low, one.high) for one in row] for row in rows]
    array = np.array(cells, dtype=float).reshape(len(rows), width, 3)
    return {name: np.ascontiguousarray(array[..., k]) for k, name in enumerate(names)}


def _matrix(rows: Sequence[Sequence[float]], width: int) -> Array:
    return np.array(rows, dtype=float).reshape(len(rows), width)


def _draws(rows: Sequence[Measured], labels: int) -> Array | None:
    """Every draw of every measure, nan where one has fewer than another."""
    most = max((len(draws) for one in rows for draws in one.draws or ()), default=0)
    if not most:
        return None
    found = np.full((len(rows), labels, most), np.nan)
    for m, one in enumerate(rows):
        for i, draws in enumerate(one.draws or ()):
            found[m, i, : len(draws)] = draws
    return found
