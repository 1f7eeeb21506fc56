"""Who may influence whom from one tick to the next, as a society declares it. Pure.

What an agent does in a tick follows from itself, its mail and what it reads of others. Where only some can send it mail
and be read by it, its turn need not wait for anybody else (`kernel.ahead`). What goes beyond the declaration fails the
turn that does it, whether or not any turn begins early, so that a run is the same either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from populace.core.errors import OutsideInfluence, ScenarioError
from populace.core.places import defined_at
from populace.core.records import Look
from populace.env import World
from populace.env.fields import Fields
from populace.env.guarding import guard
from populace.env.network.part import Network
from populace.env.part import Part, handlers

FIELDS_OF: Final = f"{Fields.name}.of"
"""The query that reads public fields of other agents."""


class Influence(msgspec.Struct, frozen=True):
    """By agent, the others who may influence it: those of agent `i` are `by[offsets[i]:offsets[i + 1]]`, sorted.

    `offsets` is int64 (agents + 1), `by` int32.
    """

    offsets: NDArray[np.int64]
    by: NDArray[np.int32]

    @property
    def agents(self) -> int:
        """How many agents there are."""
        return len(self.offsets) - 1

    def of(self, agent: int) -> NDArray[np.int32]:
        """Who may influence an agent: ids, sorted; a view. Nobody influences who was born since."""
        if agent >= self.agents:
            return self.by[:0]
        return self.by[self.offsets[agent] : self.offsets[agent + 1]]

    def allows(self, agent: int, by: int) -> bool:
        """Whether `agent` may be influenced by this one: itself, or one of those who were declared."""
        if agent == by:
            return True
        others = self.of(agent)
        at = int(np.searchsorted(others, by))
        return at < len(others) and int(others[at]) == by

    @property
    def influenced(self) -> NDArray[np.int32]:
        """Who is influenced, an agent for each of `by`."""
        return np.repeat(np.arange(self.agents, dtype=np.int32), np.diff(self.offsets))

    def reverse(self, among: NDArray[np.bool_] | None = None) -> Influence:
        """By agent, those whom it may influence, of those whom `among` masks."""
        agents, by = self.influenced, self.by
        if among is not None and not among.all():
            mine = among[agents]
            agents, by = agents[mine], by[mine]
        return influence_of(self.agents, by, agents)

    def strays(self, sender: int, receivers: Sequence[int]) -> int | None:
        """The first of a turn's receivers whom its sender may not influence; None where there is none.

        The world takes what it is sent, and who does not exist is refused mail anyway.
        """
        for one in receivers:
            if 0 <= one < self.agents and one != sender and not self.allows(one, sender):
                return one
        return None

    def keep_to(self, sender: NDArray[np.int32], receiver: NDArray[np.int32]) -> None:
        """Raise OutsideInfluence for the first of these messages that goes to one whom its sender may not influence."""
        rows = np.flatnonzero((receiver >= 0) & (receiver < self.agents) & (receiver != sender))
        of, by = receiver[rows], sender[rows]
        low, high = self.offsets[of], self.offsets[of + 1]
        end = high.copy()
        while (low < high).any():  # a binary search in each receiver's row
            middle = (low + high) // 2
            less = (low < high) & (self.by[np.minimum(middle, len(self.by) - 1)] < by)
            low, high = np.where(less, middle + 1, low), np.where(less, high, middle)
        found = low < end
        found[found] = self.by[low[found]] == by[found]
        if not found.all():
            at = rows[int((~found).argmax())]
            raise beyond(int(sender[at]), int(receiver[at]))

    def unread(self, look: Look) -> str | None:
        """Why an agent may not have this look; None where it may."""
        if look.query != FIELDS_OF:
            return None
        named = look.args.get("agents")
        for one in named if isinstance(named, list) else ():
            if type(one) is int and 0 <= one < self.agents and not self.allows(look.agent, one):
                return (
                    f"{look.query}: agent {look.agent} reads agent {one}, who does not influence it by the society's "
                    "declaration: read those whom Society(influence=...) names, or declare more of them"
                )
        return None


def beyond(sender: int, receiver: int) -> OutsideInfluence:
    """What to raise for a message to one whom its sender does not influence."""
    return OutsideInfluence(
        f"ctx.send: agent {sender} sends to agent {receiver}, whom it does not influence by the society's "
        "declaration: send to those of whom Society(influence=...) says so, or declare more of them"
    )


def influence_of(agents: int, of: ArrayLike, by: ArrayLike) -> Influence:
    """Agent `of[i]` is influenced by agent `by[i]`; pairs may repeat. Raises ScenarioError for ids that are none."""
    columns = []
    for name, given in (("of", of), ("by", by)):
        ids = np.asarray(given)
        if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
            raise ScenarioError(f"influence: `{name}` is a column of ids, not {ids.dtype} of shape {ids.shape}")
        if ids.size and not (int(ids.min()) >= 0 and int(ids.max()) < agents):
            raise ScenarioError(f"influence: `{name}` has an id that is not from 0 to {agents - 1}")
        columns.append(ids.astype(np.int64))
    one, other = columns
    if len(one) != len(other):
        raise ScenarioError(f"influence: {len(one)} influenced agents and {len(other)} who influence them")
    keys = np.unique(one[one != other] * agents + other[one != other])
    rows, targets = np.divmod(keys, agents)
    offsets = np.zeros(agents + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=agents), out=offsets[1:])
    return Influence(offsets, targets.astype(np.int32))


def influence_in(world: World, declared: Any) -> Influence:
    """What a society declares of its opened world: a network's name, or a function of the world.

    Raises ScenarioError for a network that there is not, and for what the function gives if it is not two columns.
    """
    if isinstance(declared, str):
        part = world.parts.get(declared)
        if not isinstance(part, Network):
            there = ", ".join(name for name, one in world.parts.items() if isinstance(one, Network)) or "none"
            raise ScenarioError(f"influence={declared!r}: the world has no network of that name; there are: {there}")
        return influence_of(world.agents, part.out.sources(), part.out.targets)
    given = guard(f"influence ({defined_at(declared)})", declared, world)
    if isinstance(given, Network):
        return influence_of(world.agents, given.out.sources(), given.out.targets)
    if not (isinstance(given, tuple) and len(given) == 2):
        raise ScenarioError(
            f"influence: the function gives a {type(given).__name__}: it has to give two columns of ids, (influenced, "
            "by whom), or a Network, of which each agent is influenced by those whom it follows"
        )
    return influence_of(world.agents, *given)


def over_everybody(world: World) -> str | None:
    """What in this world may be over all agents at once, so that no turn may begin before a tick is closed.

    Networks stand still where an influence is declared, and public fields are read by agent. None where there is
    nothing else that agents could see or ask.
    """
    for name, part in world.parts.items():
        if type(part).observe is not Part.observe:
            return f"part '{name}' shows agents what may be of everybody (`observe`)"
        if type(part).round is not Part.round:
            return f"part '{name}' holds rounds within a tick (`round`)"
        if type(part).consult is not Part.consult:
            return f"part '{name}' asks the model as a tick ends (`consult`)"
        if not isinstance(part, Fields | Network) and (queries := handlers(part, "query")):
            return f"part '{name}' answers `{name}.{queries[0]}`, which may be of everybody"
    return None


def hold_still(world: World) -> None:
    """Freeze the networks of a world: what influences whom is declared once, and so is what agents look up of it."""
    for part in world.parts.values():
        if isinstance(part, Network):
            part.frozen = True
