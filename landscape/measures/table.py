"""The table of measures: formulas, sources, costs, invariances, what is known of each, options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CURVATURE = "loss/param^2"


@dataclass(frozen=True, kw_only=True)
class Invariances:
    """Under which changes that leave the function (or its classes) alone the measure keeps its value.

    layers: factors of whole ReLU layers (Dinh et al. 2017, section 4). batch_norm: the scale of weights that batch
    norm on batch statistics undoes. units: a factor of its own for each hidden unit. loss: a factor in the loss.
    """

    layers: bool
    batch_norm: bool
    units: bool
    loss: bool = False

    def marks(self) -> tuple[str, ...]:
        """yes or no, in the order of the fields."""
        return tuple("yes" if held else "no" for held in (self.layers, self.batch_norm, self.units, self.loss))


RAW = Invariances(layers=False, batch_norm=False, units=False)
BY_WEIGHT = Invariances(layers=True, batch_norm=True, units=True)
BY_FILTER = Invariances(layers=True, batch_norm=True, units=False)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure: its formula, its source, what it costs, what it is blind to, what it was seen to go with.

    `options` are what it takes, with their defaults; a mapping in place of a default goes by the norm.
    """

    name: str
    formula: str
    source: str
    unit: str
    cost: str
    invariances: Invariances
    known: str
    options: Mapping[str, Any] = field(default_factory=dict)


TRACKS = "Andriushchenko et al. 2023: goes with the learning rate rather than with generalisation"
JIANG = "Jiang et al. 2020: with the gap over their networks; Dziugaite et al. 2020: not in every setting"
TOP = "Kaur et al. 2022: falls without better generalisation; it goes with the learning rate (Cohen et al. 2021)"
DINH = "Dinh et al. 2017: any value by rescaling"
UNKNOWN = "no study known to us"
OF_BATCHES = "; with --m as many in all, and a forward pass"
SEARCHED = {"rho": {"2": 0.05, "inf": 0.001}, "norm": "2", "m": None}
SEARCHED_BY_WEIGHT = {"rho": {"2": 0.5, "inf": 0.002}, "norm": "2", "m": None}
STEPS = {"iterations": 20, "converge": False}

