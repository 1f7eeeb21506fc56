"""What a shard is given of population and world, which are built once: plain data, the same in every process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from populace.agents.population import Population
from populace.core.errors import ScenarioError
from populace.interventions.groups import Members
from populace.kernel.influence import Influence

_SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode


class ShardPart(msgspec.Struct, frozen=True):
    """A shard's part: the rows of its own agents, what the world takes and answers, whom the levers touch.

    `columns` are, by type, those that are fields of the agents; `rounds` are the parts that hold rounds within a tick;
    `members` are each lever's. `influence` is what the society declares, None where it declares nothing.
    """

    columns: dict[str, dict[str, list[Any]]]
    actions: list[str]
    queries: list[str]
    observes: bool
    rounds: list[str]
    members: list[Members]
    influence: Influence | None = None


def own_columns(
    people: Population, fields: Sequence[str], index: int, shards: int, first: int = 0
) -> dict[str, list[Any]]:
    """The rows of one shard's agents of the columns that are their fields; `first` is the id of the first row.

    Values are given as they would arrive in another process: plain data. Raises ScenarioError, naming column and row,
    for one that is none.
    """
    found = {}
    start = (index - first) % shards
    for name, column in people.columns.items():
        if name in fields:
            rows = column if shards == 1 else column[start::shards]
            found[name] = rows if set(map(type, rows)) <= _SCALARS else _as_it_arrives(name, rows, start, shards)
    return found


def _as_it_arrives(name: str, rows: list[Any], start: int, shards: int) -> list[Any]:
    try:
        arrived: list[Any] = _decode(_encode(rows))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        at, value = _first_bad(rows)
        raise ScenarioError(
            f"population: row {start + at * shards} of the column {name!r} holds a {type(value).__name__}, which "
            f"cannot travel to its agent: {error}. Give None, bool, int, float, str, bytes, lists and dicts of these, "
            "or what the agent's field declares as a msgspec type."
        ) from None
    return arrived


def _first_bad(rows: list[Any]) -> tuple[int, Any]:
    for at, value in enumerate(rows):
        try:
            _encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError):
            return at, value
    return 0, rows[0]
