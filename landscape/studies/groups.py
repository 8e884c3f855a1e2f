"""Which checkpoints stand under which label of a comparison, and what their recipes and runs say of them."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import load_checkpoint
from ..errors import InputError
from ..objective import Objective
from ..recipe import Recipe
from ..vectors import layout_of
from . import runfiles
from .measured import Minimum, Request, set_up

BESIDE = (".run.h5", ".state", ".h5", ".json", ".csv", ".yaml", ".txt", ".log")  # what a glob finds beside checkpoints
DRAWN = ("seed", "init_seed", "order_seed", "augment_seed")  # of a recipe: what training seeds differ in


@dataclass(frozen=True)
class Run:
    """A minimum with what is known of how it was reached."""

    name: str
    minimum: Minimum
    recipe: Recipe | None
    start: Tensor | None  # the params (n,) before the first update


@dataclass(frozen=True)
class Subject:
    """What stands under one label: a checkpoint, or a group of runs of one recipe from several seeds."""

    label: str
    runs: tuple[Run, ...]


def members(label: str, pattern: str) -> list[str]:
    """The checkpoints that a group's pattern finds, sorted. InputError for none."""
    found = sorted(path for path in glob.glob(pattern, recursive=True) if Path(path).is_file())
    kept = [path for path in found if not path.endswith(BESIDE)]
    if not kept:
        what = f"only {', '.join(Path(path).name for path in found[:3])}, no checkpoint" if found else "no file"
        raise InputError(f"group {label}: {pattern} finds {what}")
    return kept


def subjects(request: Request, paths: Sequence[str], groups: Mapping[str, str]) -> list[Subject]:
    """The labels of a comparison with their runs, in the order given; those of a group in the order of their seeds.

    Raises InputError where a checkpoint stands twice in groups, or does not fit.
    """
    if groups:
        places = {label: members(label, pattern) for label, pattern in groups.items()}
        _refuse_shared(places)
        every = [(label, path) for label, found in places.items() for path in found]
        request = replace(request, labels=tuple(f"{label}/{at}" for at, (label, _) in enumerate(every)))
        runs = _runs(request, [path for _, path in every])
        found = []
        for label in places:
            own = [run for run, (of, _) in zip(runs, every, strict=True) if of == label]
            own.sort(key=lambda run: run.recipe.seed if run.recipe else 0)
            found.append(Subject(label, tuple(replace(run, name=f"{label}/{at + 1}") for at, run in enumerate(own))))
        return found
    return [Subject(run.name, (run,)) for run in _runs(request, paths)]


def _refuse_shared(places: Mapping[str, Sequence[str]]) -> None:
    """A checkpoint in two groups, or twice in one, would be taken for two training runs."""
    seen: dict[str, tuple[str, str]] = {}
    for label, paths in places.items():
        for path in paths:
            content = load_checkpoint(path).sha256
            if content in seen:
                before, other = seen[content]
                where = f"twice in group {label}" if before == label else f"in the groups {before} and {label}"
                raise InputError(f"{path} and {other} hold the same network, {where}; a group is of different runs")
            seen[content] = (label, path)


def _runs(request: Request, paths: Sequence[str]) -> list[Run]:
    setup = set_up(request, paths)
    minima = setup.minima(request.samples)
    return [
        Run(minimum.label, minimum, checkpoint.recipe, start_of(checkpoint.path, minimum.objective))
        for minimum, checkpoint in zip(minima, setup.checkpoints, strict=True)
    ]


def start_of(path: Path, objective: Objective) -> Tensor | None:
    """The measured params (n,) before the first update, where the run's log tells; of a block of params, its part."""
    initial = runfiles.initial_params(path)
    if initial is None:
        return None
    start, whole = torch.from_numpy(initial), layout_of(objective.model)
    if objective.layout == whole or len(start) != whole.size:
        return start
    return objective.layout.join(whole.named(start))


def matched(one: Subject, other: Subject) -> list[tuple[Run, Run]]:
    """The runs of two labels that are held against each other, each in one pair, so that the pairs are independent.

    Those of one initial seed, where there are any: they began at the same point if the networks are alike, and pairs
    that did are not to be mixed with pairs that did not. Else the first with the first, and so on.
    """
    by_seed = {run.recipe.seeds["init"]: run for run in reversed(other.runs) if run.recipe}
    own = {run.recipe.seeds["init"]: run for run in reversed(one.runs) if run.recipe}
    pairs = [(run, by_seed[seed]) for seed, run in own.items() if seed in by_seed]
    return pairs[::-1] or list(zip(one.runs, other.runs, strict=False))


def differing(found: Sequence[Subject]) -> dict[str, dict[str, list[Any]]]:
    """What the labels' recipes differ in, seeds aside: by setting, then by label, each value that occurs."""
    if any(run.recipe is None for subject in found for run in subject.runs):
        return {}
    values: dict[str, dict[str, list[Any]]] = {}
    for subject in found:
        for run in subject.runs:
            assert run.recipe is not None
            for name, value in dataclasses.asdict(run.recipe).items():
                own = values.setdefault(name, {}).setdefault(subject.label, [])
                if value not in own:
                    own.append(value)
    return {
        name: by_label
        for name, by_label in values.items()
        if name not in DRAWN and any(own != by_label[found[0].label] for own in by_label.values())
    }


def doubts(found: Sequence[Subject]) -> list[str]:
    """A line for each group that is no group of seeds of one recipe."""
    lines = []
    for subject in found:
        recipes = [run.recipe for run in subject.runs if run.recipe is not None]
        if len(recipes) < 2:
            continue
        first, *others = recipes
        names = {name for other in others for name in first.differences(other) if name not in DRAWN}
        if names:
            lines.append(
                f"the runs of {subject.label} differ in {', '.join(sorted(names))}: a group is of one recipe from "
                "several seeds, and its spread now holds more than that of seeds"
            )
        elif len({tuple(recipe.seeds.values()) for recipe in recipes}) < len(recipes):
            lines.append(f"runs of {subject.label} share a seed: they are not independent")
    return lines
