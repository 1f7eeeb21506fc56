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

    `name` is a file's path, or a module's name for a scenario of an installed package; `source` is its text in either
    case, and what runs. Only runs that an older populace began have none: they run the module as it is installed.
    """

    name: str
    source: str | None = None


_LOADED: Final[dict[Origin, Society]] = {}


def find_society(name: str) -> Origin:
    """The origin of a society by its name: a file's path, a dotted module, or a scenario that ships with populace.

    Raises ScenarioError, with the names there are, when there is no such file, module or scenario.
    """
    if is_file(name):
        path = Path(name)
        try:
            return Origin(str(path.resolve()), path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise ScenarioError(f"{name}: cannot be read ({error.strerror}). Check the path.") from None
        except UnicodeDecodeError as error:
            raise ScenarioError(f"{name}: is not UTF-8 text: {error}. Save it as UTF-8.") from None
    for module in (f"populace.scenarios.{name}", name):
        if (found := module_origin(module)) is not None:
            return found
    known = ", ".join(sorted(shipped()))
    raise ScenarioError(f"no scenario {name!r}. Those that ship with populace: {known}. Or give a path ending in .py.")


def module_origin(name: str) -> Origin | None:
    """The origin of a module that can be imported here, with its text as it is now; None where there is none.

    Raises ScenarioError where its file cannot be read.
    """
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    path = Path(spec.origin or "")
    if path.suffix != ".py":
        return Origin(name)  # compiled: its text cannot be kept
    try:
        return Origin(name, path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read ({error}). Check the installation of {name}.") from None


def shipped() -> list[str]:
    """The names of the scenarios that ship with populace."""
    folder = Path(__file__).parents[1] / "scenarios"
    names = [path.stem for path in folder.glob("*.py")] + [path.parent.name for path in folder.glob("*/__init__.py")]
    return sorted(name for name in names if not name.startswith("_"))


def load_society(origin: Origin) -> Society:
    """Load the one `Society` that a module or file holds.

    What runs is the text in `origin`, so that every process runs the same; a module that still has this text is
    imported, so that other modules find the same one. Raises ScenarioError, naming
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
        if origin.source is None or module_origin(origin.name) == origin:
            return importlib.import_module(origin.name)
        name = f"populace_scenario_{_stem(origin.name)}"
        spec = importlib.util.spec_from_loader(name, loader=None, origin=origin.name)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        if is_file(origin.name):
            path = Path(origin.name)
            if str(path.parent) not in sys.path:
                sys.path.append(str(path.parent))
        else:  # an installed module that has changed since: what it stands beside is found as before
            path = _installed(origin.name)
            module.__package__ = origin.name.rpartition(".")[0]
        module.__file__ = str(path)
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


def is_file(name: str) -> bool:
    """Whether an origin's name is a file's path; else it is a module's."""
    return name.endswith(".py")


def _stem(name: str) -> str:
    return Path(name).stem if is_file(name) else name.rpartition(".")[2]


def _installed(name: str) -> Path:
    """The file of a module; of one that is not installed (any more), its name."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    return Path(name if spec is None or spec.origin is None else spec.origin)


def _place(origin: Origin, error: BaseException) -> str:
    """The file and line of the scenario in which an error was raised."""
    files = {origin.name} if is_file(origin.name) else {origin.name, str(_installed(origin.name))}
    if isinstance(error, SyntaxError) and error.filename in files:
        return f"{error.filename}:{error.lineno}"
    frames: Sequence[Any] = traceback.extract_tb(error.__traceback__)
    return next((f"{one.filename}:{one.lineno}" for one in reversed(frames) if one.filename in files), origin.name)
