"""The house's own rules: types, style, and which room may import what."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "command",
    [["mypy"], ["ruff", "check", "--no-cache", "."]],
    ids=["mypy", "ruff"],
)
def test_the_checkers_are_content(command):
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_test_imports_another():
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.match(r"\s*(from|import) test_", line)
    ]
    assert not found, "what two tests need stands in tests/support: " + "; ".join(found)


def test_every_room_has_its_place_among_the_layers_and_says_what_it_is_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    placed = {name.strip() for layer in layers for name in re.split(r"[|:]", layer)}
    rooms = {f"populace.{path.parent.name}": path for path in (ROOT / "populace").glob("*/__init__.py")}
    assert not rooms.keys() - placed, "a room without a layer in pyproject.toml"
    assert all(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in rooms.values())


def test_imports_point_down_and_each_shell_stands_alone():
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_that_the_documents_name_are_there():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")]
    named = {
        (page.name, name)
        for page in pages
        for name in re.findall(r"\b(?:tests|benchmarks|verification)/[\w/*]+\.py\b", page.read_text())
    }
    assert len(named) > 20
    assert {(page, name) for page, name in named if not any(ROOT.glob(name))} == set()


def test_no_two_test_files_have_one_name():
    """Where pytest collects both, the second is an import of the first."""
    names = Counter(path.name for path in ROOT.glob("tests/**/test_*.py"))
    assert [name for name, n in names.items() if n > 1] == []
