"""The highest value within bounds, by L-BFGS-B."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import torch
from torch import Tensor

from .search import Search

POLISH = 20  # iterations of L-BFGS-B between steps towards vertices
HALVINGS = 7  # of a step towards a vertex that does not rise
LEAST_GAIN = 1e-4  # of the rise, below which L-BFGS-B takes over


class _NoStep(Exception):
    """L-BFGS-B proposes what is no number: its model of the loss has come to an end."""


@dataclass(frozen=True)
class Bounds:
    """A convex set around 0 in which y lies, as L-BFGS-B sees it.

    `place(z)` is the y that its variable z stands for, `pull(z, g)` the gradient by z of a gradient g by y, `variable`
    takes y back to a z; `widths` bound z. `furthest(g)` is the y that maximises <g, y>, 0 for g = 0, `project` takes
    any y to the nearest in the set.
    """

    place: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor, Tensor], Tensor]
    variable: Callable[[Tensor], Tensor]
    widths: Tensor | None
    furthest: Callable[[Tensor], Tensor]
    project: Callable[[Tensor], Tensor]

    def gap(self, search: Search, base: float) -> float:
        """max <g, y' - y> over all y' in the set, at the highest y, over the rise above `base` (Frank & Wolfe 1956)."""
        gradient = search.highest_gradient
        most = float(gradient @ (self.furthest(gradient) - search.highest_at))
        rise = search.highest - base
        return max(0.0, most) / rise if rise > 0 else (0.0 if most <= 0 else math.inf)


def box(widths: Tensor) -> Bounds:
    """|y_i| <= widths_i, where L-BFGS-B is at home."""
    return Bounds(
        place=lambda y: y,
        pull=lambda _, g: g,
        variable=lambda y: y,
        widths=widths,
        furthest=lambda g: widths * g.sign(),
        project=lambda y: y.clamp(-widths, widths),
    )


def ball(rho: float) -> Bounds:
    """|y| <= rho, y = rho z / max(1, |z|): outside of the unit ball z counts by its direction alone."""

    def place(z: Tensor) -> Tensor:
        return rho * z / max(1.0, float(z.norm()))

    def pull(z: Tensor, gradient: Tensor) -> Tensor:
        size = float(z.norm())
        along = float(gradient @ z) / size if size else 0.0
        # on the sphere the gradient counts where it points inwards, else only its part along the sphere
        if size > 1 + 1e-12 or (size > 1 - 1e-12 and along > 0):
            return rho / size * (gradient - along / size * z)
        return rho * gradient

    def furthest(gradient: Tensor) -> Tensor:
        size = float(gradient.norm())
        return rho / size * gradient if size else torch.zeros_like(gradient)

    return Bounds(place, pull, lambda y: y / rho, None, furthest, lambda y: place(y / rho))


def ascend(search: Search, bounds: Bounds, start: Tensor, iterations: int) -> int:
    """Maximises within the bounds from y = `start`, by L-BFGS-B (Byrd, Lu, Nocedal & Zhu 1995) with ftol = gtol = 0.

    The highest value and its place stay in `search`. Returns the iterations done: fewer than asked for where the search
    came to a place from which no step along the gradient rises, as to a maximum inside the bounds, where the model that
    L-BFGS-B makes of the loss may be zero by zero.
    """
    box_of_z = None
    if bounds.widths is not None:
        widths = bounds.widths.cpu().numpy()
        box_of_z = scipy.optimize.Bounds(-widths, widths)  # pyright: ignore[reportArgumentType]

    done = 0

    def one_more(_: np.ndarray) -> None:
        nonlocal done
        done += 1

    def negative(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        if not np.isfinite(numbers).all():
            raise _NoStep
        z = torch.from_numpy(numbers.copy()).to(start.device)
        value, gradient = search.evaluate(bounds.place(z))
        return -value, -bounds.pull(z, gradient).cpu().numpy()

    try:
        with np.errstate(all="ignore"):
            found = scipy.optimize.minimize(
                negative,
                bounds.variable(start).cpu().numpy(),
                jac=True,
                method="L-BFGS-B",
                bounds=box_of_z,
                callback=one_more,
                options={"maxiter": iterations, "ftol": 0.0, "gtol": 0.0, "maxfun": 100 * iterations},
            )
    except _NoStep:
        return done
    return int(found.nit)


def converge(search: Search, bounds: Bounds, base: float, iterations: int, tolerance: float) -> tuple[int, bool]:
    """Goes on from the highest place until it is stationary; returns the iterations done and whether it came to that.

    Rounds of two kinds of steps. To the furthest vertex along the gradient, y <- argmax <g, y'>, halved until it rises:
    where the loss is convex each full one gains at least the gap (Frank & Wolfe 1956; Journee, Nesterov, Richtarik &
    Sepulchre 2010, section 2), so that a box of many coordinates takes tens of gradient passes, where L-BFGS-B alone
    takes thousands. Then 20 iterations of L-BFGS-B, which polish a smooth loss. It ends where the gap is below
    `tolerance` of the rise above `base`, or, as at the kinks of ReLU, where a round gains less than that.
    """
    done = 0
    while done < iterations:
        before = search.highest
        done += _to_vertices(search, bounds, base, iterations - done)
        if bounds.gap(search, base) > tolerance and done < iterations:
            done += max(1, ascend(search, bounds, search.highest_at, min(POLISH, iterations - done)))
        if bounds.gap(search, base) <= tolerance or search.highest - before <= tolerance * abs(search.highest - base):
            return done, True
    return done, bounds.gap(search, base) <= tolerance


def _to_vertices(search: Search, bounds: Bounds, base: float, most: int) -> int:
    """Steps towards vertices, as long as each gains more than a share of the rise; returns their number."""
    for done in range(most):
        before, place = search.highest, search.highest_at
        towards = bounds.furthest(search.highest_gradient) - place
        for halving in range(HALVINGS):
            value, _ = search.evaluate(place + towards / 2**halving)
            if value > before:
                break
        if search.highest - before <= LEAST_GAIN * abs(search.highest - base):
            return done + 1
    return most
