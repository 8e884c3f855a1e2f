"""The documents say what the program does: examples run, commands are all there, links lead somewhere."""

import dataclasses
import importlib.util
import re
from pathlib import Path

import click
import pytest
import torch
from landscape_cli import recipes
from landscape_cli.main import COMMANDS, group

from landscape import Recipe, Store
from landscape.data import BUILTIN as DATA
from landscape.models import BUILTIN as MODELS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(p for d in ("docs", "checkpoints", "figures") for p in (ROOT / d).glob("*.md"))])
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def maker(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command(name: str) -> click.Command:
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


def test_the_python_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    blocks = [text for language, text in FENCED.findall(read("README.md")) if language == "python"]
    blocks = [block for block in blocks if "NoiseScale()" not in block]  # run where the monitor's tests are
    assert blocks
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng(devices=[]):
        for block in blocks:
            exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out.startswith("converged")
    assert {entry.name for entry in Store("results.h5").find(label="my net")} == {"eigenpairs", "line"}
    assert Path("line.png").stat().st_size > 0


def test_every_package_is_installed():
    """An editable installation finds those that setup.cfg forgets, another does not."""
    listed = set(re.findall(r"^    (landscape(?:\.[a-z]+)?)$", read("setup.cfg"), re.MULTILINE))
    found = {"landscape", *(f"landscape.{path.parent.name}" for path in (ROOT / "landscape").glob("*/__init__.py"))}
    assert listed == found


def test_the_readme_lists_the_commands_that_exist():
    rows = re.findall(r"^\| `([a-z-]+)` \|", read("README.md"), re.MULTILINE)
    assert rows == list(COMMANDS)


def test_every_command_of_the_readme_exists_with_its_options():
    lines = [text for language, text in FENCED.findall(read("README.md")) if language == "sh"]
    calls = [line.split() for text in lines for line in text.splitlines() if line.startswith("landscape ")]
    assert calls
    for _, name, *words in calls:
        known = {option for parameter in command(name).params for option in parameter.opts}
        assert {word for word in words if re.match("-+[a-z]", word)} <= known  # -1:1:51 is a value


def test_the_reference_of_commands_is_up_to_date(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    rendered = maker("make_cli").render()
    assert rendered == read("docs/cli.md"), "run make docs"
    for name in COMMANDS:
        assert f"\n## landscape {name}\n" in rendered


def test_the_schema_is_up_to_date():
    assert maker("make_schema").render() == read("docs/schema.md"), "run make docs"


def test_the_table_of_measures_is_up_to_date():
    assert maker("make_measures").render() == read("docs/measures.md"), "run make docs"


def test_the_results_that_the_gallery_draws_are_there():
    spec = importlib.util.spec_from_file_location("make_gallery", ROOT / "figures" / "make_gallery.py")
    assert spec is not None
    assert spec.loader is not None
    gallery = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gallery)
    for name, kinds in gallery.RESULTS.items():
        assert set(kinds) <= {entry.result.kind for entry in Store(ROOT / "checkpoints" / name).entries()}, name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_text_with_an_example(name):
    text = command(name).help
    assert text is not None
    assert re.search(rf"Example:\s+landscape {name}\b", text)
    assert all(option.help for option in command(name).params if isinstance(option, click.Option))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_point_at_files(page):
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    targets = [link.partition("#")[0] for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]
    missing = [target for target in targets if target and not (page.parent / target).exists()]
    assert not missing, f"{page.name} links to {missing}"


def test_the_contributing_guide_is_short():
    assert len(read("CONTRIBUTING.md").splitlines()) <= 50


def commands_of(page):
    return [
        line
        for line in re.findall(r"^landscape .*$", read(page), re.MULTILINE)
        if line.split()[1] in ("train", "sweep")
    ]


@pytest.mark.parametrize("line", commands_of("docs/recipes.md"))
def test_the_recipes_of_the_literature_are_recipes(line, tmp_path, monkeypatch):
    """Parsed as the command does; nothing is trained."""
    monkeypatch.chdir(tmp_path)
    (toml,) = re.findall(r"```toml\n(.*?)```", read("docs/recipes.md"), re.DOTALL)
    Path("r.toml").write_text(toml)
    name, *arguments = line.split()[1:]
    module = importlib.import_module(f"landscape_cli.{name}")
    values = dict(module.command.make_context(name, arguments).params)
    fields = {field.name for field in dataclasses.fields(Recipe)}
    recipe = recipes.recipe_of(values.pop("recipe"), {key: value for key, value in values.items() if key in fields})
    assert recipe.model in MODELS
    assert recipe.data in DATA
