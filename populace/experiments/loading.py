"""Finds an experiment by the name of where it is declared: a file, a module, or a name that ships. Shell."""

from __future__ import annotations

from populace.core.errors import ScenarioError
from populace.data.societies import find_society, load_module, named, parted, shipped_experiments
from populace.experiments.declared import Experiment


def find_experiment(name: str) -> Experiment:
    """The experiment of a file (`path.py`, `path.py:variable`), a module, or a name that ships with populace.

    Of a scenario that ships that is the one beside it, `<name>_experiment`, or in it. Raises ScenarioError, with the
    names there are, for none, and for several of which none is named.
    """
    place, variable = parted(name)
    tried = [place] if place.endswith(".py") else [f"{place}_experiment", place]
    found: dict[str, Experiment] = {}
    for at in tried:
        try:
            origin = find_society(named(at, variable))
        except ScenarioError:
            if at == tried[-1]:
                raise
            continue
        found = {key: one for key, one in vars(load_module(origin)).items() if isinstance(one, Experiment)}
        if found:
            break
    if variable and variable not in found:
        raise ScenarioError(f"{place}: holds no experiment {variable!r}. It holds: {', '.join(found) or 'none'}.")
    if variable:
        return found[variable]
    if len({id(one) for one in found.values()}) > 1:
        raise ScenarioError(f"{place}: holds {len(found)} experiments: say which one, as {place}:{next(iter(found))}")
    if not found:
        ships = ", ".join(shipped_experiments()) or "none"
        raise ScenarioError(
            f"{place}: holds no experiment: write `experiment = Experiment(...)`. Those that ship: {ships}."
        )
    return next(iter(found.values()))
