"""Recipes from JSON (inside checkpoints), TOML (files of the user) and flags, and back."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError, UsageError, one_line
from .recipe import ENDS, Recipe, default_rate

DEFAULT_EPOCHS = 20
BUDGETS = ("epochs", "updates", "samples")


def from_json(text: str, where: str) -> Recipe:
    """The recipe of `Recipe.to_json`; InputError, naming `where`, if it is not one."""
    try:
        values = json.loads(text)
        return Recipe(**{name: value for name, value in values.items() if value is not None})
    except (AttributeError, TypeError, ValueError, UsageError) as error:
        raise InputError(f"the recipe in {where} cannot be read: {one_line(error)}; train it again") from error


def from_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The fields that a TOML file gives; InputError where it is no TOML or names a field that does not exist."""
    found = files.require_file(path, "recipe")
    try:
        values = tomllib.loads(Path(found).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML: {one_line(error)}; mend it") from error
    known = [item.name for item in dataclasses.fields(Recipe)]
    for name in values:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}"
            raise InputError(f"{path}: a recipe has no field {name!r}; {hint}")
    return values


def overridden(given: Mapping[str, Any], by: Mapping[str, Any]) -> Recipe:
    """The recipe of `given` fields (of a file), each replaced by that of `by` (flags) where it is there.

    A budget of the flags takes the place of the file's. What neither gives has its default: 20 epochs, and the
    optimiser's rate. Raises UsageError where the outcome is no recipe.
    """
    base = dict(given)
    if any(name in by for name in BUDGETS):
        base = {name: value for name, value in base.items() if name not in BUDGETS}
    values = base | dict(by)
    if not any(name in values for name in (*ENDS, "patience")):
        values["epochs"] = DEFAULT_EPOCHS
    optimizer = values.get("optimizer", "sgd")
    if isinstance(optimizer, str):  # what is no text is refused below
        values.setdefault("lr", default_rate(optimizer))
    return Recipe(**values)


def to_toml(recipe: Recipe) -> str:
    """The fields that are not at their defaults as TOML, such that `from_toml` gives the same recipe."""
    import tomli_w

    return tomli_w.dumps({name: _plain(value) for name, value in recipe.changed().items() if value is not None})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
