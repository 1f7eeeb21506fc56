"""A stage: places and ways between them, things that are each in one place or one hand, and numbers of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.digest import RowDigests, join_digests

GONE: Final = -1


class Stage:
    """Where everything is, in columns; verbs read it and change it.

    `ways` names the places, and from each those that can be reached. `things` says in which place each begins. `agents`
    and `traits` are numbers that every agent, and every thing, has by name, with the value at the start: a trait is one
    number for all things, or one by thing. `start` is where agents begin, the first place unless told otherwise. Raises
    ScenarioError, naming it, for a place that is none.

    A thing stands in one column, `where`: a place, or the hand of an agent. So it is never in two, and never nowhere.
    """

    def __init__(
        self,
        ways: Mapping[str, Sequence[str]],
        things: Mapping[str, str] | None = None,
        *,
        agents: Mapping[str, float] | None = None,
        traits: Mapping[str, float | Mapping[str, float]] | None = None,
        start: str | None = None,
    ) -> None:
        self.places = tuple(ways)
        self.things = tuple(things or {})
        self._place = {name: at for at, name in enumerate(self.places)}
        self._thing = {name: at for at, name in enumerate(self.things)}
        named = [*(one for to in ways.values() for one in to), *(things or {}).values(), *([start] if start else [])]
        if not ways or (unknown := [one for one in named if one not in self._place]):
            raise ScenarioError(
                f"Stage: '{unknown[0]}' is no place; there are {', '.join(self.places)}" if ways else "Stage: no places"
            )
        if clash := sorted(self._place.keys() & self._thing.keys()):
            raise ScenarioError(f"Stage: '{clash[0]}' is a place and a thing: give one of them another name")
        self.ways = {name: tuple(to) for name, to in ways.items()}
        self.start = self._place[start] if start else 0
        self.where = np.array([self._place[place] for place in (things or {}).values()], np.int64)
        """For each thing its place's index, or the number of places and the agent's id where one holds it."""
        self.here = np.zeros(0, np.int64)
        """For each agent the index of its place, GONE for those who have left."""
        self._starts = {name: float(value) for name, value in (agents or {}).items()}
        self.numbers: dict[str, NDArray[np.float64]] = {name: np.zeros(0) for name in self._starts}
        self.traits = {name: self._trait(name, value) for name, value in (traits or {}).items()}
        self.names: list[str] = []
        self._agent: dict[str, int] = {}
        self._new_digests()

    def _trait(self, name: str, value: float | Mapping[str, float]) -> NDArray[np.float64]:
        if not isinstance(value, Mapping):
            return np.full(len(self.things), float(value))
        if unknown := [one for one in value if one not in self._thing]:
            raise ScenarioError(f"Stage: trait '{name}' of '{unknown[0]}', which is no thing")
        return np.array([float(value.get(thing, 0.0)) for thing in self.things])

    def _new_digests(self) -> None:
        self._of_things = RowDigests("things", "where", *self.traits)
        self._of_agents = RowDigests("agents", "here", *self.numbers)
        self._touched_things = set(range(len(self.things)))
        self._touched_agents = set(range(len(self.here)))

    def enter(self, names: Sequence[str]) -> None:
        """Agents with these names come in at the start; ids go on from those that are there."""
        for name in names:
            if name in self._agent or name in self._place or name in self._thing:
                raise ScenarioError(f"Stage: the name '{name}' is taken: places, things and agents have different ones")
            self._agent[name] = len(self.names)
            self.names.append(name)
        more = len(names)
        self._touched_agents |= set(range(len(self.here), len(self.here) + more))
        self.here = np.concatenate([self.here, np.full(more, self.start, np.int64)])
        for name, start in self._starts.items():
            self.numbers[name] = np.concatenate([self.numbers[name], np.full(more, start)])

    def leave(self, agent: int) -> None:
        """An agent is gone for good: what it held lies where it stood, and it is in no place any more."""
        place = self.place_of(agent)
        for thing in self.held_by(agent):
            self.lay(thing, place)
        self.here[agent] = GONE
        self._touched_agents.add(int(agent))

    def ways_from(self, place: str) -> list[str]:
        """The places that can be reached from a place; none from ""."""
        return list(self.ways.get(place, ()))

    def knows(self, kind: str, name: Any) -> bool:
        """Whether there is a 'place', 'thing' or 'agent' of that name."""
        return name in {"place": self._place, "thing": self._thing, "agent": self._agent}[kind]

    def agent_id(self, name: str) -> int:
        """An agent's id by its name."""
        return self._agent[name]

    def place_of(self, agent: int) -> str:
        """Where an agent is; "" for one who has left."""
        at = int(self.here[agent])
        return "" if at == GONE else self.places[at]

    def move(self, agent: int, place: str) -> None:
        """An agent goes to a place; what it holds goes with it."""
        self.here[agent] = self._place[place]
        self._touched_agents.add(int(agent))

    def holder(self, thing: str) -> int | None:
        """The id of the agent who holds a thing; None where it lies in a place."""
        at = int(self.where[self._thing[thing]]) - len(self.places)
        return at if at >= 0 else None

    def lies_in(self, thing: str) -> str | None:
        """The place in which a thing lies; None where somebody holds it."""
        at = int(self.where[self._thing[thing]])
        return self.places[at] if at < len(self.places) else None

    def give(self, thing: str, agent: int) -> None:
        """A thing comes into an agent's hand, from wherever it was."""
        self._put(thing, len(self.places) + int(agent))

    def lay(self, thing: str, place: str) -> None:
        """A thing comes to lie in a place, from wherever it was."""
        self._put(thing, self._place[place])

    def _put(self, thing: str, where: int) -> None:
        at = self._thing[thing]
        self.where[at] = where
        self._touched_things.add(at)

    def held_by(self, agent: int) -> list[str]:
        """The things that an agent holds."""
        return [self.things[at] for at in np.flatnonzero(self.where == len(self.places) + agent).tolist()]

    def lying_in(self, place: str) -> list[str]:
        """The things that lie in a place; none in "", where who has left is."""
        return (
            [] if not place else [self.things[at] for at in np.flatnonzero(self.where == self._place[place]).tolist()]
        )

    def present_in(self, place: str) -> list[str]:
        """The names of the agents in a place; none in "", where who has left is."""
        stands = self.here == self._place[place] if place else ()
        return [self.names[at] for at in np.flatnonzero(stands).tolist()]

    def number(self, name: str, agent: int) -> float:
        """A number of an agent."""
        return float(self.numbers[name][agent])

    def set_number(self, name: str, agent: int, value: float) -> None:
        """Set a number of an agent."""
        self.numbers[name][agent] = value
        self._touched_agents.add(int(agent))

    def transfer(self, name: str, giver: int, taker: int, amount: float) -> None:
        """Move an amount of a number from one agent to another; the sum stays."""
        self.set_number(name, giver, self.number(name, giver) - amount)
        self.set_number(name, taker, self.number(name, taker) + amount)

    def trait(self, name: str, thing: str) -> float:
        """A number of a thing."""
        return float(self.traits[name][self._thing[thing]])

    def set_trait(self, name: str, thing: str, value: float) -> None:
        """Set a number of a thing."""
        self.traits[name][self._thing[thing]] = value
        self._touched_things.add(self._thing[thing])

    def digest(self) -> bytes:
        """16 bytes over all that `state` gives; costs what was touched."""
        things = np.array(sorted(self._touched_things), np.int64)
        agents = np.array(sorted(self._touched_agents), np.int64)
        self._of_things.put(things, things, self.where[things], *(one[things] for one in self.traits.values()))
        self._of_agents.put(agents, agents, self.here[agents], *(one[agents] for one in self.numbers.values()))
        self._touched_things, self._touched_agents = set(), set()
        return join_digests(self._of_things.digest(), self._of_agents.digest(), len(self.here))

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {
            "where": self.where.copy(),
            "here": self.here.copy(),
            "numbers": {name: one.copy() for name, one in self.numbers.items()},
            "traits": {name: one.copy() for name, one in self.traits.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take a state of a stage with the same places and things, and as many agents as have entered."""
        self.where, self.here = np.array(state["where"], np.int64), np.array(state["here"], np.int64)
        self.numbers = {name: np.array(state["numbers"][name], np.float64) for name in self.numbers}
        self.traits = {name: np.array(state["traits"][name], np.float64) for name in self.traits}
        self._new_digests()
