"""The rounds that a world's parts hold within one tick: who is waited for, when a round is over, what each hears. Pure.

A round of a group is over once each of its members has contributed to it or has left: its turn has ended, it takes none
in this tick, or it has moved on to a later group. What is heard depends on what was said and never on when, so neither
shards nor the order of answers shows.

No deadlock can be. A turn that waits in a round has contributed, so nobody waits for it in that group; an agent is
waited for in a group only until it moves on to a later one (in the order of the parts, then of a part's groups), and it
cannot go back. So whoever is waited for in a group is at work, or waits in an earlier group: in the earliest group in
which somebody waits, all who are missing are at work, and such a turn ends, contributes there or moves on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import index
from typing import Any, Final, TypeAlias

import msgpack
import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.draws import NamedDraws
from populace.core.errors import ScenarioError
from populace.core.places import defined_at
from populace.core.records import Counts
from populace.core.rounds import Contribution, Heard
from populace.env import World
from populace.env.guarding import guard, is_nothing
from populace.env.part import Part
from populace.env.plain import given_out
from populace.env.rounds import Exchange, GroupName, LastRound, Round
from populace.kernel.bus import unpack_body

_pack: Final = msgpack.Packer(autoreset=True).pack
_LIMIT: Final = "limit"

Held: TypeAlias = tuple[int, int, str, str, int, bytes, bytes]
"""A contribution that a round took: agent, its `nth`, part, group, number of the round, and packed what it said and
heard."""


Blocked: TypeAlias = Callable[[NDArray[np.int32], NDArray[np.int32]], NDArray[np.bool_]]


class _Group(msgspec.Struct):
    """One group of one part. `waiting` has who contributed to the present round, `present` who has not left."""

    part: Part
    name: GroupName
    members: tuple[int, ...]
    present: set[int]
    waiting: dict[int, Contribution] = {}
    said: list[dict[int, Any]] = []
    heard: list[dict[int, Any]] = []
    closed: str = ""
    ended: bool = False


class Rounds:
    """The rounds of one tick of a world, over `shards` shards.

    `counts` has the rounds and what became of all said; `held` what was said and heard in them, in no order. `blocked`
    says, of speakers and listeners, between whom levers let nothing pass in this tick; None for nobody.
    """

    def __init__(self, world: World, seed: int, shards: int, blocked: Blocked | None = None) -> None:
        self.tick = world.tick
        self.counts = Counts()
        self.held: list[Held] = []
        self._world = world
        self._seed = seed
        self._shards = shards
        self._blocked = blocked
        self._groups: list[_Group] = []
        self._of: dict[int, list[int]] = {}
        self._lots: dict[str, dict[int, int]] = {}
        self._attended: dict[int, NDArray[np.int32]] = {}
        self._host: dict[int, int] = {}
        self._next: dict[int, int] = {}
        self._out: dict[int, list[Heard]] = {}
        for part in world.exchanging:
            self._declare(part)

    def attend(self, shard: int, due: NDArray[np.int32]) -> NDArray[np.int32]:
        """A shard's agents that take a turn in this tick (sorted); gives those that are in any group.

        No round is over before every shard has said so.
        """
        mine = np.array([agent for agent in due.tolist() if agent in self._of], np.int32)
        if shard not in self._attended:
            self._attended[shard] = mine
            self._host.update(dict.fromkeys(mine.tolist(), shard))
            if len(self._attended) == self._shards:
                for group in self._groups:
                    group.present = {agent for agent in group.present if agent in self._host}
                    self._end_round(group)
        return mine

    def tell(self, shard: int, said: Sequence[Contribution], left: Iterable[int]) -> None:
        """Members contribute, and turns of members end. What comes twice changes nothing."""
        for one in said:
            if one.nth == self._next.get(one.agent, 0):
                self._next[one.agent] = one.nth + 1
                self._contribute(shard, one)
        for agent in left:
            for at in self._of.get(agent, ()):
                self._leave(agent, self._groups[at])

    def take(self, shard: int) -> list[Heard]:
        """What members on this shard have heard since the last time."""
        return self._out.pop(shard, [])

    def transcript(self) -> dict[str, list[Exchange]]:
        """The exchanges of the tick in which a round was held, by part, in the order of its groups."""
        found: dict[str, list[Exchange]] = {part.name: [] for part in self._world.exchanging}
        for group in self._groups:
            if group.said:
                said, heard = tuple(group.said), tuple(group.heard)
                found[group.part.name].append(Exchange(group.name, group.members, said, heard, group.closed))
        return found

    def validate(self) -> None:
        """Raise AssertionError where the state contradicts itself."""
        for group in self._groups:
            assert group.waiting.keys() <= group.present or len(self._attended) < self._shards
            assert len(group.said) == len(group.heard)
            all_there = len(self._attended) == self._shards and len(group.waiting) == len(group.present)
            assert not (group.waiting and all_there), "a round that is over was not ended"

    def _declare(self, part: Part) -> None:
        """Take the groups of a part."""
        where = f"part '{part.name}', groups"
        draw, self._world.draw = self._world.draw, NamedDraws(self._seed, tick=self.tick, name=f"{part.name}/groups")
        try:
            declared = guard(where, part.groups, self.tick)
        finally:
            self._world.draw = draw
        place = f"{where} ({defined_at(part.groups)})"
        declared = {} if is_nothing(declared) else declared
        if not isinstance(declared, Mapping):
            raise ScenarioError(
                f"{place} gives a {type(declared).__name__}: it has to give a dictionary of members by the group's name"
            )
        most = part.rounds_per_tick
        if type(most) is not int or most < 0:
            raise ScenarioError(f"part '{part.name}': rounds_per_tick = {most!r} has to be a whole number, 0 or more")
        mine: set[int] = set()
        for name, given in declared.items():
            if type(name) not in (str, int):
                raise ScenarioError(f"{place}: a group's name is a text or a whole number, not {name!r}")
            guard(f"{where}, the name of a group", given_out, name)
            try:
                members = tuple(map(index, given))
            except TypeError as error:
                raise ScenarioError(f"{place}: the members of group {name!r} have to be ids: {error}") from None
            if len(set(members)) < len(members) or not all(0 <= one < self._world.agents for one in members):
                raise ScenarioError(
                    f"{place}: the members of group {name!r} have to be different ids from 0 to "
                    f"{self._world.agents - 1}, not {str(members)[:200]}"
                )
            for agent in members:
                self._of.setdefault(agent, []).append(len(self._groups))
            mine.update(members)
            self._groups.append(_Group(part, name, members, set(members)))
        ids = np.array(sorted(mine), np.int64)
        lots = NamedDraws(self._seed, tick=self.tick, name=part.name).words("populace.rounds", ids)
        self._lots[part.name] = dict(zip(ids.tolist(), lots.tolist(), strict=True))

    def _contribute(self, shard: int, one: Contribution) -> None:
        found = self._group_of(one)
        if isinstance(found, str):
            self._refuse(shard, one, "failed", found, "no_group")
            return
        at, group = found
        for earlier in self._of[one.agent]:
            if earlier < at:
                self._leave(one.agent, self._groups[earlier])
        if group.ended or len(group.said) >= group.part.rounds_per_tick:
            if not group.ended:
                group.closed, group.ended = _LIMIT, True
            self._refuse(shard, one, "closed", group.closed, group.closed)
            return
        group.waiting[one.agent] = one
        self._end_round(group)

    def _group_of(self, one: Contribution) -> tuple[int, _Group] | str:
        """The group that a contribution is to, or why there is none."""
        there = [(at, self._groups[at]) for at in self._of.get(one.agent, ())]
        mine = [(at, group) for at, group in there if group.part.name == one.part]
        fitting = [(at, group) for at, group in mine if one.group is None or group.name == one.group]
        names = ", ".join(repr(group.name) for _, group in mine) or "none"
        if not fitting:
            which = "" if one.group is None else f" called {one.group!r}"
            return f"agent {one.agent} is in no group of '{one.part}'{which} in this tick; it is in: {names}"
        if len(fitting) > 1:
            return f"agent {one.agent} is in several groups of '{one.part}': say which, group=... of {names}"
        at, group = fitting[0]
        if one.agent not in group.present:
            return (
                f"agent {one.agent} has left group {group.name!r} of '{one.part}': it took part in a later one since, "
                "and groups are gone through in their order"
            )
        return at, group

    def _refuse(self, shard: int, one: Contribution, fate: Any, reason: str, counted: str) -> None:
        self.counts.unheard[counted] = self.counts.unheard.get(counted, 0) + 1
        self._out.setdefault(shard, []).append(Heard(one.agent, one.nth, fate, reason=reason))

    def _leave(self, agent: int, group: _Group) -> None:
        if agent in group.present:
            group.present.remove(agent)
            self._end_round(group)

    def _end_round(self, group: _Group) -> None:
        """End the group's round where nobody is missing any more, and let each hear of it."""
        waiting = group.waiting
        if not waiting or len(waiting) < len(group.present) or len(self._attended) < self._shards:
            return
        number, lots = len(group.said), self._lots[group.part.name]
        order = sorted(waiting, key=lambda agent: (lots[agent], agent))
        said = {agent: unpack_body(waiting[agent].body) for agent in order}
        heard, reason = self._hold(group, number, said)
        group.waiting = {}
        group.said.append(said)
        group.heard.append(heard)
        if reason:
            group.closed, group.ended = reason, True
        self.counts.rounds += 1
        self.counts.heard += len(said)
        for agent, one in waiting.items():
            packed = bytes(_pack(heard.get(agent)))
            self._out.setdefault(self._host[agent], []).append(Heard(agent, one.nth, "heard", packed))
            self.held.append((agent, one.nth, group.part.name, str(group.name), number, one.body, packed))

    def _hold(self, group: _Group, number: int, said: dict[int, Any]) -> tuple[dict[int, Any], str]:
        """What each hears of a round, and why it is the last one ('': it is not)."""
        part, world = group.part, self._world
        where = f"part '{part.name}', round {number} of group {group.name!r}"
        now = Round(
            group=group.name,
            number=number,
            last=number + 1 >= part.rounds_per_tick,
            members=group.members,
            said=said,
            before=tuple(group.said),
            draw=NamedDraws(self._seed, tick=self.tick, name=f"{part.name}/{group.name!r}/{number}"),
            blocked=frozenset() if self._blocked is None else _pairs(self._blocked, group.members),
        )
        draw, world.draw = world.draw, now.draw
        try:
            given: Any = guard(where, part.round, now)
        finally:
            world.draw = draw
        reason = ""
        if isinstance(given, LastRound):
            given, reason = given.heard, given.reason
            if not (isinstance(reason, str) and reason.isidentifier() and reason != _LIMIT):
                raise ScenarioError(
                    f"{where} ({defined_at(part.round)}): the reason of LastRound is one word, for example 'agreed', "
                    f"and not {reason!r}"
                )
        if not isinstance(given, Mapping):
            raise ScenarioError(
                f"{where} ({defined_at(part.round)}) gives a {type(given).__name__}: it has to give a dictionary of "
                "what each member hears, or LastRound of one"
            )
        for agent in given:
            if agent not in group.members:
                raise ScenarioError(
                    f"{where} ({defined_at(part.round)}) gives {agent!r:.100} something to hear, who is no member; "
                    f"the members are {str(list(group.members))[:200]}"
                )
        return {int(agent): guard(where, given_out, view) for agent, view in given.items()}, reason


def _pairs(blocked: Blocked, members: Sequence[int]) -> frozenset[tuple[int, int]]:
    """The pairs (speaker, listener) of these members between whom nothing passes."""
    ids = np.array(members, np.int32)
    speakers, listeners = np.repeat(ids, len(ids)), np.tile(ids, len(ids))
    hit = blocked(speakers, listeners) & (speakers != listeners)
    return frozenset(zip(speakers[hit].tolist(), listeners[hit].tolist(), strict=True))
