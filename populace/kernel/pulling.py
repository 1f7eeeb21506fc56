"""Levers as they act on the world, at each of its edges: who is in their groups, which fire, what they set. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError, SettingsError
from populace.env import World
from populace.interventions.at_work import Levers, set_parameter, set_world
from populace.interventions.groups import Ids, Members, Membership
from populace.interventions.readings import Readings, check_triggers
from populace.interventions.triggers import Firing, Triggers


class Pulling:
    """The levers of a run on its world. `measure` gives an outcome by name.

    `changed` are the agents of whom levers changed fields at the last edge, and `firings` the levers with triggers that
    fired at it.
    """

    def __init__(
        self, world: World, levers: Levers, membership: Membership | None, measure: Callable[[str], float]
    ) -> None:
        self.levers = levers
        self.membership = membership
        self.changed: list[NDArray[np.int32]] = []
        self.firings: list[Firing] = []
        self.parameters = world.parameters
        self._world = world
        self._measure = measure
        self._triggers = Triggers(levers.watched)
        self._fixed: dict[int, Members] = {}
        """The members of the groups of levers that are fixed otherwise than at tick 0, by a lever's place."""
        self._base = {(part, name): getattr(world.parts[part], name) for part, name in levers.world_keys()}

    def enter(self, tick: int) -> None:
        """Let levers act at the start of a tick: first those without a trigger, then those that fire on what is then.

        Raises ScenarioError for a lever that cannot act.
        """
        self._fix_groups(tick)
        self._set(tick)
        self.changed = self._change(self.levers.changes(tick, self._world.public_names))
        if self._triggers:
            self._fire(tick)

    def _fire(self, tick: int) -> None:
        readings = Readings(self._world, self._measure)
        try:
            self.firings = self._triggers.read(tick, readings, lambda place: self._groups_of(tick, place))
            self.levers.fire(tick, self.firings, self._world.roster)
        except SettingsError as error:
            raise ScenarioError(f"tick {tick}: {error}") from None
        if self.firings:
            self._set(tick)
            self.changed += self._change(self.levers.changes(tick, self._world.public_names, fired=True))

    def _change(self, changes: Sequence[tuple[Ids, Mapping[str, Sequence[Any]]]]) -> list[NDArray[np.int32]]:
        return [self._world.change(ids, fields) for ids, fields in changes]

    def _groups_of(self, tick: int, place: int) -> Members:
        """The members of the groups of a lever with a trigger, as of a tick."""
        assert self.membership is not None
        if not self._world.roster.changed:
            return self.membership.at_start[place]
        return self.membership.at(tick, [place], self._world.roster)[place]

    def _fix_groups(self, tick: int) -> None:
        """Fix the groups of the levers that take effect in a tick, or did before it where the world is restored."""
        roster, membership = self._world.roster, self.membership
        if membership is None or not roster.changed:
            return
        for at, places in self.levers.beginning(tick).items():
            if new := [place for place in places if place not in self._fixed]:
                members = membership.at(at, new, roster)
                try:
                    self.levers.fix(members, roster)
                except SettingsError as error:
                    raise ScenarioError(f"tick {at}: {error}") from None
                self._fixed |= members

    def _set(self, tick: int) -> None:
        set_world(self._world, self.levers, self._base, tick)
        parameters = self.levers.parameters(tick)
        self._world.parameters = self.parameters if parameters is None else parameters

    @property
    def fixed(self) -> dict[int, Members]:
        """The members of groups that were fixed otherwise than at tick 0 so far, by a lever's place."""
        return dict(self._fixed)

    def rehearse(self) -> None:
        """Set all that levers will set, in their order. Raises ScenarioError for what a part refuses."""
        for tick in self.levers.edges():
            self._set(tick)
        for part, name, value, label in self.levers.triggered_values():
            set_parameter(self._world, part, name, value, label)

    def check(self, outcomes: Sequence[str]) -> None:
        """Read what triggers go by. Raises SettingsError, naming the lever, for what cannot be read."""
        check_triggers(self.levers.watched, Readings(self._world, self._measure), outcomes)

    def born(self, of: str, columns: Mapping[str, Sequence[Any]], ids: NDArray[np.int32]) -> None:
        """Agents are born with these columns: groups of levers may have them."""
        if self.membership is not None:
            self.membership.grow(of, columns, ids)

    def state(self, tick: int) -> dict[str, Any]:
        """What is to be saved of levers before `tick`; nothing where all follows from the levers."""
        found: dict[str, Any] = {}
        if self.membership is not None and self._world.roster.changed:
            fixed: dict[str, dict[str, NDArray[np.int32]]] = {}
            for place in (one for places in self.levers.beginning(tick - 1).values() for one in places):
                if (members := self._fixed.get(place)) is not None:
                    other = {} if members.other is None else {"other": members.other}
                    fixed[str(place)] = {"group": members.group, **other}
            found["groups"] = {"born": self.membership.state(), "fixed": fixed}
        if self._triggers:
            found["triggers"] = {"last": self._triggers.state(tick), "fired": self.levers.fired(tick)}
        return found

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what `state` gave, in a state of the world, before the world takes the rest."""
        if self.membership is not None and "groups" in state:
            self.membership.restore(state["groups"]["born"])
        if self._triggers:
            held = state.get("triggers", {"last": {}, "fired": {}})
            self._triggers.restore(held["last"])
            self.levers.restore(held["fired"], int(state["tick"]), self._world.roster)

    def follow(self, other: Pulling) -> None:
        """Stand where another stands, before the world is given the state of that one's."""
        tick = other._world.tick
        self.membership = other.membership
        if self._triggers:
            self._triggers.restore(other._triggers.state(tick))
            self.levers.restore(other.levers.fired(tick), tick, other._world.roster)
