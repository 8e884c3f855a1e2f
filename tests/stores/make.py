"""Writes the file of the current schema version, once a version is decided: `python tests/stores/make.py`."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from kinds import MAKERS, NONES, plane  # noqa: E402  # pyright: ignore[reportMissingImports]

from landscape.results import Status  # noqa: E402
from landscape.store import SCHEMA_VERSION, Store  # noqa: E402
from landscape.store.file import lock_of  # noqa: E402


def main() -> None:
    target = HERE / f"v{SCHEMA_VERSION}.h5"
    target.unlink(missing_ok=True)
    store = Store(target)
    for kind, maker in MAKERS.items():
        store.add("small", maker(), {"command": ["landscape", kind], "seconds": 1.5, "threads": 2}, {"threads": 2})
    for kind, maker in MAKERS.items():
        store.add("large", maker(tag=1, **dict.fromkeys(NONES[kind])))
    store.add("small", plane(tag=2, status=Status.STOPPED), {"threads": 2}, {"threads": 2})
    lock_of(target).unlink()


if __name__ == "__main__":
    main()
