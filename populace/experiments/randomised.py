"""Lots in levers: who is treated within a run, agents or whole communities of the network. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from populace.core.errors import ScenarioError

_KEY: Final = "randomised"


class Randomised(msgspec.Struct, frozen=True, kw_only=True):
    """Stands in a lever for a group: the agents (or communities) that are drawn to be treated, a `share` of them.

    With `by` "communities" the network's communities are drawn whole (by greedy modularity, on the network as it is at
    tick 0), so that ties between treated and untreated are few; with "agents" each agent by itself,
    and those who are not drawn hear of the treatment from those who are: what is told of them is told with that. The
    lot is that of `key`, so two levers of one key treat the same agents, and a smaller share is part of a larger one.
    """

    by: Literal["agents", "communities"] = "agents"
    share: float = 0.5
    key: str = "assignment"


def plain_lever(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A lever as data that JSON can hold, and as one that can be checked before anybody is drawn (by agent 0)."""
    return _with(given, lambda one: {_KEY: msgspec.to_builtins(one)}), _with(given, lambda _: [0])


def lots_of(arms: Iterable[Any]) -> list[Randomised]:
    """The lots that the levers of arms name, each once. Raises ScenarioError for a key with two ways of drawing."""
    found: dict[str, Randomised] = {}
    for arm in arms:
        for lever in arm.levers:
            for one in lots_in(lever):
                other = found.setdefault(one.key, one)
                if other.by != one.by:
                    raise ScenarioError(
                        f"arm {arm.name!r}: the key {one.key!r} draws {one.by} here and {other.by} there"
                    )
    return list(found.values())


def _with(value: Any, of: Any) -> Any:
    if isinstance(value, Randomised):
        return of(value)
    if isinstance(value, Mapping):
        return {str(key): _with(inner, of) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with(inner, of) for inner in value]
    return value


def lots_in(value: Any) -> list[Randomised]:
    """The lots that stand anywhere in a lever as plain data."""
    if isinstance(value, Mapping):
        if value.keys() == {_KEY}:
            return [msgspec.convert(value[_KEY], Randomised)]
        return [one for inner in value.values() for one in lots_in(inner)]
    return [one for inner in value for one in lots_in(inner)] if isinstance(value, list) else []


def filled(value: Any, ids: Any) -> Any:
    """A lever as plain data with the ids of who is drawn, `ids(lot)`, in place of its lots."""
    if isinstance(value, Mapping):
        if value.keys() == {_KEY}:
            return ids(msgspec.convert(value[_KEY], Randomised))
        return {key: filled(inner, ids) for key, inner in value.items()}
    return [filled(inner, ids) for inner in value] if isinstance(value, list) else value
