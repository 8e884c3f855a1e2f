"""The directions of a slice, as commands name them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from .. import digest, spectrum
from ..errors import InputError, NumericalError
from ..objective import Objective
from ..operators import Hessian
from ..results import Eigenpairs, Eigenvectors, Result, Status
from ..slices import (
    Direction,
    direction_from_file,
    gradient_direction,
    normalised,
    orthogonalised,
    random_direction,
)
from ..slices.projection import signed
from ..store import Store, vectors_path
from ..vectors import digest_of
from .keeping import Attempt
from .measured import Minimum

LEFT_OUT = "biases and norm params"
# of the eigenvectors: a direction off by so much, relative, is no other picture
EIGEN = {"which": "largest", "tol": 1e-4, "max_matvecs": 2000}

Obtain = Callable[..., tuple[Result, dict[str, Any]]]  # `computing.obtain` with a store and how to use it


@dataclass(frozen=True)
class Chosen:
    """Directions as they were asked for. `normalize` None: filter for random ones, none for all others."""

    kind: str
    normalize: str | None = None
    seed: int = 0
    files: tuple[str, ...] = ()
    with_biases: bool = False  # random and normalised directions move biases and norm params too

    @property
    def normalisation(self) -> str:
        """The normalisation that it comes to."""
        return self.normalize or ("filter" if self.kind == "random" else "none")


def directions_from(objective: Objective, seed: int, normalize: str) -> tuple[Direction, Direction]:
    """Two random directions from one seed: both for a plane, the first for a line."""
    first, second = _random(objective, Chosen("random", normalize, seed), 2)
    return first, second


def described(seed: int, normalize: str) -> dict[str, Any]:
    """How `directions_from` made its directions, to be kept with a result."""
    return {"kind": "random", "seed": seed, "normalize": normalize, "left out": LEFT_OUT}


def chosen_directions(
    minimum: Minimum, chosen: Chosen, count: int, obtain: Obtain, store: Store | None
) -> tuple[list[Direction], dict[str, Any]]:
    """One or two directions at a minimum, and how they came about.

    All but random ones are made exactly orthogonal. Raises InputError where they cannot be had.
    """
    objective = minimum.objective
    made: dict[str, Any] = {"kind": chosen.kind, "normalize": chosen.normalisation}
    if chosen.kind == "random":
        left_out = "nothing" if chosen.with_biases else LEFT_OUT
        return _random(objective, chosen, count), {**made, "seed": chosen.seed, "left out": left_out}
    found: list[Direction] = []
    if chosen.kind == "gradient":
        found.append(Direction(gradient_direction(objective), key={"gradient": objective.identity["params"]}))
    if chosen.kind == "file":
        vectors = [direction_from_file(path, objective) for path in chosen.files]
        found = [Direction(vector, key={"file": digest_of({"": vector})}) for vector in vectors]
        made["files"] = list(chosen.files)
    if len(found) < count:
        vectors, about = top_eigenvectors(minimum, count - len(found), chosen.seed, obtain, store)
        found, made = [*found, *vectors], {**made, **about}
    if chosen.normalisation != "none":
        found = [_renormalised(direction, chosen, objective) for direction in found]
        made["left out"] = "nothing" if chosen.with_biases else LEFT_OUT
    if count == 2:
        found[1] = _beside(found[1], found[0])
        made["orthogonalised"] = True
    return found, made


def _beside(direction: Direction, first: Direction) -> Direction:
    """The direction turned to a right angle with the first, as long as it was."""
    turned = orthogonalised(direction, first)
    return Direction(turned.vector * (direction.vector.norm() / turned.vector.norm()), key=turned.key)


def _random(objective: Objective, chosen: Chosen, count: int) -> list[Direction]:
    generator = torch.Generator().manual_seed(chosen.seed)
    options: dict[str, Any] = {"normalize": chosen.normalisation, "leave_out_1d": not chosen.with_biases}
    return [Direction(random_direction(objective, generator, **options)) for _ in range(count)]


def _renormalised(direction: Direction, chosen: Chosen, objective: Objective) -> Direction:
    leave_out = not chosen.with_biases
    vector = normalised(direction.vector, objective, normalize=chosen.normalisation, leave_out_1d=leave_out)
    key = None if direction.key is None else {**direction.key, "normalize": [chosen.normalisation, leave_out]}
    return Direction(vector, key=key)


def top_eigenvectors(
    minimum: Minimum, count: int, seed: int, obtain: Obtain, store: Store | None
) -> tuple[list[Direction], dict[str, Any]]:
    """The leading eigenvectors of the Hessian, unit vectors, and their eigenvalues.

    With a store the eigenpairs go there and the vectors beside it, so that a slice that goes on takes the same ones.
    Products by double backward: the faster of two paths would be taken by a clock.
    """
    matrix = Hessian(minimum.objective, hvp="double")
    if count > matrix.size:
        raise InputError(f"{count} eigenvectors of {matrix.size} params; a slice along them needs more params")
    options = {**EIGEN, "seed": seed}
    identity = spectrum.settings(matrix, count, **options)
    of_vectors = {**identity, "kind": Eigenvectors.kind}

    def compute(attempt: Attempt) -> Result:
        return spectrum.top_eigenpairs(attempt.journaled(matrix), count, **options)

    beside = None if store is None else Store(vectors_path(store.path))
    held = beside.same(of_vectors) if beside is not None else []
    if held:
        found = held[0].result
        assert isinstance(found, Eigenvectors)
        vectors, values, residuals = found.vectors, found.eigenvalues, None
    else:
        pairs, origin = obtain(minimum.label, identity, compute, minima=[minimum], products=True)
        if getattr(pairs, "vectors", None) is None:  # the store had the values alone
            pairs = compute(Attempt())
        assert isinstance(pairs, Eigenpairs)
        assert pairs.vectors is not None
        if pairs.status is not Status.CONVERGED:
            raise NumericalError(
                f"the leading eigenvectors did not converge in {options['max_matvecs']} products, residual "
                f"{float(pairs.residuals.max()):.1e}; choose other directions"
            )
        vectors, values, residuals = pairs.vectors, pairs.eigenvalues, pairs.residuals.tolist()
        if beside is not None:
            beside.add(minimum.label, pairs.eigenvectors(), origin)
    about = {"eigenvalues": values.tolist(), "residuals": residuals, "seed": seed}
    key = {"eigenvectors of": digest.of_settings(identity)}
    device = minimum.objective.device
    directions = [
        Direction(signed(torch.from_numpy(vectors[:, i]).double()).to(device), key={**key, "index": i})
        for i in range(count)
    ]
    return directions, {name: value for name, value in about.items() if value is not None}
