"""The types of agents of a society: how they are declared, and how many there are of each."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from populace.agents.activation import Activation, EveryTick
from populace.agents.agent import Agent, check_agent, check_turn, public_fields
from populace.agents.columnar import ColumnarAgent, check_columnar
from populace.core.errors import ScenarioError, SettingsError
from populace.core.roster import ONE

if TYPE_CHECKING:
    from populace.agents.society import Society


def check_types(society: Society) -> None:
    """Raise ScenarioError for a society without usable classes of agents, or with both `agent` and `types`."""
    agent, types = society.agent, society.types
    if not isinstance(types, Mapping):
        raise ScenarioError(f'types={_name_of(types)}: it has to be classes by name: types={{"firm": Firm}}.')
    if agent is not None and types:
        raise ScenarioError("types= and agent= are both given: put the class of agent= among the types.")
    if not types:
        if agent is None:
            raise ScenarioError(
                "a society needs a class of agents: agent=Citizen, or several by name: "
                'types={"firm": Firm, "household": Household}.'
            )
        _check_class(agent, "agent=")
        return
    for name, kind in types.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ScenarioError(f"types: {name!r} has to be a name of letters, digits and _, such as 'firm'.")
        _check_class(kind, f"types[{name!r}]=")
    if not isinstance(society.size, Mapping) or society.size.keys() != types.keys():
        wanted = ", ".join(f'"{name}": {5 * 10**at}' for at, name in enumerate(types))
        raise ScenarioError(
            f"size={society.size!r}: a society with types says how many agents there are of each: size={{{wanted}}}."
        )
    fields_of_all(society)


def _check_class(kind: Any, given: str) -> None:
    check_agent(kind, given)
    if issubclass(kind, ColumnarAgent):
        check_columnar(kind)
    else:
        check_turn(kind)


def check_size(society: Society, most: int) -> None:
    """Raise ScenarioError unless the numbers of agents can be."""
    sizes = society.size if isinstance(society.size, Mapping) else {"": society.size}
    if society.size is not sizes and isinstance(society.size, bool):
        raise ScenarioError(f"size={society.size!r}: it has to be a whole number from 1 to {most:,}.")
    for name, value in sizes.items():
        least = 0 if name else 1
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            where = f"size[{name!r}]" if name else "size"
            raise ScenarioError(f"{where}={value!r}: it has to be a whole number from {least} to {most:,}.")
    if isinstance(society.size, Mapping) and not society.types:
        raise ScenarioError("size: a society with agent= has one number of agents: size=100.")
    if not 1 <= sum(sizes.values()) <= most:
        raise ScenarioError(f"size={society.size!r}: there have to be 1 to {most:,} agents in all.")


def classes_of(society: Society) -> dict[str, type[Agent]]:
    """The classes of agents by type; of a society with one class, under 'agent'."""
    if society.types:
        return dict(society.types)
    assert society.agent is not None
    return {ONE: society.agent}


def activation_of(society: Society, name: str) -> Activation:
    """When agents of a type are due."""
    given: Any = society.activation
    found: Activation = given.get(name, EveryTick()) if isinstance(given, Mapping) else given
    return found


def fields_of_all(society: Society) -> dict[str, type]:
    """The public fields of all types together. Raises ScenarioError for one that is another in another type."""
    found: dict[str, type] = {}
    owner: dict[str, str] = {}
    for kind in classes_of(society).values():
        for name, of in public_fields(kind).items():
            if found.setdefault(name, of) is not of:
                raise ScenarioError(
                    f"{kind.__name__}.{name} is {of.__name__}, and {owner[name]}.{name} is {found[name].__name__}: a "
                    "public field of one name is of one type, since it is one column of the table of agents. Give "
                    "both the same type, or one of them another name."
                )
            owner.setdefault(name, kind.__name__)
    return found


def counts_of(society: Society, given: int | Mapping[str, int] | None) -> dict[str, int]:
    """How many agents there are of each type, by what the settings say of `agents`.

    Of a society with types, a number stands for so many in all, in the proportions of `Society.size`, one of each at
    least where that has any. Raises SettingsError for a type that there is not.
    """
    size = society.size
    if not isinstance(size, Mapping):
        if isinstance(given, Mapping):
            raise SettingsError(
                f"agents.{next(iter(given), 'name')}: {society.name} has one class of agents: set agents to a number."
            )
        return {ONE: size if given is None else given}
    counts = {name: size[name] for name in society.types}
    if isinstance(given, Mapping):
        for name in given:
            if name not in counts:
                near = get_close_matches(name, counts, 1)
                meant = f" Is 'agents.{near[0]}' meant?" if near else ""
                keys = ", ".join(f"agents.{one}" for one in counts)
                raise SettingsError(f"unknown key 'agents.{name}'. The types of {society.name} are: {keys}.{meant}")
        counts |= given
        if not sum(counts.values()):
            raise SettingsError(f"agents: there is nobody: set one of {', '.join(f'agents.{one}' for one in counts)}.")
        return counts
    return counts if given is None else split(given, counts)


def split(total: int, counts: Mapping[str, int]) -> dict[str, int]:
    """So many agents in the proportions of `counts`, by largest remainder; at least one of each that has any.

    Raises SettingsError where there are fewer agents than types.
    """
    there = {name: count for name, count in counts.items() if count}
    if total < len(there):
        raise SettingsError(
            f"agents = {total}: there are {len(there)} types of agents, so it takes {len(there)} or more."
        )
    whole = sum(there.values())
    found = {name: max(1, total * count // whole) for name, count in there.items()}

    def short(name: str) -> float:
        return total * there[name] / whole - found[name]

    while (missing := total - sum(found.values())) != 0:
        if missing > 0:
            found[max(there, key=short)] += 1
        else:
            found[min((name for name in there if found[name] > 1), key=short)] -= 1
    return {name: found.get(name, 0) for name in counts}


def _name_of(value: Any) -> str:
    return getattr(value, "__name__", None) or repr(value)[:60]
