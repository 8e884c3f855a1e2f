"""Scales: what each tensor of a network is multiplied by, as a product of powers of a few free factors.

Logarithms of scales are linear forms. The unknowns (str) are the logarithms of the scales of params; each demand of an
operation is a linear equation, and so is the wish that a layer's scale be the factor of a number (int).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction

# Coefficients, none of them zero, of unknowns and of the factors that were given away.
Form = Mapping[str | int, Fraction]
UNSCALED: Form = {}


def unknown(name: str | int) -> Form:
    """The form that is this unknown, or this factor."""
    return {name: Fraction(1)}


def combined(one: Form, other: Form, times: Fraction | int = 1) -> Form:
    """one + times * other: the scale of a product (times 1) or of a quotient (times -1)."""
    total = defaultdict(Fraction, one)
    for key, coefficient in other.items():
        total[key] += times * coefficient
    return {key: coefficient for key, coefficient in total.items() if coefficient}


class Scales:
    """Equations between scales, solved as they come (exact elimination)."""

    def __init__(self) -> None:
        self._solved: dict[str | int, Form] = {}

    def reduced(self, form: Form) -> Form:
        """The form in what is still unknown, and in factors."""
        found: Form = UNSCALED
        for key, coefficient in form.items():
            found = combined(found, self._solved.get(key, unknown(key)), coefficient)
        return found

    def is_open(self, form: Form) -> bool:
        """Whether something unknown is left in the form."""
        return any(isinstance(key, str) for key in self.reduced(form))

    def equate(self, one: Form, other: Form) -> None:
        """From now on the two are equal; no effect where they are already. One unknown goes."""
        rest = self.reduced(combined(one, other, -1))
        gone = next((key for key in rest if isinstance(key, str)), None)
        if gone is None:
            return
        row = combined(UNSCALED, {key: value for key, value in rest.items() if key != gone}, -1 / rest[gone])
        self._solved = {
            key: combined({k: v for k, v in form.items() if k != gone}, row, form[gone]) if gone in form else form
            for key, form in self._solved.items()
        }
        self._solved[gone] = row
