"""Eigenvalues of several minima side by side, on one scale."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..results import Eigenpairs
from .style import look, matrices


def draw_eigenvalues(pairs: Mapping[str, Eigenpairs], axes: Axes) -> None:
    """Eigenvalues against their rank, log scale (linear around zero where some are negative).

    The bars are the residuals' bound: an eigenvalue of the matrix lies within |Hv - lv| of the value.
    """
    values = np.concatenate([p.eigenvalues for p in pairs.values()])
    for index, (label, found) in enumerate(pairs.items()):
        rank = np.arange(1, len(found.eigenvalues) + 1)
        bound = found.residuals * np.abs(found.eigenvalues).max()
        shown = look(index)
        axes.errorbar(rank, found.eigenvalues, yerr=bound, label=label, linewidth=0.8, elinewidth=0.8, **shown)
        if found.status != "converged":
            axes.plot([], [], " ", label=f"{label}: {found.status}")
    if (values > 0).all():
        axes.set_yscale("log")
    else:
        axes.set_yscale("symlog", linthresh=float(np.abs(values).max()) * 1e-3)
        axes.axhline(0, color="0.6", linewidth=0.6)
    names = matrices(p.operator for p in pairs.values())
    axes.set(xlabel="rank", ylabel=rf"eigenvalue of the {names}, $\lambda$")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
