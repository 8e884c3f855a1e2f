"""The direction of the imports: each layer knows those before it and no other (ARCHITECTURE.md)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "landscape"

LAYERS = (
    {
        *{"errors", "measures", "results", "resume", "files", "digest", "specs", "provenance", "batch_sizes"},
        *{"trade_off", "comparison", "sheet", "correlation"},
    },
    {"vectors", "models", "data", "losses"},
    {"recipe", "checkpoint", "training", "execution", "passes", "code", "memory", "chunking"},
    {"objective"},
    {"products"},
    {"operators"},
    {
        "krylov",
        "spectrum",
        "traces",
        "quadrature",
        "subspace",
        "tracing",
        "alignment",
        "rescaling",
        "slices",
        "paths",
        "sharpness",
        "noise",
    },
    {"comparing"},
    {"store"},
    {"draw"},
    {"studies"},
)
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}
WITHOUT_TORCH = LAYERS[0] | {"recipe", "store", "draw"}
# A layer below that may not be used all the same: these know results, errors and plain files only.
NARROW = {"store": {"errors", "results", "resume", "files", "digest"}, "draw": {"errors", "results"}}


def imported(path: Path) -> set[str]:
    """Absolute names of what a module imports."""
    found = set()
    package = ("landscape", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join((*package[: len(package) - node.level + 1], *([node.module] if node.module else [])))
            found |= {base} if node.module else {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name in imported(path):
        parts = name.split(".")
        assert parts[0] not in ("cli", "landscape_cli"), f"{path.name} knows the commands"
        assert parts[0] != "click" or own == "cli"
        assert parts[0] != "torch" or own not in WITHOUT_TORCH, f"{path.name} imports torch"
        if parts[0] == "landscape" and parts[1] != own:
            assert LEVEL[parts[1]] <= LEVEL[own], f"{own} imports {parts[1]}, which stands after it"
            assert own not in NARROW or parts[1] in NARROW[own], f"{own} must not know {parts[1]}"


def test_every_module_has_a_layer_and_stays_under_the_ceiling():
    for path in MODULES:
        assert path.relative_to(ROOT).parts[0].removesuffix(".py") in LEVEL
        assert len(path.read_text().splitlines()) <= 300, f"{path.name} is too long: split it"


@pytest.mark.parametrize("name", ["landscape", "landscape.store", "landscape.draw", "landscape_cli.main"])
def test_no_torch_comes_with(name):
    script = f"import {name}, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_public_names_exist():
    import landscape

    for name in landscape.__all__:
        assert getattr(landscape, name) is not None
