"""What changes at the edge between two ticks, as every shard is told. Pure.

Births, exits, whom levers act on, and which levers with triggers have fired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from populace.env.turnover import Birth
from populace.interventions.groups import Members, members_of
from populace.interventions.triggers import Firing


class Edge(msgspec.Struct, frozen=True):
    """Births in their order and who leaves, both from the tick after on; and the members of levers' groups.

    `groups` has, by the place of a lever, the ids of its group and of the other one (None: it has none). `fired` has
    levers with triggers, by place, that take effect in the tick after: to before which tick they hold, and both groups.
    `surrogates` are those that stand in for the model in the tick after (`kernel.standing_in`).
    """

    born: list[Birth] = []
    left: list[int] = []
    groups: dict[int, tuple[list[int], list[int] | None]] = {}
    fired: list[tuple[int, int | None, list[int], list[int] | None]] = []
    surrogates: bytes = b""

    def members(self) -> dict[int, Members]:
        """The groups as levers take them."""
        return {at: members_of(group, other) for at, (group, other) in self.groups.items()}

    def firings(self) -> list[Firing]:
        """What has fired as levers take it; why stays where the world is."""
        return [Firing(place, until, members_of(group, other)) for place, until, group, other in self.fired]


def dealt(
    born: Sequence[Birth], ids: Sequence[int], index: int, shards: int
) -> Iterator[tuple[str, list[int], dict[str, list[Any]]]]:
    """Of each birth the type, and the ids and columns of those who are born on shard `index` of `shards`.

    `ids` are those of all births, in order.
    """
    at = 0
    for birth in born:
        places = [place for place in range(birth.count) if ids[at + place] % shards == index]
        columns = {name: [column[place] for place in places] for name, column in birth.columns.items()}
        yield birth.type, [ids[at + place] for place in places], columns
        at += birth.count


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Edge).decode
NO_EDGE: Final = Edge()


def pack_edge(edge: Edge) -> bytes:
    """An edge as it travels beside mail; nothing for one at which nothing changes. Raises what msgspec does."""
    return b"" if edge == NO_EDGE else _encode(edge)


def unpack_edge(packed: bytes) -> Edge:
    """What `pack_edge` packed."""
    return _decode(packed) if packed else NO_EDGE


def packed_groups(members: dict[int, Members]) -> dict[int, tuple[list[int], list[int] | None]]:
    """Members as an edge holds them."""
    return {at: (one.group.tolist(), None if one.other is None else one.other.tolist()) for at, one in members.items()}


def packed_firings(firings: Sequence[Firing]) -> list[tuple[int, int | None, list[int], list[int] | None]]:
    """Firings as an edge holds them."""
    groups = packed_groups(dict(enumerate(one.members for one in firings)))
    return [(one.place, one.until, *groups[at]) for at, one in enumerate(firings)]


def told(born: list[Birth], left: list[int]) -> list[Any]:
    """What the trace covers of births and exits; nothing where there are none."""
    return [("turnover", [(one.type, one.count, one.columns) for one in born], left)] if born or left else []
