"""Looks at agents between two ticks and changes nothing: who lives, and what they hold. Pure.

What stands here is for probes: agents come packed, so that nobody who is given one can change it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.env import World
from populace.kernel.residents import NOBODY
from populace.kernel.saving import pack_agent
from populace.kernel.shard import Shard


class Peeked(msgspec.Struct, frozen=True):
    """Agents by id, each packed as a checkpoint has it, and what the world shows each; nothing where it shows none."""

    agents: dict[int, bytes]
    seen: dict[int, dict[str, object]]


def present(world: World) -> dict[str, NDArray[np.int32]]:
    """Who lives as the world's tick begins, by type (ids, sorted), but for those who are born in it."""
    roster, tick = world.roster, max(0, world.tick - 1)
    lived = np.flatnonzero(roster.there(tick))
    return {of: ids[np.isin(ids, lived)] for of in roster.names for ids in [roster.ids(of)]}


def peek(shard: Shard, ids: Iterable[int]) -> dict[int, bytes]:
    """Those of these agents that stand on the shard, by id, packed. Raises NotKept for one that cannot be."""
    found = {}
    for id in ids:  # noqa: A001
        if id % shard.plan.shards != shard.plan.index or id // shard.plan.shards >= len(shard.agents):
            continue
        agent = shard.agents[id // shard.plan.shards]
        if agent is NOBODY:
            row = shard.columnar_row(id, shard.tick + 1)
            if row is None:
                continue
            agent = row
        found[id] = shard.row_at_edge(id) or pack_agent(agent, id)
    return found
