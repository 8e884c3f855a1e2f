"""Our products on a GPU: time in gradient passes, memory, precision, and recovery where memory runs out.

Usage: python benchmarks/gpu.py OUT_DIR [--small]

Prints tables and writes OUT_DIR/results.json, after each part so that a killed run leaves what it had. With --small,
few samples on the CPU, without what needs CUDA. The data are MNIST and CIFAR-10 where LANDSCAPE_DATA names them, else
noise of their shapes. Ends within nine minutes: what there is no time for is named.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import measure
import peers
import products
import torch
from models import CIFAR10, MNIST, NETWORKS, random_images
from products import Problem
from torch import Tensor
from torch.nn import functional

from landscape import Hessian, load_data
from landscape.data.samples import named

SECONDS = 480.0  # after which nothing further is begun
ROUNDS = 3
ORDER = ("mlp", "cnn", "transformer", "resnet20")  # the slowest last
SAMPLES = {False: 50_000, True: 64}
CHUNKS = {False: (1000, 2500, 10_000), True: (32, 64)}
BEGAN = time.perf_counter()


def data_of(name: str, samples: int) -> tuple[tuple[Tensor, Tensor], str]:
    """The data of a network and what they are."""
    kind = NETWORKS[name][0]
    if os.environ.get("LANDSCAPE_DATA"):
        batch = named(load_data(kind).train.first(samples).blocks[0])
        return (batch["inputs"], batch["targets"]), kind
    return random_images(MNIST if kind == "mnist" else CIFAR10, samples), f"noise of the shape of {kind}"


def peak_of(work: Callable[[], object]) -> float | None:
    """Largest allocation on the GPU during a call, in MB; None on the CPU."""
    if not torch.cuda.is_available():
        work()
        return None
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 1e6


def release() -> None:
    """Gives unused memory back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def product_rows(case: Problem) -> Iterator[dict[str, Any]]:
    """The gradient and each tool, timed in turn with the gradient, one tool at a time."""
    v = case.vector()
    truth = case.objective(min(case.chunks), "float64").hvp(v.double())
    chunk = measure.fastest(lambda c: products.gradient(case.head(), c), case.chunks)
    gradient = products.gradient(case, chunk)
    seconds = measure.in_turn({"gradient": gradient}, ROUNDS)["gradient"]
    yield {"tool": "gradient", "chunk": chunk, "ratio": 1.0, "seconds": seconds, "peak": peak_of(gradient)}
    for name in [*products.OURS, *peers.present()]:
        release()
        row: dict[str, Any] = {"tool": name, "chunk": None}
        if time.perf_counter() - BEGAN > SECONDS:
            yield row | {"note": "left out, no time"}
            continue
        try:
            row["chunk"] = products.best_chunk(case, name, v)
            release()
            run, report = products.tool(case, name, row["chunk"])
            work = products.bound(run, v)
            row["peak"] = peak_of(work)
            row["error"] = float((run(v).double() - truth).norm() / truth.norm())
            times = measure.in_turn({"gradient": gradient, "tool": work}, ROUNDS)
            row |= {"seconds": times["tool"], "gradient": times["gradient"], "ratio": times["tool"] / times["gradient"]}
            row["note"] = products.kept(report()) if row["error"] <= products.WRONG else "WRONG"
            row["report"] = dict(report())
            del run, report, work
        except Exception as error:
            row["note"] = f"fails: {str(error).splitlines()[0][:100]}"
        yield row


def plain_product(case: Problem, v: Tensor) -> Tensor:
    """Double backward as everyone writes it, in whatever precision is set."""
    params = list(case.model.parameters())
    total = torch.zeros_like(v, dtype=torch.float64)
    for inputs, targets in peers.batches_of(*case.data, min(case.chunks)):
        loss = functional.cross_entropy(case.model(inputs), targets, reduction="sum")
        gradients = torch.autograd.grad(loss, params, create_graph=True)
        total += peers.joined(list(torch.autograd.grad(gradients, params, peers.split(v, case.model)))).double()
    return total / case.samples


