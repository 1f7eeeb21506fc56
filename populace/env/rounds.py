"""Rounds within a tick, as a part sees them: a conversation, a game, a negotiation among some agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from populace.core.draws import Draws

GroupName: TypeAlias = str | int


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one group, once every member has contributed or left.

    `number` counts the group's rounds of this tick from 0; `last` says that the limit allows no further one. `said` has
    what each contributed, by member: plain data, in an order that is drawn for the tick and favours no id. `members`
    are all of the group; who is not in `said` has left: its turn has ended, or it takes none in this tick. `before`
    holds what was said in the rounds before. `draw` gives keyed streams of this round alone.

    `blocked` has the pairs (speaker, listener) of members between whom a lever's `block` lets nothing pass in this
    tick. A part that goes by it says so with `heeds_blocks = True`.
    """

    group: GroupName
    number: int
    last: bool
    members: tuple[int, ...]
    said: Mapping[int, Any]
    before: Sequence[Mapping[int, Any]]
    draw: Draws
    blocked: frozenset[tuple[int, int]] = frozenset()

    def reaching(self, agent: int) -> dict[int, Any]:
        """What the others said in this round, as far as no lever keeps it from this member."""
        return {one: text for one, text in self.said.items() if one != agent and (one, agent) not in self.blocked}


class LastRound(msgspec.Struct, frozen=True):
    """What `round` of a part gives to close the exchange with this round: who hears what, and why (one word)."""

    heard: Mapping[int, Any]
    reason: str


class Exchange(msgspec.Struct, frozen=True):
    """What one group came to in a tick: `said` and `heard` of each round, by member.

    `closed` is '' where its members just left, `limit` where one wanted to go on after the last round that a tick may
    have, or the part's word for its end.
    """

    group: GroupName
    members: tuple[int, ...]
    said: Sequence[Mapping[int, Any]]
    heard: Sequence[Mapping[int, Any]]
    closed: str = ""
