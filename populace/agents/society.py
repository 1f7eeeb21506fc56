"""What a society is: the declaration that a society's file holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import msgspec

from populace.agents.activation import Activation, EveryTick
from populace.agents.agent import Agent, public_fields
from populace.agents.declaration import check_society, explain_value
from populace.agents.population import Population
from populace.core.containers import read_only
from populace.core.draws import Draws, Stream
from populace.core.errors import ScenarioError, SettingsError
from populace.core.records import Ask
from populace.env import World


class Parameters(msgspec.Struct, frozen=True):
    """Subclass it for the parameters of a society: typed fields with defaults, set by `--set society.name=value`.

    All agents share them, so nobody can change them: what a turn changes in a list of theirs is an error.
    """


@dataclass(frozen=True)
class Setup:
    """What a society builds its population and its world from.

    `agents` is how many there are to be; `parameters` the society's own; `draw` the keyed draws of the world at
    tick 0.
    """

    agents: int
    seed: int
    parameters: Any
    tick_seconds: float

    @property
    def draw(self) -> Draws:
        """Keyed draws: `setup.draw("population")`."""
        return Draws(self.seed)


@dataclass(frozen=True, kw_only=True)
class Society:
    """A society of agents in a world, and what is measured of it.

    `population(setup)` gives a row an agent; `world(setup, population)` gives the world; `outcomes` are functions
    of the world, called after every tick; `parameters` holds the defaults of what a run may set. `rules`
    answer the asks of a run with `--model rules`: by purpose, `rule(facts, draw)` gives the answer, and goes by nothing
    else. `scripted(ask, draw)` gives the scripted model's answer to an ask. `ticks` and `size` are what a run has
    unless its settings say otherwise. Raises ScenarioError where `agent` is no class of agents or its fields cannot be
    used.
    """

    name: str
    agent: type[Agent]
    population: Callable[[Setup], Population]
    world: Callable[[Setup, Population], World] = lambda _setup, _people: World()
    outcomes: Mapping[str, Callable[[World], float]] = field(default_factory=dict)
    parameters: Parameters = Parameters()
    activation: Activation = EveryTick()
    scripted: Callable[[Ask, Stream], Any] | None = None
    rules: Mapping[str, Callable[[dict[str, Any], Stream], Any]] = field(default_factory=dict)
    size: int = 100
    ticks: int = 10
    tick_seconds: float = 86_400.0
    about: str = ""

    def __post_init__(self) -> None:
        check_society(self)
        self.fields  # noqa: B018  # a field that cannot be used is an error where it is declared

    @property
    def fields(self) -> dict[str, type]:
        """The public fields of the agents."""
        return public_fields(self.agent)

    def with_parameters(self, changes: Mapping[str, Any]) -> Any:
        """The parameters with some changed; nobody can change their lists, dicts and sets.

        Raises SettingsError, naming key and keys there are.
        """
        known = self.parameters.__struct_fields__
        for key in changes:
            if key not in known:
                near = get_close_matches(key, known, 1)
                meant = f" Is 'society.{near[0]}' meant?" if near else ""
                keys = ", ".join(known) or "none"
                raise SettingsError(f"unknown key 'society.{key}'. The parameters of {self.name} are: {keys}.{meant}")
        values = msgspec.structs.asdict(self.parameters) | dict(changes)
        try:
            return read_only(msgspec.convert(values, type(self.parameters)), "ctx.parameters")
        except msgspec.ValidationError as error:
            said = explain_value(error, type(self.parameters))
            raise SettingsError(f"[society] of {self.name}: {said}.") from None
        except TypeError as error:
            kind = type(self.parameters).__name__
            raise ScenarioError(f"{self.name}: the fields of {kind} have to be plain data: {error}.") from None
