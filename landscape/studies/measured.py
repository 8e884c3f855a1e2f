"""What is measured: checkpoints and SPECs resolved to objectives over the same samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from .. import specs
from ..checkpoint import Checkpoint, fitted, load_checkpoint
from ..data import Splits, load_data
from ..data.corruption import changed
from ..errors import InputError, UsageError
from ..losses import of_normalized_logits, resolve_loss
from ..models import build_model
from ..objective import Objective

DEFAULT_DATA = "digits"
DEFAULT_LOSS = "cross_entropy"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked to have measured. None means: as the checkpoint's recipe says, else the default."""

    model: str | None = None
    model_args: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    data_args: Mapping[str, Any] = field(default_factory=dict)
    loss: str | None = None
    l2: float = 0.0
    split: str | None = "train"  # None: both, where the data have a test split
    samples: int | None = None
    bn: str = "eval"
    bn_batch: int | None = None
    device: str = "auto"
    dtype: str = "float32"
    seed: int = 0
    chunk: int | None = None
    labels: tuple[str, ...] = ()
    trust_recipe: bool = False
    params: str | None = None  # a glob pattern: the block of params that is measured
    hvp: str = "auto"
    memory: int | None = None  # bytes that products may keep
    normalize_logits: bool = False


@dataclass(frozen=True)
class Minimum:
    """A point to be measured: its label, its objective, the same on the test split where asked for, its file."""

    label: str
    objective: Objective
    test: Objective | None
    path: Path | None
    split: str  # the split that `objective` is of
    inputs: Mapping[str, str]  # sha256 of the checkpoint, by its path, as it was read


@dataclass(frozen=True)
class Setup:
    """Checkpoints read, their data loaded once, their labels: minima at any number of samples come from it."""

    request: Request
    checkpoints: tuple[Checkpoint, ...]
    sources: tuple[_Source, ...]
    splits: Splits
    labels: tuple[str, ...]

    @property
    def available(self) -> int:
        """Samples of the split that is measured."""
        return len(self.splits.split("train" if self.request.split in (None, "both") else self.request.split))

    def minima(self, samples: int | None) -> list[Minimum]:
        """The minima, over the first so many samples of a fixed permutation, or all."""
        with _recipes_fault(self.request.loss is None and bool(self.checkpoints)):
            shared = _Shared(replace(self.request, samples=samples), self.sources[0].loss, self.splits)
        found = []
        for index, source in enumerate(self.sources):
            checkpoint = self.checkpoints[index] if self.checkpoints else None
            objective, test = shared.at(source, checkpoint)
            path = checkpoint.path if checkpoint else None
            inputs = {str(checkpoint.path): checkpoint.sha256} if checkpoint else {}
            found.append(Minimum(self.labels[index], objective, test, path, shared.split, inputs))
        return found


def measured(request: Request, paths: Sequence[str]) -> list[Minimum]:
    """The minima of checkpoints, or the model's own weights where none is given, in the order given.

    All share samples, loss and settings. Raises InputError where a checkpoint does not fit, or where two of them
    were trained on different data and --data does not say which to use.
    """
    return set_up(request, paths).minima(request.samples)


def one_by_one(request: Request, paths: Sequence[str], labels: Sequence[str]) -> Iterator[Minimum]:
    """The same minima under these labels, each read when its turn has come: memory holds one however many there are."""
    setup = set_up(replace(request, labels=()), paths[:1])
    with _recipes_fault(request.loss is None):
        shared = _Shared(request, setup.sources[0].loss, setup.splits)
    for path, label in zip(paths, labels, strict=True):
        checkpoint = load_checkpoint(path)
        source = _source(request, checkpoint)
        _refuse_different([setup.sources[0], source])
        objective, test = shared.at(source, checkpoint)
        yield Minimum(label, objective, test, checkpoint.path, shared.split, {str(path): checkpoint.sha256})


def set_up(request: Request, paths: Sequence[str]) -> Setup:
    """Reads checkpoints and data; raises as `measured` does."""
    if not paths and request.model is None:
        raise UsageError("nothing to measure: give a checkpoint, or --model SPEC")
    checkpoints = [load_checkpoint(path) for path in paths]
    sources = [_source(request, checkpoint) for checkpoint in checkpoints] or [_source(request, None)]
    _refuse_different(sources)
    with _recipes_fault(bool(paths) and request.data is None and not request.data_args):
        splits = changed(load_data(sources[0].data, sources[0].data_args), **sources[0].changes)
    labels = _labels(request.labels, paths, sources[0].model)
    return Setup(request, tuple(checkpoints), tuple(sources), splits, tuple(labels))


def refuse_different(request: Request, checkpoints: Sequence[Checkpoint]) -> None:
    """InputError where checkpoints were trained on different data or losses and the request does not name one."""
    _refuse_different([_source(request, checkpoint) for checkpoint in checkpoints])


