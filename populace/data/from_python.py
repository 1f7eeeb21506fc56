"""Where a society made in Python comes from: the file of its module, or the cells of a notebook that it needs.

Nothing is pickled: what shards on any machine, a resume and a replay run is text. A shell: it reads files and modules.
"""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from populace.agents.society import Society
from populace.core.errors import ScenarioError
from populace.data.cells import Cells
from populace.data.societies import CELLS, Origin, find_society, load_society, named


def origin_of(society: Society) -> Origin:
    """The origin of a society that a module, a script or a notebook's cell has made.

    It has to be a module's variable. Raises ScenarioError, with a next step, for one that has no name or no source.
    """
    modules = _holders(society)
    for module, variable in modules:
        file = getattr(module, "__file__", None)
        if file is not None and Path(file).suffix == ".py":
            return find_society(named(str(file), variable))
    for module, variable in modules:
        if module.__name__ == "__main__" and (cells := _cells()) is not None:
            return _of_cells(society, variable, vars(module), cells)
    if modules:
        raise ScenarioError(
            f"society {society.name!r} was typed into a Python that keeps no record of it. Save it as a file and run "
            "that, or use a notebook or IPython."
        )
    raise ScenarioError(
        f"society {society.name!r} is no variable of a module or a cell, so its source cannot be found: give it a name "
        "where no function surrounds it (`society = Society(...)`), and hand over that."
    )


def _holders(society: Society) -> list[tuple[ModuleType, str]]:
    """The modules that hold a society, each with the variable; the one that holds its agents' class first."""
    agents = {kind.__module__ for kind in society.classes.values()}
    held = []
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if value is society and isinstance(module, ModuleType) and name.isidentifier():
                held.append((module, name))
                break
    return sorted(held, key=lambda one: (one[0].__name__ not in agents, one[0].__name__ == "__main__"))


def _cells() -> list[str] | None:
    """The text of the cells that ran so far, magics made Python; None where this is no notebook and no IPython."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return None if shell is None else list(shell.history_manager.input_hist_parsed)


def _of_cells(society: Society, variable: str, there: dict[str, Any], cells: list[str]) -> Origin:
    for kind in society.classes.values():
        if there.get(kind.__name__, kind) is not kind:
            raise ScenarioError(
                f"{variable}: the cell that defines {kind.__name__} has run again since the society was made, so there "
                f"are two of them. Run the cell with `{variable} = Society(...)` again."
            )
    known = vars(builtins).keys()
    source = Cells(cells).needed(variable, lambda name: name in known, lambda name: _told(there, name))
    origin = Origin(named(str(Path.cwd() / CELLS), variable), source)
    made = load_society(origin)
    for what in ("name", "fields", "size", "ticks", "tick_seconds", "parameters", "about"):
        if repr(getattr(made, what)) != repr(getattr(society, what)):
            raise ScenarioError(
                f"{variable}: made again from its cells, its {what} is {getattr(made, what)!r} and not "
                f"{getattr(society, what)!r}: cells have run in another order than they are written. Run those that it "
                "needs again, from the first on."
            )
    return origin


def _told(there: dict[str, Any], name: str) -> str:
    """What is known of a value that no cell's text makes."""
    return f", a {type(there[name]).__name__}," if name in there else ""
