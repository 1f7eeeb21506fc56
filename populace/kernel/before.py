"""What a tick changes of a shard, kept as it was, so that the tick can be abandoned. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from populace.agents.agent import Agent
from populace.kernel.saving import pack_agent

_encode: Final = msgspec.msgpack.Encoder().encode


class Before(msgspec.Struct):
    """What a tick changes of a shard, as it was before: agents, packed; the timers that fire; what it set since.

    Those who were `born` as it began were not there. `wakes` says how many timers it set for each tick, the last there.
    """

    tick: int
    agents: dict[int, bytes]
    fired: list[int]
    born: list[int]
    wakes: dict[int, int] = {}

    def preserve(self, ids: Collection[int], agents: Sequence[Agent], shards: int, rows: dict[int, bytes]) -> None:
        """Keep these of a shard's agents as they are, before a tick changes them; `rows` are those packed already."""
        kept = self.agents
        known = {one: rows.pop(one) for one in ids if one in rows}
        kept.update((one, row) for one, row in known.items() if one not in kept)
        new = [one for one in ids if one not in kept] if kept else list(ids)
        try:
            kept.update(zip(new, map(_encode, [agents[one // shards] for one in new]), strict=True))
        except Exception:  # it is named
            for one in new:
                pack_agent(agents[one // shards], one)
            raise

    def rewind(self, timers: dict[int, list[int]]) -> dict[int, list[int]]:
        """The timers as they were before the tick."""
        found = {at: list(agents) for at, agents in timers.items()}
        for at, count in self.wakes.items():
            del found[at][-count:]
        if self.fired:
            found[self.tick] = list(self.fired)
        return {at: agents for at, agents in found.items() if agents}