def _refuse_different(sources: Sequence[_Source]) -> None:
    if len({(s.data, repr(s.data_args), repr(s.changes), s.loss) for s in sources}) > 1:
        raise InputError("the checkpoints were trained on different data or losses; name one by --data and --loss")


@contextmanager
def _recipes_fault(by_recipe: bool) -> Iterator[None]:
    """A name that a recipe gives is read from a file: an unknown one is a refused input, no wrong usage."""
    try:
        yield
    except UsageError as error:
        if by_recipe:
            raise InputError(f"the checkpoint's recipe cannot be used: {error}") from error
        raise


@dataclass(frozen=True)
class _Source:
    model: str
    model_args: Mapping[str, Any]
    data: str
    data_args: Mapping[str, Any]
    changes: Mapping[str, Any]  # of the training samples, by the recipe
    loss: str


def _source(request: Request, checkpoint: Checkpoint | None) -> _Source:
    """SPECs of one checkpoint: the request's, else the recipe's (built-in names only, unless trusted)."""
    recipe = checkpoint.recipe if checkpoint else None
    if checkpoint is not None and recipe is None and (request.model is None or request.data is None):
        wanted = "--model and --data" if request.model is None else "--data"
        raise InputError(f"{checkpoint.path} carries no recipe; say what it is by {wanted}")

    def choose(name: str, asked: str | None, default: str) -> str:
        if asked is not None or recipe is None:
            return asked or default
        found = str(getattr(recipe, name))
        if not specs.is_builtin(found) and not request.trust_recipe:
            raise InputError(
                f"the recipe names code, {name} {found}, which is not run unasked; "
                f"give --{name} {found} again or --trust-recipe"
            )
        return found

    def arguments(name: str, asked: Mapping[str, Any], spec: str | None) -> Mapping[str, Any]:
        return asked if asked or spec is not None or recipe is None else getattr(recipe, name)

    return _Source(
        model=choose("model", request.model, ""),
        model_args=arguments("model_args", request.model_args, request.model),
        data=choose("data", request.data, DEFAULT_DATA),
        data_args=arguments("data_args", request.data_args, request.data),
        # data that the user names are taken as they are
        changes=recipe.changes if recipe is not None and request.data is None else {},
        loss=choose("loss", request.loss, DEFAULT_LOSS),
    )


class _Shared:
    """Builds one objective for each architecture and moves it to each checkpoint."""

    def __init__(self, request: Request, loss: str, splits: Splits) -> None:
        self.request, self.splits = request, splits
        asked = request.split or ("both" if splits.test is not None else "train")
        self.split = "train" if asked == "both" else asked
        self.with_test = asked == "both"
        self.loss = resolve_loss(loss)
        if request.normalize_logits:
            self.loss = of_normalized_logits(self.loss)
        self.built: dict[tuple[str, str], tuple[nn.Module, Objective, Objective | None]] = {}

    def at(self, source: _Source, checkpoint: Checkpoint | None) -> tuple[Objective, Objective | None]:
        """The objective at a checkpoint, and that on the test split where it was asked for."""
        key = (source.model, repr(source.model_args))
        if key not in self.built:
            with _recipes_fault(self.request.model is None and not self.request.model_args):
                model = build_model(source.model, source.model_args, self.splits, self.request.seed)
            if checkpoint is not None:
                fitted(checkpoint, model)  # told before the data are moved
            self.built[key] = (model, *self._objectives(model))
        model, objective, test = self.built[key]
        if checkpoint is None:
            return objective, test
        tensors = fitted(checkpoint, model)
        return objective.at(tensors), None if test is None else test.at(tensors)

    def _objectives(self, model: nn.Module) -> tuple[Objective, Objective | None]:
        objective = self._objective(model, self.split, l2=self.request.l2)
        return objective, self._objective(model, "test", l2=0.0) if self.with_test else None

    def _objective(self, model: nn.Module, split: str, *, l2: float) -> Objective:
        request = self.request
        samples = self.splits.split(split)
        count = request.samples
        if self.with_test and split == "test" and count is not None:
            count = min(count, len(samples))
        return Objective(
            model,
            self.loss,
            samples,
            l2=l2,
            samples=count,
            params=request.params,
            chunk=request.chunk,
            bn=request.bn,
            bn_batch=request.bn_batch,
            device=request.device,
            dtype=request.dtype,
        )


def _labels(given: Sequence[str], paths: Sequence[str], model: str) -> list[str]:
    count = max(1, len(paths))
    if given and len(given) != count:
        raise UsageError(f"{count} minima take {count} labels, got {len(given)}")
    if not paths:
        return [given[0] if given else model.rpartition(":")[2] or model]
    stems = [Path(path).stem for path in paths]
    folders = [f"{Path(path).resolve().parent.name}-{stem}" for path, stem in zip(paths, stems, strict=True)]
    labels = list(given) or [f if stems.count(s) > 1 else s for s, f in zip(stems, folders, strict=True)]
    if len(set(labels)) < len(labels):
        raise UsageError(f"the labels {', '.join(labels)} are not all different; give --label once a checkpoint")
    return labels
