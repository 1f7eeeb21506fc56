"""Loads a society from a file, a module or those that ship. A shell: it reads files and runs the author's code."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.util
import linecache
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from populace.agents.society import Society
from populace.core.errors import ScenarioError
from populace.data.read_files import digests, noted


@dataclass(frozen=True)
class Origin:
    """Where a society comes from, as plain data that another process can load it from.

    `name` is a file's path, or a module's name for a scenario of an installed package; where it holds several
    societies, with the name of the one that is meant: `path.py:rumour`. `source` is its text in either case, and what
    runs. Only runs that an older populace began have none: they run the module as it is installed.
    """

    name: str
    source: str | None = None


CELLS: Final = "<cells>.py"
"""Stands for a notebook's cells, in the folder in which they run, as if it were a file."""

_REMEDIES: Final = {
    "Struct types cannot define __init__": (
        "Declare what an agent has as fields (`job: str`), which the population's columns give; what follows from them "
        "is made in `def __post_init__(self):`."
    ),
    "mutable collection": (
        'Each agent needs one of its own: `log: list[str] = msgspec.field(default_factory=lambda: ["a"])`; an empty '
        "one (`= []`) may stand as it is."
    ),
    "cannot follow optional fields": (
        "Put the fields without a default (those that the population gives) before those with one."
    ),
}

_EXPERIMENT: Final = "_experiment"
_LOADED: Final[dict[Origin, Society]] = {}
_READ: Final[dict[Origin, dict[str, str]]] = {}
_HERE: Final = threading.local()


