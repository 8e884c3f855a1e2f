"""Full-data Hessian-vector products: ours in all its ways and the peers', in gradient passes, with their errors.

A gradient pass is a plain torch loop over the data. Every peer has the chunk size that suits it best, the loop too
(tried on as many samples as the largest holds); ours has the one it takes by itself. Times are taken in
turn; a tool's time is divided by the gradient's of the same rounds.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import measure
import peers
import torch
from models import trained
from torch import Tensor, nn
from torch.nn import functional

from landscape import Hessian, Objective

WRONG = 1e-4  # relative error above which a float32 product is not the Hessian's
OURS: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours, recomputed": {"memory": 0},
    "ours, double, kept": {"hvp": "double"},
    "ours, linearize, kept": {"hvp": "linearize"},
}
TOGETHER = ("ours", "ours, recomputed")  # timed in turn with the peers; the rest one by one, for lack of memory
COLUMNS = {
    "model": "model",
    "samples": "samples:,d",
    "tool": "tool",
    "chunk": "chunk:,d",
    "ratio": "HVP / gradient:.2f",
    "seconds": "seconds:.3f",
    "error": "error:.1e",
    "note": "",
}


@dataclass(frozen=True)
class Problem:
    """A trained network on fixed data, and the chunk sizes to choose from, each a divisor of the samples."""

    name: str
    model: nn.Module
    data: tuple[Tensor, Tensor]
    chunks: tuple[int, ...]
    device: str = "cpu"

    def head(self) -> Problem:
        """The same on as many samples as the largest chunk holds, for trying the chunk sizes."""
        count = max(self.chunks)
        return replace(self, data=(self.data[0][:count], self.data[1][:count]))

    @property
    def samples(self) -> int:
        """N."""
        return len(self.data[0])

    def objective(self, chunk: int | None = None, dtype: str = "float32") -> Objective:
        """Our objective at the network's point."""
        return Objective(self.model, "cross_entropy", self.data, chunk=chunk, dtype=dtype, device=self.device)

    def vector(self) -> Tensor:
        """A random unit vector (n,), float32."""
        size = sum(p.numel() for p in self.model.parameters())
        vector = torch.randn(size, generator=torch.Generator().manual_seed(1))
        return (vector / vector.norm()).to(self.device)


def problem(
    name: str, data: tuple[Tensor, Tensor], samples: int, chunks: Sequence[int], device: str = "cpu"
) -> Problem:
    """A network trained on `data` and measured on its first samples."""
    model = trained(name, data).to(device)
    inputs, targets = (tensor[:samples].to(device) for tensor in data)
    return Problem(name, model, (inputs, targets), tuple(chunks), device)


def gradient(case: Problem, chunk: int) -> Callable[[], list[Tensor]]:
    """The loop that everyone writes: the gradient of the mean loss over all data."""
    params = list(case.model.parameters())
    batches = peers.batches_of(*case.data, chunk)

    def run() -> list[Tensor]:
        total = [torch.zeros_like(p) for p in params]
        for inputs, targets in batches:
            loss = functional.cross_entropy(case.model(inputs), targets, reduction="sum")
            for part, addend in zip(total, torch.autograd.grad(loss, params), strict=True):
                part += addend
        return [part / case.samples for part in total]

    return run


def tool(case: Problem, name: str, chunk: int) -> tuple[peers.Product, Callable[[], Mapping[str, Any]]]:
    """A tool's product, and what the tool tells of itself afterwards."""
    if name in OURS:
        operator = Hessian(case.objective(chunk), **OURS[name])
        return operator.matvec, operator.report
    return peers.product(name, case.model, case.data, chunk), dict


def best_chunk(case: Problem, name: str, v: Tensor) -> int:
    """The chunk size with which a peer is the fastest; ours takes the one that it takes by itself."""
    if name in OURS:
        return case.objective().chunk
    head = case.head()
    return measure.fastest(lambda c: bound(tool(head, name, c)[0], v), case.chunks)


def product_table(case: Problem, rounds: int) -> list[dict[str, Any]]:
    """A row for each tool."""
    v = case.vector()
    truth = case.objective(min(case.chunks), "float64").hvp(v.double())
    groups = [[*TOGETHER, *peers.present()], *([name] for name in OURS if name not in TOGETHER)]
    slow = measure.fastest(lambda chunk: gradient(case.head(), chunk), case.chunks)
    rows = [{"tool": "gradient", "chunk": slow, "ratio": 1.0}]
    for names in groups:
        rows += _group(case, names, slow, v, truth, rounds)
        gc.collect()
    rows[0]["seconds"] = rows[1].pop("gradient_seconds", None)
    return [{"model": case.name, "samples": case.samples, **row} for row in rows]


def _group(
    case: Problem, names: list[str], gradient_chunk: int, v: Tensor, truth: Tensor, rounds: int
) -> list[dict[str, Any]]:
    """Rows of the tools that are timed in turn with one another and with the gradient."""
    works: dict[str, measure.Work] = {"gradient": gradient(case, gradient_chunk)}
    rows = []
    for name in names:
        row: dict[str, Any] = {"tool": name}
        rows.append(row)
        try:
            row["chunk"] = best_chunk(case, name, v)
            run, report = tool(case, name, row["chunk"])
            row["error"] = float((run(v).double() - truth).norm() / truth.norm())
        except Exception as error:  # a peer that fails is a row of the table
            row["note"] = f"fails: {str(error).splitlines()[0][:100]}"
            continue
        row["note"] = "WRONG" if not row["error"] <= WRONG else kept(report())
        row["report"] = {key: value for key, value in report().items() if isinstance(value, (int, float, str))}
        works[name] = bound(run, v)
    times = measure.in_turn(works, rounds)
    for row in rows:
        if row["tool"] in times:
            row |= {"seconds": times[row["tool"]], "ratio": times[row["tool"]] / times["gradient"]}
        row["gradient_seconds"] = times["gradient"]
    return rows


def bound(run: peers.Product, v: Tensor) -> measure.Work:
    """The product with one vector, as a work to be timed."""
    return lambda: run(v)


def kept(report: Mapping[str, Any]) -> str:
    """What our operator says of the product it took."""
    if not report:
        return ""
    return f"{report['path']}, {report['kept_chunks']} of {report['chunks']} chunks kept"


def against_peers(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """How much faster ours is than the fastest peer that is right, and how it compares with nothing kept."""
    timed = {row["tool"]: row["ratio"] for row in rows if "ratio" in row and row.get("note") != "WRONG"}
    rivals = {name: timed[name] for name in peers.PEERS if name in timed}
    if not rivals or "ours" not in timed:
        return None
    best = min(rivals, key=lambda name: rivals[name])
    recomputed = timed.get("ours, recomputed", math.nan)
    return {
        "model": rows[0]["model"],
        "samples": rows[0]["samples"],
        "peer": best,
        "faster": rivals[best] / timed["ours"],
        "recomputed": recomputed / rivals[best],
    }


def summary(comparisons: list[dict[str, Any]]) -> str:
    """The comparisons as text, with their geometric means."""
    columns = {
        "model": "model",
        "samples": "samples:,d",
        "peer": "fastest right peer",
        "faster": "its time / ours:.2f",
        "recomputed": "ours, recomputed / its time:.2f",
    }
    mean: dict[str, Any] = {"model": "geometric mean"}
    for key in ("faster", "recomputed"):
        logarithms = [math.log(row[key]) for row in comparisons]
        mean[key] = math.exp(sum(logarithms) / len(logarithms))
    return measure.table([*comparisons, mean], columns)