_TABLE = (
    Measure(
        name="keskar",
        formula="100 (max L(w + A y) - L(w)) / (1 + L(w)),  |y_i| <= epsilon (|(A^+ w)_i| + 1)",
        source="Keskar et al. 2017, metric 2.1",
        unit="percent of 1 + loss",
        cost="18 to 35 a box, by 10 iterations",
        invariances=RAW,
        known=f"Keskar et al. 2017: with batch size and gap; follows the train loss; {DINH}",
        options={
            "epsilon": 1e-3,
            "space": "full",
            "iterations": 10,
            "converge": False,
            "law": "normal",
            "dimension": 100,
            "repeats": 5,
        },
    ),
    Measure(
        name="sam",
        formula="L(w + d) - L(w),  d = rho g/|g| (norm 2), rho sign g (inf)",
        source="Foret et al. 2021, section 2",
        unit="loss",
        cost="2" + OF_BATCHES,
        invariances=RAW,
        known=TRACKS,
        options=SEARCHED,
    ),
    Measure(
        name="sam-adaptive",
        formula="L(w + d) - L(w),  d = rho c^2 g/|c g| (norm 2), rho c sign g (inf),  c = |w|",
        source="Kwon et al. 2021, section 3",
        unit="loss",
        cost="2" + OF_BATCHES,
        invariances=BY_WEIGHT,
        known=TRACKS,
        options=SEARCHED_BY_WEIGHT,
    ),
    Measure(
        name="worst",
        formula="max L(w + d) - L(w),  |d|_p <= rho",
        source="Andriushchenko et al. 2023, section 3",
        unit="loss",
        cost="22" + OF_BATCHES,
        invariances=RAW,
        known=TRACKS,
        options=SEARCHED | STEPS,
    ),
    Measure(
        name="worst-adaptive",
        formula="max L(w + d) - L(w),  |d/c|_p <= rho,  c = |w|",
        source="Andriushchenko et al. 2023, section 3; Kwon et al. 2021",
        unit="loss",
        cost="22" + OF_BATCHES,
        invariances=BY_WEIGHT,
        known=TRACKS,
        options=SEARCHED_BY_WEIGHT | STEPS,
    ),
    Measure(
        name="average",
        formula="E L(w + d) - L(w),  d ~ N(0, rho^2) (norm 2), U(-rho, rho) (inf);  to 2nd order rho^2/2 tr H, "
        "rho^2/6 tr H",
        source="Andriushchenko et al. 2023, section 3",
        unit="loss",
        cost="20: 60 values, by 30 pairs",
        invariances=RAW,
        known=TRACKS,
        options={"rho": {"2": 0.01, "inf": 0.02}, "norm": "2", "repeats": 30},
    ),
    Measure(
        name="average-adaptive",
        formula="E L(w + c d) - L(w),  d as in average,  c = |w|;  to 2nd order rho^2/2 sum c_i^2 H_ii",
        source="Andriushchenko et al. 2023, section 3",
        unit="loss",
        cost="20: 60 values, by 30 pairs",
        invariances=BY_WEIGHT,
        known=TRACKS,
        options={"rho": {"2": 0.1, "inf": 0.2}, "norm": "2", "repeats": 30},
    ),
    Measure(
        name="pac-bayes",
        formula="sigma with E error(w + sigma z) = error(w) + .1,  z ~ N(0, 1); large is flat",
        source="Jiang et al. 2020, appendix C.4; Neyshabur et al. 2017",
        unit="param",
        cost="90 to 160: 270 to 480 values, by 30 draws; 600: 1800 values where not resolved",
        invariances=Invariances(layers=False, batch_norm=False, units=False, loss=True),
        known=JIANG,
        options={"repeats": 30},
    ),
    Measure(
        name="pac-bayes-adaptive",
        formula="sigma with E error(w + sigma |w| z) = error(w) + .1,  z ~ N(0, 1); large is flat",
        source="Jiang et al. 2020, appendix C.5 (magnitude-aware)",
        unit="1",
        cost="90 to 160: 270 to 480 values, by 30 draws; 600: 1800 values where not resolved",
        invariances=Invariances(layers=True, batch_norm=True, units=True, loss=True),
        known=JIANG,
        options={"repeats": 30},
    ),
    Measure(
        name="eigenvalue",
        formula="l_1, the largest eigenvalue of H",
        source="Hochreiter & Schmidhuber 1997; Cohen et al. 2021",
        unit=CURVATURE,
        cost="2 to 3 a product, some 30 products",
        invariances=RAW,
        known=TOP,
    ),
    Measure(
        name="trace",
        formula="tr H = sum_i l_i",
        source="Yao et al. 2020",
        unit=CURVATURE,
        cost="2 to 3 a product, 30 to 1000 products",
        invariances=RAW,
        known=f"{DINH}; Petzka et al. 2021: goes with the gap less well than relative flatness",
    ),
    Measure(
        name="frobenius",
        formula="|H|_F = (sum_i l_i^2)^(1/2)",
        source="Thomas et al. 2020",
        unit=CURVATURE,
        cost="2 to 3 a product, 30 to 1000 products; beside trace, its products serve",
        invariances=RAW,
        known=f"{DINH}; no study of it alone known to us",
    ),
    Measure(
        name="filter-eigenvalue",
        formula="the largest eigenvalue of C H C,  c_i = |w_f| / n_f^(1/2) in filter f, 0 for biases and norms",
        source="the scale of Li et al. 2018, section 4",
        unit="loss",
        cost="2 to 3 a product, some 30 products",
        invariances=BY_FILTER,
        known=UNKNOWN,
    ),
    Measure(
        name="filter-trace",
        formula="tr C H C,  c as above: the mean of d'Hd over filter-normalised random directions d",
        source="the scale of Li et al. 2018, section 4",
        unit="loss",
        cost="2 to 3 a product, 30 to 1000 products",
        invariances=BY_FILTER,
        known=UNKNOWN,
    ),
    Measure(
        name="relative-flatness",
        formula="sum_{s,s'} <w_s, w_s'> tr H_{s,s'},  w_s the rows of one layer, the last to run",
        source="Petzka et al. 2021, definition 3",
        unit="loss",
        cost="2 to 3 a product, 30 to 1000 products",
        invariances=BY_FILTER,
        known="Petzka et al. 2021: with the gap, better than raw measures",
    ),
    Measure(
        name="fisher-rao",
        formula="(w' F w)^(1/2),  F the Fisher matrix of the model's own labels",
        source="Liang et al. 2019, definition 2",
        unit="loss^(1/2)",
        cost="about 10 to 20: one product and its checks",
        invariances=BY_WEIGHT,
        known="Liang et al. 2019: grows with the share of random labels",
    ),
    Measure(
        name="occam",
        formula="-1/2 sum_i ln(lambda_i / lambda),  lambda_i of N (H + l2), lambda = N l2",
        source="Smith & Le 2018, section 2 (logarithm of the Occam factor)",
        unit="nat",
        cost="2 to 3 a product, n products up to n = 2000, else 1800 to 3100",
        invariances=RAW,
        known="Smith & Le 2018: with the batch size; Lotfi et al. 2022: the evidence may go against generalisation",
    ),
    Measure(
        name="log-evidence",
        formula="-C(w) - 1/2 sum_i ln(lambda_i / lambda),  C = N (L + l2/2 |w|^2)",
        source="Smith & Le 2018, section 2",
        unit="nat",
        cost="as occam; beside it none",
        invariances=RAW,
        known="Smith & Le 2018: with the batch size; Lotfi et al. 2022: may go against generalisation",
    ),
)
MEASURES: Mapping[str, Measure] = {measure.name: measure for measure in _TABLE}
