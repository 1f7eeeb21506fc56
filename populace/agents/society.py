"""What a society is: the declaration that a society's file holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import msgspec

from populace.agents.activation import Activation, EveryTick
from populace.agents.agent import Agent
from populace.agents.declaration import check_society, explain_value
from populace.agents.population import Population
from populace.agents.probes.survey import Survey
from populace.agents.types import classes_of, fields_of_all
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

    `agents` is how many there are to be, of all types together; `parameters` the society's own; `draw` the keyed draws
    of the world at tick 0. Of a society with types, `counts` says how many there are of each, in their order.
    """

    agents: int
    seed: int
    parameters: Any
    tick_seconds: float
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def draw(self) -> Draws:
        """Keyed draws: `setup.draw("population")`."""
        return Draws(self.seed)

    def count(self, type: str) -> int:  # noqa: A002
        """How many agents of a type there are to be. Raises ScenarioError, naming the types there are."""
        return len(self.ids(type))

    def ids(self, type: str) -> range:  # noqa: A002
        """The ids of the agents of a type: those of the first type begin at 0. Raises ScenarioError as `count` does."""
        start = 0
        for name, count in self.counts.items():
            if name == type:
                return range(start, start + count)
            start += count
        there = ", ".join(self.counts) or "no types: the society has one class of agents"
        raise ScenarioError(f"setup has no type of agents {type!r}; there are {there}")


@dataclass(frozen=True, kw_only=True)
class Society:
    """A society of agents in a world, and what is measured of it.

    Its agents are of one class, `agent`, or of several `types` by name: `types={"firm": Firm, "household": Household}`.
    `population(setup)` gives a row an agent, with types a dictionary of populations by type (a type that it leaves out
    has the defaults of its class); `world(setup, population)`, which is given that, gives the world; `outcomes` are
    functions of the world, called after every tick; `parameters` holds the defaults of what a run may set. `rules`
    answer the asks of a run with `--model rules`: by purpose, `rule(facts, draw)` gives the answer, and goes by nothing
    else. `scripted(ask, draw)` gives the scripted model's answer to an ask. `model_roles` says, by type of agent (that
    of `agent` is called "agent"), which model role answers asks that name none. `ticks` and `size` are what a run has
    unless its settings say otherwise. With types, `size` says how many there are of each, and `activation` may say of
    each when its agents are due (EveryTick() for those that it leaves out). `surveys` are asked between ticks, without
    a trace in the run. `influence` declares who may influence whom from one tick to the next, by mail and by public
    fields: the name of a network, in which those whom an agent follows influence it, or a function of the opened world
    that gives two columns of ids, (influenced, by whom). Then an agent's turn begins as soon as its own and theirs of
    the tick before have ended; a turn that sends to others or reads them fails, and ties of networks stay as they are.
    Raises ScenarioError for what cannot be.
    """

    name: str
    agent: type[Agent] | None = None
    types: Mapping[str, type[Agent]] = field(default_factory=dict)
    population: Callable[[Setup], Population | Mapping[str, Population]]
    world: Callable[[Setup, Any], World] = lambda _setup, _people: World()
    outcomes: Mapping[str, Callable[[World], float]] = field(default_factory=dict)
    parameters: Parameters = Parameters()
    activation: Activation | Mapping[str, Activation] = EveryTick()
    scripted: Callable[[Ask, Stream], Any] | None = None
    rules: Mapping[str, Callable[[dict[str, Any], Stream], Any]] = field(default_factory=dict)
    model_roles: Mapping[str, str] = field(default_factory=dict)
    size: int | Mapping[str, int] = 100
    ticks: int = 10
    surveys: Sequence[Survey] = ()
    tick_seconds: float = 86_400.0
    about: str = ""
    influence: str | Callable[[World], Any] | None = None

    def __post_init__(self) -> None:
        check_society(self)
        self.fields  # noqa: B018  # a field that cannot be used is an error where it is declared

    @property
    def classes(self) -> dict[str, type[Agent]]:
        """The classes of agents by type; a single one under 'agent'."""
        return classes_of(self)

    @property
    def fields(self) -> dict[str, type]:
        """The public fields of the agents, of all types."""
        return fields_of_all(self)

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
