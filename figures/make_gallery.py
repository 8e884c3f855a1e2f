"""Draws the gallery in this folder from the reference minima in checkpoints/; trains nothing."""

import sys
import tempfile
from pathlib import Path

from landscape.store import Store
from landscape.studies.demo import ARMS, analyse, checkpoint_of, table
from landscape.studies.figures import draw_store

HERE = Path(__file__).parent


def main() -> None:
    checkpoints = [checkpoint_of(arm, HERE.parent / "checkpoints") for arm in ARMS]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "gallery.h5")
        rows = analyse(checkpoints, store, say=lambda text: print(text, file=sys.stderr))
        for path in draw_store(store.path, HERE):
            print(path.relative_to(HERE.parent))
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
