"""Lines of one layer at a time, the others staying where they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..objective import Objective
from ..results import LayerLines, Result, Status
from ..resume import Points, Watch
from ..vectors import Layout
from .courses import End, Positions, positions_of, refuse_other_objective
from .directions import Direction, as_direction
from .points import COLUMNS, Measure, columns, of_centre
from .projection import step_between
from .statistics import batch_of, following, moved_buffers, policy_of, recomputed
from .together import POINTS

VERSION = 1


def layers_of(layout: Layout) -> dict[str, Tensor]:
    """The layers, as masks (n,) by the names of the modules that own the params, in order."""
    names = [name.rpartition(".")[0] or name for name in layout.names]
    owners = torch.repeat_interleave(
        torch.tensor([list(dict.fromkeys(names)).index(name) for name in names]), torch.tensor(layout.sizes)
    )
    return {name: owners == index for index, name in enumerate(dict.fromkeys(names))}


def settings(
    start: Objective,
    end: End,
    alphas: Positions,
    *,
    split: str = "train",
    test: Objective | None = None,
    bn: str | None = None,
    bn_batch: int | None = None,
) -> dict[str, Any]:
    """What identifies the result of `layer_lines` with these arguments."""
    between = isinstance(end, Objective)
    other = {"end": end.identity} if isinstance(end, Objective) else {"direction": as_direction(end).identity}
    ends = isinstance(end, Objective) or bool(as_direction(end).buffers)
    policy = policy_of(start, bn, default="recompute", ends=ends)
    return {
        "kind": LayerLines.kind,
        "version": VERSION,
        "alphas": list(positions_of(alphas, between=between)),
        "split": split,
        "test": None if test is None else test.identity["data"],
        **other,
        **start.identity,
        "bn": policy,
        "bn_batch": start.bn_batch or batch_of(policy, bn_batch),
    }


def layer_lines(
    start: Objective,
    end: End,
    alphas: Positions,
    *,
    test: Objective | None = None,
    split: str = "train",
    bn: str | None = None,
    bn_batch: int | None = None,
    made: Mapping[str, Any] | None = None,
    partial: Result | None = None,
    watch: Watch | None = None,
) -> LayerLines:
    """Loss and accuracy where one layer at a time moves: w + alpha m * (w' - w), m the mask of the layer's params.

    A layer is a module that owns params. One whose loss hardly changes could be reset or swapped; Zhang et al. (2022,
    "Are all layers created equal?") call it robust.

    Args:
        bn: `recompute` by default, since a layer that moves alone leaves the layers after it with statistics of other
            inputs; `interpolate` moves the statistics of the layer alone.
        start, end, alphas, test, split, bn_batch, made, partial, watch: see `line`.

    Costs one forward pass a point, two with `recompute`; k layers of m points. Raises what `line` raises.
    """
    if isinstance(end, Objective):
        refuse_other_objective(start, end)
    given = settings(start, end, alphas, test=test, split=split, bn=bn, bn_batch=bn_batch)
    positions = np.array(given["alphas"])
    direction: Direction = step_between(start, end) if isinstance(end, Objective) else as_direction(end)
    origin = start.params.double()
    step = direction.vector.to(origin)
    masks = {name: mask.to(origin.device) for name, mask in layers_of(start.layout).items()}
    names = tuple(masks)
    steps = following(start, direction.buffers, given["bn"])
    points = Points((len(names), len(positions)), COLUMNS)
    points.take_over(partial)

    def at(index: int) -> Objective:
        row, column = divmod(index, len(positions))
        alpha, name = float(positions[column]), names[row]
        point = start.at(torch.where(masks[name], origin + alpha * step, origin))
        own = {key: step for key, step in steps.items() if key.rpartition(".")[0] == name}
        point = point.with_constants(moved_buffers(start.constants, own, alpha)) if own else point
        return recomputed(point, given["bn_batch"]) if given["bn"] == "recompute" else point

    def build(status: Status) -> LayerLines:
        measured: dict[str, Any] = dict(columns(points, with_test=test is not None))
        return LayerLines(
            status=status,
            settings=given,
            layers=names,
            alpha=positions,
            point_status=points.status.copy(),
            unit_lengths=np.array([float(step[mask].norm()) for mask in masks.values()]),
            num_samples=start.num_samples,
            split=split,
            bn=given["bn"],
            direction=dict(made or {}),
            **measured,
        )

    centre = recomputed(start, given["bn_batch"]) if given["bn"] == "recompute" else start
    points.evaluate(Measure(at, of_centre(centre), test), build, watch or Watch(), group=POINTS[start.device.type])
    return build(points.outcome())
