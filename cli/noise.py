"""landscape noise"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from . import options
from .computing import bar, checked_store, fields_of, numerical_as_json, obtain, on_test, present

if TYPE_CHECKING:
    from landscape.results import BatchErrors, GradientNoise
    from landscape.store import Store
    from landscape.studies.measured import Minimum


MOST = 0.5  # of tr(Sigma_N), from which on one sample alone is told


@click.command("noise")
@click.argument("checkpoint", required=False, metavar="[CKPT]")
@click.option("--full", is_flag=True, help="Add b_noise = tr(H Sigma) / G'HG and the best learning rate.")
@click.option("--probes", type=int, default=30, show_default=True, help="Random products behind b_noise.")
@click.option("--spectrum", type=int, default=0, metavar="K", help="Add the K largest eigenvalues of the covariance.")
@click.option("--errors", is_flag=True, help="Measure batches of each size too: E|g_B - g|^2 against the law.")
@click.option("--per-layer", is_flag=True, help="Print the part of each param tensor.")
@click.option(
    "--route",
    type=click.Choice(["auto", "norms", "vmap", "batches"]),
    default="auto",
    show_default=True,
    help="Gradients of samples: from layers' inputs, vectorised, or of batches only.",
)
@click.option("--level", type=float, default=0.95, show_default=True, help="Confidence level of intervals.")
@click.option("--batch-size", type=int, help="Of training, for its temperature.  [default: the recipe's]")
@click.option("--lr", "learning_rate", type=float, help="Learning rate of training.  [default: the recipe's]")
@click.option("--momentum", type=float, help="Momentum of training.  [default: the recipe's]")
@options.products
@options.what_to_measure("float32", "train")
@options.storing
def command(checkpoint: str | None, as_json: bool, **flags: Any) -> int:
    """Gradient noise scale at a checkpoint: tr(Sigma) / |G|^2 of the samples' gradients, with its interval.

    Samples count as draws from a population. A network that fits its train samples has no gradient left there: then
    --split test says more. Batches far below the noise scale waste no samples, batches far above it no longer help.

    \b
    Example:
      landscape noise runs/small.safetensors --full --per-layer
      landscape noise --model mlp --data digits --errors --out r.h5
    """
    with numerical_as_json("noise", as_json):
        return _noise(checkpoint, as_json, **flags)


def _noise(
    checkpoint: str | None,
    as_json: bool,
    full: bool,
    probes: int,
    spectrum: int,
    errors: bool,
    per_layer: bool,
    route: str,
    level: float,
    batch_size: int | None,
    learning_rate: float | None,
    momentum: float | None,
    out: str | None,
    overwrite: bool,
    **flags: Any,
) -> int:
    store = checked_store(out)
    asked = options.request(**flags)
    from landscape.noise import gradient_noise, noise_settings
    from landscape.results import GradientNoise
    from landscape.studies.measured import set_up
    from landscape.studies.training_settings import training_settings

    setup = set_up(asked, [checkpoint] if checkpoint else [])
    (minimum,) = setup.minima(asked.samples)
    given: dict[str, Any] = {"batch_size": batch_size, "learning_rate": learning_rate, "momentum": momentum}
    recipe = setup.checkpoints[0].recipe if setup.checkpoints else None
    chosen: dict[str, Any] = {"route": route, "level": level, "full": full, "probes": probes, "spectrum": spectrum}
    chosen |= training_settings(recipe, len(setup.splits.train), **given)
    chosen |= {"seed": asked.seed, "hvp": asked.hvp}

    def compute(*_: object) -> GradientNoise:
        with bar(f"noise of {minimum.label}", 1.0) as update:
            return gradient_noise(minimum.objective, **chosen, memory=asked.memory, progress=update)

    identity = noise_settings(minimum.objective, **chosen)
    result, provenance = obtain(store, minimum.label, identity, compute, minima=[minimum], overwrite=overwrite)
    assert isinstance(result, GradientNoise)
    also: dict[str, Any] = on_test(minimum)
    lines = _text(result, per_layer)
    if errors:
        found, origin = _errors(store, minimum, asked.seed, overwrite=overwrite)
        lines += _law(found)
        also |= {"errors": fields_of(found)} if as_json else {}
        provenance = {**provenance, **{key: origin[key] for key in ("not_saved",) if key in origin}}
    return present(result, minimum.label, provenance, lines, as_json, also, why=_why(result, minimum.split))


def _errors(store: Store | None, minimum: Minimum, seed: int, *, overwrite: bool) -> tuple[BatchErrors, dict[str, Any]]:
    """The errors of batches at the same minimum, found or computed."""
    from landscape.noise import DRAWS, batch_errors, errors_settings
    from landscape.results import BatchErrors

    def compute(*_: object) -> BatchErrors:
        with bar(f"errors of batches at {minimum.label}", 2 * DRAWS) as update:
            return batch_errors(minimum.objective, seed=seed, progress=update)

    identity = errors_settings(minimum.objective, seed=seed)
    found, origin = obtain(store, minimum.label, identity, compute, minima=[minimum], overwrite=overwrite)
    assert isinstance(found, BatchErrors)
    return found, origin


def _text(found: GradientNoise, per_layer: bool) -> list[str]:
    percent = f"{100 * found.level:g} %"
    value = "not resolved" if found.b_simple is None else f"{found.b_simple:.4g} samples"
    lines = [
        f"b_simple      {value}   ({percent}: {_interval(found.b_simple_low, found.b_simple_high)})",
        f"tr(Sigma)     {found.trace_covariance: .6e}{_error(found.trace_covariance_stderr)}   "
        f"(effective rank {_number(found.effective_rank)})",
        f"|G|^2         {found.gradient_norm_squared: .6e}{_error(found.gradient_norm_squared_stderr)}   "
        f"(of the mean over these samples: {found.mean_gradient_norm_squared:.4e})",
        f"diversity     {found.diversity:.4g}" + ("" if found.cosine is None else f"   mean cosine {found.cosine:.4g}"),
    ]
    if found.gradient_curvature is not None:
        value = "not resolved" if found.b_noise is None else f"{found.b_noise:.4g} samples"
        lines.append(f"b_noise       {value}   ({percent}: {_interval(found.b_noise_low or 0.0, found.b_noise_high)})")
        of_batch = "" if found.eps_opt is None else f"   at batch size {found.batch_size}: {found.eps_opt:.4g}"
        lines.append(f"eps_max       {_number(found.eps_max)}{of_batch}")
    if found.temperature is not None:
        lines.append(
            f"temperature   {found.temperature:.4g}   lr N / (B (1 - momentum)) at lr {found.learning_rate:g}, batch "
            f"{found.batch_size}, momentum {found.momentum or 0:g}; by N/B - 1 {found.temperature_exact:.4g}"
        )
    if found.eigenvalues is not None:
        rank = "" if found.rank is None else f"   rank {found.rank}"
        lines.append(f"covariance    {' '.join(f'{value:.4g}' for value in found.eigenvalues)}{rank}")
    if per_layer:
        width = max(map(len, found.layers))
        lines.append(f"  {'':<{width}}  tr(Sigma)                 |G|^2         signal / noise")
        lines += [
            f"  {name:<{width}}  {trace: .4e} +- {error:.1e}   {norm: .4e}   {signal:.4g}"
            for name, trace, error, norm, signal in zip(
                found.layers,
                found.layer_trace,
                found.layer_trace_stderr,
                found.layer_gradient_norm_squared,
                found.layer_signal_to_noise,
                strict=True,
            )
        ]
    of = "samples" if found.unit_size == 1 else f"batches of {found.unit_size}"
    lines.append(
        f"{found.status}: gradients of {of} by {found.route}, {found.num_params} params, {found.num_samples} samples, "
        f"loss {found.loss:.4g}"
    )
    return lines


def _law(found: BatchErrors) -> list[str]:
    rows = zip(
        found.batch_size,
        found.with_replacement,
        found.with_replacement_stderr,
        found.predicted,
        found.without_replacement,
        found.without_replacement_stderr,
        found.predicted_finite,
        strict=True,
    )
    note = []
    if found.largest_part is not None and found.largest_part > MOST:
        note = [
            f"one sample makes {found.largest_part:.0%} of tr(Sigma_N): few batches hold it, and means over draws are "
            "mostly too low"
        ]
    head = f"{'batch':>7}  {'with replacement':<22} {'law':<11} {'without':<22} {'law':<11}"
    return [
        f"E|g_B - g|^2, {found.draws} draws",
        head,
        *(f"{size:>7}  {a:.4e} +- {e:<8.1e} {p:.4e}  {b:.4e} +- {f:<8.1e} {q:.4e}" for size, a, e, p, b, f, q in rows),
        *note,
    ]


def _interval(low: float, high: float | None) -> str:
    return f"above {low:.4g}" if high is None or not math.isfinite(high) else f"{low:.4g} to {high:.4g}"


def _error(stderr: float | None) -> str:
    return "" if stderr is None else f" +- {stderr:.1e}"


def _why(found: GradientNoise, split: str) -> str:
    """Why the scale is not resolved, and what to try."""
    if found.trace_covariance_stderr is None:
        count = found.num_samples // found.unit_size
        return f"the gradients of {count} samples or batches do not tell their own spread; give at least 8"
    other = "" if split == "test" else ", or at a minimum --split test"
    return f"|G|^2 cannot be told from zero; give more samples{other}"


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"
