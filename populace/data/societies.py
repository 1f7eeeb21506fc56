"""Loads a society from a file, a module or those that ship. A shell: it reads files and runs the author's code."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from populace.agents.society import Society
from populace.core.errors import ScenarioError


@dataclass(frozen=True)
class Origin:
    """Where a society comes from, as plain data that another process can load it from.

    `name` is a module's name for a scenario of an installed package, or a file's path with its `source` text.
    """

    name: str
    source: str | None = None


_LOADED: Final[dict[Origin, Society]] = {}


def find_society(name: str) -> Origin:
    """The origin of a society by its name: a file's path, a dotted module, or a scenario that ships with populace.

    Raises ScenarioError, with the names there are, when there is no such file, module or scenario.
    """
    if name.endswith(".py"):
        path = Path(name)
        try:
            return Origin(str(path.resolve()), path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise ScenarioError(f"{name}: cannot be read ({error.strerror}). Check the path.") from None
        except UnicodeDecodeError as error:
            raise ScenarioError(f"{name}: is not UTF-8 text: {error}. Save it as UTF-8.") from None
    for module in (f"populace.scenarios.{name}", name):
        try:
            if importlib.util.find_spec(module) is not None:
                return Origin(module)
        except (ImportError, ValueError):
            continue
    known = ", ".join(sorted(shipped()))
    raise ScenarioError(f"no scenario {name!r}. Those that ship with populace: {known}. Or give a path ending in .py.")


def shipped() -> list[str]:
    """The names of the scenarios that ship with populace."""
    folder = Path(__file__).parents[1] / "scenarios"
    names = [path.stem for path in folder.glob("*.py")] + [path.parent.name for path in folder.glob("*/__init__.py")]
    return sorted(name for name in names if not name.startswith("_"))


def load_society(origin: Origin) -> Society:
    """Load the one `Society` that a module or file holds.

    A file runs from the text in `origin`, so that every process runs the same text. Raises ScenarioError, naming
    the file and the line, when it cannot be run or does not hold exactly one society.
    """
    if origin not in _LOADED:
        module = _run_module(origin)
        found = [value for value in vars(module).values() if isinstance(value, Society)]
        if len(found) != 1:
            raise ScenarioError(
                f"{origin.name}: holds {len(found)} societies and must hold one: write `society = Society(...)`."
            )
        _LOADED[origin] = found[0]
    return _LOADED[origin]


def _run_module(origin: Origin) -> Any:
    try:
        if origin.source is None:
            return importlib.import_module(origin.name)
        path = Path(origin.name)
        name = f"populace_scenario_{path.stem}"
        spec = importlib.util.spec_from_loader(name, loader=None, origin=str(path))
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        module.__file__ = str(path)
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        sys.modules[name] = module
        code = compile(origin.source, str(path), "exec", dont_inherit=True)
        exec(code, vars(module))  # noqa: S102  # it is the user's program
    except SystemExit as error:
        raise ScenarioError(
            f"{_place(origin, error)}: cannot be loaded: it ends the process (sys.exit). A society's file only "
            "declares: put what it does by itself under `if __name__ == \"__main__\":`."
        ) from None
    except Exception as error:
        what = str(error) if isinstance(error, ScenarioError) else f"{type(error).__name__}: {error}"
        raise ScenarioError(f"{_place(origin, error)}: cannot be loaded: {what}") from error
    return module


def _place(origin: Origin, error: BaseException) -> str:
    """The file and line of the scenario in which an error was raised."""
    if isinstance(error, SyntaxError) and error.filename == origin.name:
        return f"{origin.name}:{error.lineno}"
    spec = importlib.util.find_spec(origin.name) if origin.source is None else None
    files = {origin.name, spec.origin if spec else None}
    frames: Sequence[Any] = traceback.extract_tb(error.__traceback__)
    return next((f"{one.filename}:{one.lineno}" for one in reversed(frames) if one.filename in files), origin.name)
