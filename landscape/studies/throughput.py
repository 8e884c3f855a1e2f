"""Samples a second and memory of training by batch size, measured on the user's model, data and device."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import execution, memory
from ..data import Samples
from ..data.samples import length
from ..errors import InputError, ResourceError, one_line
from ..objective import Objective
from ..recipe import Recipe
from ..training.batch_norm import use_ghosts
from ..training.batches import Batches
from ..training.machine import APART
from ..training.update import Update

WARM_UP = 3  # updates before the clock: the first ones build kernels, memory pools and the optimiser's state
ROUNDS = 6  # over all sizes, in turn rising and falling
FEW = 2  # of them where an update alone takes longer than a size's seconds


class Trainer:
    """A copy of an objective's model at its point, which makes the training loop's own updates of any batch size.

    `samples` are the training samples, moved to the objective's device and type; of the recipe the settings of an
    update count: optimiser, augmentation, micro-batches, ghosts, arithmetic. Raises InputError for samples that cannot
    be joined, and for a model that cannot be copied.
    """

    def __init__(self, objective: Objective, samples: Samples, recipe: Recipe) -> None:
        self.device = objective.device
        self.before = self._allocated()
        if not samples.divisible:
            raise InputError("training needs samples that can be joined; give batches of equal shapes")
        try:
            self.model = copy.deepcopy(objective.model).to(self.device, objective.dtype)
        except Exception as error:
            raise InputError(f"the model cannot be copied: {one_line(error)}; give it as file.py:name") from error
        self.model.load_state_dict(objective.layout.named(objective.params) | objective.constants, strict=False)
        if recipe.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        if recipe.ghost_batch is not None:
            use_ghosts(self.model, recipe.ghost_batch)
        self.recipe = recipe
        self.random: list[Tensor] | None = None
        self.samples = samples.to(self.device, objective.dtype)
        generator = torch.Generator().manual_seed(recipe.seeds["augment"] ^ APART)
        self.batches = Batches(recipe, self.samples, generator)
        self.update = Update(recipe, self.model, objective.loss, self.batches)

    def _allocated(self) -> int:
        return torch.cuda.memory_allocated(self.device) if self.device.type == "cuda" else 0

    @contextmanager
    def training(self) -> Iterator[None]:
        """Training mode, and a random state of its own that goes on from call to call (dropout draws from torch's)."""
        cuda = self.device.type == "cuda"
        with torch.random.fork_rng(devices=[self.device] if cuda else []), execution.repeatable():
            if self.random is None:
                torch.manual_seed(self.recipe.seed)
            else:
                torch.set_rng_state(self.random[0])
                if cuda:
                    torch.cuda.set_rng_state(self.random[1], self.device)
            self.model.train()
            yield
            self.random = [torch.get_rng_state(), *([torch.cuda.get_rng_state(self.device)] if cuda else [])]

    def updates(self, size: int, count: int, rate: float) -> None:
        """So many updates, each of `size` samples: what is left of an epoch and is fewer is passed over."""
        for _ in range(count):
            if self.batches.position + size > self.batches.count:
                self.batches.next_epoch()
            batch = self.batches.take(size)
            assert length(batch) == size
            self.update(batch, rate)

    def clocked(self, size: int, count: int) -> float:
        """Seconds of so many updates of length zero.

        A rate of zero costs the same arithmetic, and keeps the params where they are at sizes whose rate nobody knows.
        """
        self._synchronise()
        began = time.perf_counter()
        self.updates(size, count, 0.0)
        self._synchronise()
        return time.perf_counter() - began

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def tensors(self) -> dict[str, Tensor]:
        """Params and buffers as they are, copies."""
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    # -- memory

    def resident(self) -> int:
        """Bytes of samples, params, buffers and the optimiser's state."""
        state = [tensor for tensors in self.update.optimizer.state.values() for tensor in tensors]
        blocks = [tensor for block in self.samples.blocks for tensor in _tensors(block)]
        return memory.storage_bytes([*self.model.state_dict().values(), *state, *blocks])

    def peak(self, size: int) -> float:
        """Bytes in use at most in an update of `size` samples; the samples, params and optimiser's state included.

        On CUDA what torch's allocator counted. On the CPU, whose allocator counts nothing, `resident` and the
        largest sum of living tensors that operations made meanwhile: scratch memory inside an operation is not in it.
        nan for a compiled model on the CPU, whose kernels do not show their tensors. Costs an update.
        """
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self.updates(size, 1, 0.0)
            return float(torch.cuda.max_memory_allocated(self.device) - self.before)
        if self.recipe.compile:
            return float("nan")
        self.batches.next_epoch()  # the window of samples is gathered anew, so that it is counted
        with _Highest() as ledger:
            self.updates(size, 1, 0.0)
        return float(self.resident() + ledger.highest)


def _tensors(block: Any) -> list[Tensor]:
    return list(block.values()) if isinstance(block, dict) else list(block)


class _Highest(memory.Ledger):
    """The largest sum of living storages that operations made under it."""

    highest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs)
        self.storages = {key: found for key, found in self.storages.items() if not found[0].expired()}
        self.highest = max(self.highest, sum(size for _, size in self.storages.values()))
        return result


