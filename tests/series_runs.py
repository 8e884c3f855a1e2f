"""Small runs that series of sharpness are measured over."""

from landscape import Recipe
from landscape.studies import runs
from landscape.studies.sweep import Grid, sweep

COMMON = {"model_args": {"widths": [8]}, "train_samples": 200, "lr": 0.05}
BASE = Recipe(**COMMON, batch_size=20, epochs=2)
GRID = Grid(recipe=BASE, batch_sizes=(20, 100), rules=("none", "sqrt"), seeds=(0, 1))


def series_runs(folder):
    """A sweep, a run with its kept points, and runs that began from these: warm0 began from none."""
    sweep(GRID, folder / "grid")
    runs.run(BASE, folder / "small.safetensors", extras=runs.Extras(save_every=1))
    for epochs in (0, 1, 2):
        init = str(folder / f"small.trajectory/{10 * epochs:08d}.safetensors") if epochs else None
        recipe = Recipe(**COMMON, batch_size=100, epochs=3, init=init)
        runs.run(recipe, folder / f"warm{epochs}.safetensors")
    return folder