def find_society(name: str) -> Origin:
    """The origin of a society by its name: a file's path, a dotted module, or a scenario that ships with populace.

    Of a file or module with several societies, `path.py:variable` names one. Raises ScenarioError, with the names there
    are, when there is no such file, module or scenario.
    """
    place, variable = parted(name)
    if is_file(name):
        path = Path(place)
        try:
            return Origin(named(str(path.resolve()), variable), path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise ScenarioError(f"{place}: cannot be read ({error.strerror}). Check the path.") from None
        except UnicodeDecodeError as error:
            raise ScenarioError(f"{place}: is not UTF-8 text: {error}. Save it as UTF-8.") from None
    for module in (f"populace.scenarios.{place}", place):
        if (found := module_origin(named(module, variable))) is not None:
            return found
    known = ", ".join(sorted(shipped()))
    raise ScenarioError(f"no scenario {name!r}. Those that ship with populace: {known}. Or give a path ending in .py.")


def module_origin(name: str) -> Origin | None:
    """The origin of a module that can be imported here, with its text as it is now; None where there is none.

    Raises ScenarioError where its file cannot be read.
    """
    try:
        spec = importlib.util.find_spec(parted(name)[0])
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
    return sorted(name for name in names if not name.startswith("_") and not name.endswith(_EXPERIMENT))


def shipped_experiments() -> list[str]:
    """The names of the scenarios that an experiment ships beside, in `<name>_experiment.py`."""
    folder = Path(__file__).parents[1] / "scenarios"
    return sorted(path.stem.removesuffix(_EXPERIMENT) for path in folder.glob(f"*{_EXPERIMENT}.py"))


def load_module(origin: Origin) -> Any:
    """Run the text of a file or module, and give the module. Raises ScenarioError, naming file and line."""
    with _loading(origin):
        return _run_module(origin)


def load_society(origin: Origin) -> Society:
    """Load the one `Society` that a module or file holds, or the one that the origin's name says.

    What runs is the text in `origin`, so that every process runs the same; a module that still has this text is
    imported, so that other modules find the same one. Raises ScenarioError, naming
    the file and the line, when it cannot be run or does not hold exactly one society.
    """
    if origin not in _LOADED:
        place, variable = parted(origin.name)
        with _loading(origin), noted(_folder_of(place)) as read:
            module = _run_module(origin)
        found = {name: value for name, value in vars(module).items() if isinstance(value, Society)}
        if variable and variable not in found:
            raise ScenarioError(f"{place}: holds no society {variable!r}. It holds: {', '.join(found) or 'none'}.")
        if not variable and len({id(one) for one in found.values()}) > 1:
            raise ScenarioError(
                f"{place}: holds {len(found)} societies: say which one, for example {named(place, next(iter(found)))}"
            )
        if not found:
            raise ScenarioError(f"{place}: holds no society: write `society = Society(...)`.")
        _READ[origin] = read
        _LOADED[origin] = found[variable] if variable else next(iter(found.values()))
    return _LOADED[origin]


def forget(origin: Origin) -> None:
    """Have the text run anew at the next load, as in another process: what its module holds is as it began."""
    _LOADED.pop(origin, None)


def renew(origin: Origin) -> None:
    """Have the text run anew at the next load if a file that it read then holds something else now."""
    if origin in _LOADED and files_changed(origin, _READ[origin]):
        forget(origin)


def files_read(origin: Origin) -> dict[str, str]:
    """The files beside a society that its code read when it was loaded, each with its digest. Raises ScenarioError."""
    renew(origin)
    load_society(origin)
    return _READ[origin]


def files_changed(origin: Origin, read: Mapping[str, str]) -> list[str]:
    """Those of the files that a society once read which hold something else now, or are gone: their paths."""
    folder = _folder_of(parted(origin.name)[0])
    now = digests(folder, read)
    return [str(folder / name) for name in read if now.get(name) != read[name]]


def being_loaded() -> str | None:
    """The file or module of a society that this thread is loading right now, if any."""
    return getattr(_HERE, "loading", None)


@contextmanager
def _loading(origin: Origin) -> Iterator[None]:
    outer = being_loaded()
    _HERE.loading = parted(origin.name)[0]
    try:
        yield
    finally:
        _HERE.loading = outer


def _run_module(origin: Origin) -> Any:
    place, _ = parted(origin.name)
    try:
        if origin.source is None or module_origin(origin.name) == origin:
            return importlib.import_module(place)
        name = f"populace_scenario_{_stem(place)}"
        spec = importlib.util.spec_from_loader(name, loader=None, origin=place)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        if is_file(place):
            path = Path(place)
            if str(path.parent) not in sys.path:
                sys.path.append(str(path.parent))
            if not path.exists():  # so that tracebacks show its lines
                lines = origin.source.splitlines(keepends=True)
                linecache.cache[place] = (len(origin.source), None, lines, place)
        else:  # an installed module that has changed since: what it stands beside is found as before
            path = _installed(place)
            module.__package__ = place.rpartition(".")[0]
        module.__file__ = str(path)
        code = compile(origin.source, str(path), "exec", dont_inherit=True)
        before = sys.modules.get(name)
        sys.modules[name] = module
        try:
            exec(code, vars(module))  # noqa: S102  # it is the user's program
        except BaseException:
            if before is not None:  # types of a society that stands are looked up there by name
                sys.modules[name] = before
            raise
    except SystemExit as error:
        raise ScenarioError(
            f"{_place(origin, error)}: cannot be loaded: it ends the process (sys.exit). A society's file only "
            'declares: put what it does by itself under `if __name__ == "__main__":`.'
        ) from None
    except Exception as error:
        what = str(error) if isinstance(error, ScenarioError) else f"{type(error).__name__}: {error}{_remedy(error)}"
        raise ScenarioError(f"{_place(origin, error)}: cannot be loaded: {what}") from error
    return module


def _remedy(error: Exception) -> str:
    """What to write instead, for what Python or msgspec refuses in its own words; '' for all else."""
    said = str(error)
    found = next((remedy for part, remedy in _REMEDIES.items() if part in said), "")
    if isinstance(error, TypeError) and "Society.__init__" in said and (given := re.search(r"argument '(\w+)'", said)):
        known = [one.name for one in dataclasses.fields(Society)]
        near = difflib.get_close_matches(given[1], known, 1)
        found = f"{f'The nearest is {near[0]!r}. ' if near else ''}A society takes {', '.join(known)}."
    return f"{'' if said.endswith('.') else '.'} {found}" if found else ""


def parted(name: str) -> tuple[str, str]:
    """The file's path, or the module's name, in an origin's name, and the variable that it says, if any."""
    place, colon, variable = name.rpartition(":")
    return (place, variable) if colon and variable.isidentifier() else (name, "")


def named(place: str, variable: str) -> str:
    """The name of an origin in a file or module."""
    return f"{place}:{variable}" if variable else place


def is_file(name: str) -> bool:
    """Whether an origin's name is of a file; else it is of a module."""
    return parted(name)[0].endswith(".py")


def _folder_of(place: str) -> Path:
    """The folder that a society's file or module stands in."""
    return (Path(place) if is_file(place) else _installed(place)).parent


def is_of_cells(name: str) -> bool:
    """Whether an origin's name is of a society made in a notebook's cells: its text stands nowhere else."""
    return parted(name)[0].endswith(CELLS)


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
    place, _ = parted(origin.name)
    files = {place} if is_file(place) else {place, str(_installed(place))}
    if isinstance(error, SyntaxError) and error.filename in files:
        return f"{error.filename}:{error.lineno}"
    frames: Sequence[Any] = traceback.extract_tb(error.__traceback__)
    return next((f"{one.filename}:{one.lineno}" for one in reversed(frames) if one.filename in files), place)