@dataclass(frozen=True)
class Rung:
    """One batch size: updates of a repeat and how many there are to be; samples a second of each; bytes at most."""

    size: int
    count: int
    rounds: int
    rates: tuple[float, ...]
    memory: float


def climb(
    trainer: Trainer,
    sizes: Sequence[int],
    *,
    seconds: float,
    bound: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Rung], bool]:
    """Rungs of rising batch sizes, each timed for about so many seconds; whether memory ended them before their end.

    The seconds of a size are cut into six repeats (two where one update is longer than they are), and each of six
    rounds, in turn rising and falling, has one repeat of every size: a slow moment of a shared machine falls on all
    sizes alike, and a median over rounds leaves it out. A size ends the ladder where torch runs out of memory, where
    it takes more than `bound` bytes, or, on the CPU, where it would not fit by what the size before it took: there the
    system would end the process. Sizes too small for the model's batch norm are left out. `progress` gets the rounds
    done. Raises ResourceError where not even one size fits, InputError where the model can be trained at none, and for
    a `bound` where memory is not known.
    """
    with trainer.training():
        rungs, short = _rise(trainer, sizes, seconds, bound)
        for done in range(1, ROUNDS):
            if progress:
                progress(done)
            for i in range(len(rungs))[:: -1 if done % 2 else 1]:
                if done < rungs[i].rounds:
                    rungs[i] = _again(trainer, rungs[i])
    return rungs, short


def _rise(trainer: Trainer, sizes: Sequence[int], seconds: float, bound: int | None) -> tuple[list[Rung], bool]:
    """The first round, which finds the end of the ladder."""
    rungs: list[Rung] = []
    refused: InputError | None = None
    for size in sizes:
        if rungs and not _fits(trainer, size, rungs[-1]):
            return rungs, True
        try:
            found = _rung(trainer, size, seconds)
        except InputError as error:
            if rungs:
                raise
            refused = error
            continue
        if found is not None and bound is not None and math.isnan(found.memory):
            raise InputError(
                f"--memory {bound} cannot be held: the CPU does not tell what a compiled model takes; leave one of both"
            )
        if found is not None and (bound is None or found.memory <= bound):
            rungs.append(found)
        elif rungs:
            return rungs, True
        else:
            raise _too_little(trainer, size, found, bound)
    if refused and not rungs:
        raise refused
    return rungs, False


def _rung(trainer: Trainer, size: int, seconds: float) -> Rung | None:
    """A size with its first repeat; None where memory runs out."""
    try:
        spent = each = trainer.clocked(size, 1)  # now the optimiser's state and the kernels are there
        peak = trainer.peak(size)
        for _ in range(WARM_UP - 1):
            if spent < seconds / ROUNDS:
                each = trainer.clocked(size, 1)
                spent += each
        count = max(1, int(seconds / ROUNDS / each))
        rates = (size * count / trainer.clocked(size, count),)
        return Rung(size, count, ROUNDS if each <= seconds else FEW, rates, peak)
    except Exception as error:
        if not memory.out_of_memory(error):
            raise
    # Outside the except block: there the traceback's frames would hold the tensors.
    memory.release()
    return None


def _again(trainer: Trainer, rung: Rung) -> Rung:
    """The size with a repeat more; as it is where memory runs out now."""
    try:
        trainer.updates(rung.size, 1, 0.0)  # the caches are another size's
        rate = rung.size * rung.count / trainer.clocked(rung.size, rung.count)
        return dataclasses.replace(rung, rates=(*rung.rates, rate))
    except RuntimeError as error:
        if not memory.out_of_memory(error):
            raise
    memory.release()
    return rung


def _fits(trainer: Trainer, size: int, last: Rung) -> bool:
    """On the CPU, whether what an update makes fits if it grows as the batch does; True where that is not known."""
    if trainer.device.type == "cuda":
        return True
    wanted = (last.memory - trainer.resident()) * size / last.size
    return not wanted > memory.free_bytes(trainer.device)


def _too_little(trainer: Trainer, size: int, found: Rung | None, bound: int | None) -> ResourceError:
    least = f"not even B = {size}, the smallest batch, can be trained"
    if found is None:
        return ResourceError(f"{least}: {trainer.device.type} is out of memory; free some, or take a smaller network")
    return ResourceError(f"{least} within --memory {bound}: it takes {found.memory:.0f} bytes; raise --memory")