@contextmanager
def tf32() -> Iterator[None]:
    """TF32 allowed in matrix products and convolutions."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def precision_rows(case: Problem) -> Iterator[dict[str, Any]]:
    """Errors of products in lower precision, and of ours where the caller has allowed TF32."""
    v = case.vector()
    truth = case.objective(min(case.chunks), "float64").hvp(v.double())

    def row(tool: str, product: Tensor) -> dict[str, Any]:
        return {"tool": tool, "error": float((product.double() - truth).norm() / truth.norm())}

    with peers.math_attention():
        yield row("plain double backward, float32", plain_product(case, v))
        with torch.autocast(case.device, torch.bfloat16):
            yield row("plain double backward, bf16 autocast", plain_product(case, v))
        if case.device == "cpu":
            yield {"tool": "TF32", "note": "skipped: needs CUDA"}
            return
        with tf32():
            yield row("plain double backward, TF32", plain_product(case, v))
    yield row("ours", Hessian(case.objective()).matvec(v))
    with tf32():
        yield row("ours, TF32 allowed by the caller", Hessian(case.objective()).matvec(v))


def recovery(case: Problem) -> dict[str, Any]:
    """A product with chunks of all samples, first with all the memory, then with too little for them."""
    if case.device == "cpu":
        return {"note": "skipped: needs CUDA"}
    v = case.vector()

    def product() -> tuple[Tensor, dict[str, Any]]:
        operator = Hessian(case.objective(case.samples))
        return operator.matvec(v), dict(operator.report())

    release()
    resident = torch.cuda.memory_allocated()
    peak = peak_of(product) or 0.0
    free, _ = product()
    release()
    total = torch.cuda.get_device_properties(0).total_memory
    allowed = resident + 0.3 * (peak * 1e6 - resident)
    torch.cuda.set_per_process_memory_fraction(allowed / total)
    try:
        tight, report = product()
        difference = float((tight - free).norm() / free.norm())
        told = report["halvings"] > 0
        note = "recovered, and says so" if told else "fits all the same: nothing was tried"
        result = {"difference": difference, "note": note, "report": report}
    except Exception as error:
        result = {"note": f"fails: {str(error).splitlines()[0][:200]}"}
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        release()
    return {"peak": peak, "allowed": allowed / 1e6, **result}


def timed_out(what: str, results: dict[str, Any]) -> bool:
    """Whether there is no time left for this part; then it is named as left out."""
    if time.perf_counter() - BEGAN < SECONDS:
        return False
    results.setdefault("left_out", []).append(what)
    print(f"{what}: left out, no time")
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="OUT_DIR")
    parser.add_argument("--small", action="store_true", help="few samples, on the CPU")
    options = parser.parse_args()
    if not options.small and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --small runs on the CPU")
    device, small = "cpu" if options.small else "cuda", options.small
    results: dict[str, Any] = {"products": [], "precision": [], "data": {}}
    print(f"torch {torch.__version__}, {measure.circumstances()['device'] if device == 'cuda' else 'cpu'}")
    shown = {"model": "model", "tool": "tool", "error": "error:.1e", "note": ""}
    columns = products.COLUMNS | {"peak": "peak MB:,.0f"}
    for name in ORDER:
        if timed_out(name, results):
            continue
        data, results["data"][name] = data_of(name, SAMPLES[small])
        case = products.problem(name, data, SAMPLES[small], CHUNKS[small], device)
        about = {"model": name, "samples": case.samples}
        rows = [{**about, **row} for row in product_rows(case)]
        results["products"] += rows
        few = case.head()
        errors = [{"model": name, "samples": few.samples, **row} for row in precision_rows(few)]
        results["precision"] += errors
        print(f"{results['data'][name]}\n{measure.table(rows, columns)}\n{measure.table(errors, shown)}", flush=True)
        measure.write(options.out, "results.json", results)
        if name == "cnn":
            results["recovery"] = recovery(case)
            print(f"out of memory: {results['recovery']}", flush=True)
        release()
    measure.write(options.out, "results.json", results)


if __name__ == "__main__":
    main()
