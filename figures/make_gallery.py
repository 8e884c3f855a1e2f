"""Draws the gallery in this folder from the reference minima and results in checkpoints/; trains nothing."""

import sys
import tempfile
from pathlib import Path

from landscape.store import Store
from landscape.studies.demo import ARMS, analyse, checkpoint_of, table
from landscape.studies.figures import draw_store

HERE = Path(__file__).parent
CHECKPOINTS = HERE.parent / "checkpoints"
# results of longer work, and the kinds of them that are drawn (training curves are those of the minima)
RESULTS = {
    "digits-sweep.h5": ("sweep",),
    "digits-along.h5": ("updates", "tracked"),
    "digits-sharpness.h5": ("sharpness-series", "tracked"),
    "digits-comparison.h5": ("comparison",),
    "digits-correlation.h5": ("correlation",),
    "digits-noise.h5": ("noise", "batch-errors", "tracked", "trade-off", "batch-size"),
    "digits-slices.h5": ("line", "layer-lines", "plane", "path"),
}


def main() -> None:
    checkpoints = [checkpoint_of(arm, CHECKPOINTS) for arm in ARMS]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "gallery.h5")
        rows = analyse(checkpoints, store, say=lambda text: print(text, file=sys.stderr))
        for name, kinds in RESULTS.items():
            for entry in Store(CHECKPOINTS / name).entries():
                if entry.result.kind in kinds:
                    store.add(entry.label, entry.result, entry.provenance)
        for path in draw_store(store.path, HERE):
            print(path.relative_to(HERE.parent))
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
