"""Writes docs/layers.md: the matrix of layers and losses of the tests, as it came out when they ran here."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(__file__).with_name("layers.md")
sys.path.insert(0, str(ROOT / "tests"))

import layers  # noqa: E402  # pyright: ignore[reportMissingImports]
import test_matrix as matrix  # noqa: E402  # pyright: ignore[reportMissingImports]

BOUNDS = (1e-8, 1e-7, 1e-6)
ERROR = re.compile(r"(?<=\| )(<= |~ )(\S+)(?= \|)")
MEASURED = re.compile(r"\d+(\.\d+)?e[+-]\d+")  # numbers within messages, which differ in the last places
WORDS = {
    "twice differs": "repeatability",
    "not symmetric": "symmetry",
    "changes with the chunks": "chunks",
    "contradict": "two finite differences",
    "over all chunks": "all chunks",
    "differs from reverse mode": "first chunk",
}
VERSION = torch.__version__.partition("+")[0]
INTRODUCTION = f"""\
# Layers and losses: what works

Written by `make docs` from the tests (`tests/layers.py`, `tests/test_matrix.py`); do not edit.

Each row of the first table is a small network in float64, moved away from its initialisation and no minimum, with
{layers.SAMPLES} samples in chunks of {layers.CHUNK} (batch statistics: batches of {layers.CHUNK}), so that the
last chunk is short. Its Hessian-vector product by double backward is held against central finite differences of the
gradient, with two steps that must agree with each other. That gradient is computed by the test: plain torch on the
model itself, all samples at once, and torch's own mean of the loss. Up to {layers.DENSE} params the whole
matrix is held against the matrix of finite differences. `error` bounds the largest relative error of these.

`linearize` is the fast path. It runs, and agrees with double backward to 1e-8, or it falls back: then `--hvp auto`
uses double backward, which costs up to a few times more and is as right. Where torch has no forward rule for an
operation, or the model looks at values while it runs, there is nothing to trace. `self-check` is its verdict.

A row says that this layer with this loss was right on these samples, on the CPU, with torch {VERSION}.
It is no proof for every shape and option; that is why a self-check precedes every spectrum.
"""


def render() -> str:
    """The text of docs/layers.md."""
    pairs = [_pair(pair) for pair in layers.PAIRS]
    refusals = [_refusal(refusal) for refusal in layers.REFUSALS]
    gauss_newton = [p for p in layers.PAIRS if p.gauss_newton]
    forms = [_form(form, norm) for form in matrix.FORMS for norm in matrix.NORMS]
    sections = [
        INTRODUCTION,
        f"## Right: {len(pairs)} pairs\n",
        _table(["layer", "loss", "params", "error", "double backward", "linearize", "self-check"], pairs),
        f"\n## Gauss-Newton matrix: {len(gauss_newton)} pairs\n",
        "The whole matrix, on both paths, against differences of the outputs and of the loss's gradient.\n",
        _table(["layer", "loss", "error"], [_gauss_newton(pair) for pair in gauss_newton]),
        f"\n## Refused: {len(refusals)}\n",
        "The line that `top_eigenpairs` (or making the objective) ends with; no number comes out.\n",
        _table(["what", "error", "line"], refusals),
        f"\n## Wrong forms caught: {len(forms)}\n",
        "Ways to form the product that are silently wrong, planted as the objective's product, where the self-check\n"
        "must catch them, and as the engine's traced product, where the comparison with double backward must.\n",
        _table(["form", "layer", "its error", "self-check", "engine"], forms),
    ]
    return "\n".join(sections) + "\n"


def errors(text: str) -> list[float]:
    """The errors that the page states, in order."""
    return [float(number) for _, number in ERROR.findall(text)]


def without_errors(text: str) -> str:
    """The page without them: they differ a little from machine to machine."""
    return ERROR.sub("...", text)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _bound(error: float) -> str:
    return f"<= {_power(next(bound for bound in BOUNDS if error <= bound))}"


def _power(number: float) -> str:
    return f"1e{round(math.log10(number))}"


def _pair(pair: layers.Pair) -> list[str]:
    found = layers.measured(pair.name)
    right = "right" if found.error <= layers.RIGHT else "wrong"
    fast = "runs"
    if found.linearize:
        fast = f"falls back: {pair.falls_back[1] if pair.falls_back else pair.pending}"
    verdict = ": ".join(filter(None, (found.verdict, found.reason)))
    return [pair.layer, pair.loss.name, str(found.params), _bound(found.error), right, fast, verdict]


def _gauss_newton(pair: layers.Pair) -> list[str]:
    error = layers.measured(pair.name).gauss_newton
    assert error is not None
    return [pair.layer, pair.loss.name, _bound(error)]


def _refusal(refusal: layers.Refusal) -> list[str]:
    kind, line = layers.refused(refusal.name)
    return [refusal.name, kind.__name__, MEASURED.sub("...", line)]


def _form(form: str, norm: str) -> list[str]:
    found = matrix.caught(form, norm)
    order = 10.0 ** math.floor(math.log10(found.error) + 0.5)
    return [form, norm, f"~ {_power(order)}", _check(found.by_self_check), _check(found.by_engine)]


def _check(line: str) -> str:
    return next((word for sign, word in WORDS.items() if sign in line), "not caught")


if __name__ == "__main__":
    torch.set_num_threads(1)
    TARGET.write_text(render(), encoding="utf-8")
