"""What the coordinator tells those who watch a run, as plain data, and who may watch.

Observers are called from the coordinator's one thread, in the order begin, (pulse | tick | note)*, end. They watch
only: nothing that they do stands in a trace hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from populace.core.records import Counts
from populace.core.tables import TableRows
from populace.core.traffic import Upkeep, Vitals


class TickReport(msgspec.Struct):
    """What a tick came to, told at its end.

    `tick` counts the ticks completed, of `ticks` planned (0: unknown); `counts` are this tick's, `total` the run's.
    After the last tick one more report may follow with the same `tick`: what expired at the run's end.
    `stages_s` is wall seconds of this tick by stage ('turns', 'resolve', 'record', ...), and what was waited for a
    checkpoint since the report before; `wall_s` is wall seconds since the run began; neither stands in any hash. `rows`
    are the tick's rows for tables, of each shard and of the world, by table: they are made when they are read. `vitals`
    are those of shards and world, where they are measured; `tick_seconds` is how much simulated time a tick takes.
    """

    tick: int
    ticks: int
    agents: int
    counts: Counts
    total: Counts
    stages_s: dict[str, float]
    outcomes: dict[str, float]
    wall_s: float
    rows: Sequence[Mapping[str, TableRows]] = ()
    vitals: list[Vitals] = []
    upkeep: Upkeep = msgspec.field(default_factory=Upkeep)
    tick_seconds: float = 0.0

    @property
    def asks(self) -> list[TableRows]:
        """The columns of the tick's asks as they go into their table, of each shard that has any and of the world.

        Empty where asks are not recorded.
        """
        return [rows["asks"] for rows in self.rows if "asks" in rows]


class Pulse(msgspec.Struct):
    """How far the tick under way has come, told about twice a second.

    `tick` counts the ticks completed; `turns_due` and `turns_done` are of the tick under way; `asks_waiting` wait
    for a permit and `asks_in_flight` are with the model; `wall_s` is wall seconds since the run began.
    `batches` says how many batches of asks are out in which state: the endpoint's (`validating`, `in_progress`, ...),
    `sending` and `created` before it has told of one.
    """

    tick: int
    turns_due: int
    turns_done: int
    asks_waiting: int
    asks_in_flight: int
    wall_s: float
    vitals: list[Vitals] = []
    upkeep: Upkeep = msgspec.field(default_factory=Upkeep)
    batches: dict[str, int] = {}


Level = Literal["debug", "info", "warning", "error"]


class Happening(msgspec.Struct, frozen=True):
    """Something that befell a run, as data. `fields` hold numbers and populace's own words, never an agent's.

    `event` says what: attempt, checkpoint, failed_turns, lost, recovered, note. `text` tells it to a person; where it
    is `private` it may hold what the society, its agents or a model wrote.
    """

    event: str
    level: Level = "info"
    tick: int | None = None
    shard: int | None = None
    fields: dict[str, Any] = {}
    text: str = ""
    private: bool = False


@runtime_checkable
class Chronicler(Protocol):
    """An observer that is told what befalls the run as data too."""

    def happened(self, what: Happening) -> None:
        """Something befell the run."""


class Observer(Protocol):
    """Watches a run."""

    def begin(self, scenario: str, agents: int, ticks: int, shards: int, model: str) -> None:
        """The run begins; `model` is the model's label."""

    def pulse(self, pulse: Pulse) -> None:
        """A sign of life between two ticks."""

    def tick(self, report: TickReport) -> None:
        """A tick has ended."""

    def note(self, text: str) -> None:
        """A line for the person: a failed turn, a warning."""

    def end(self, status: str, manifest: Mapping[str, Any]) -> None:
        """The run is over; `status` is the manifest's."""


class Audience:
    """All who watch a run, as one observer."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers
        self._chroniclers = [one for one in observers if isinstance(one, Chronicler)]

    def begin(self, scenario: str, agents: int, ticks: int, shards: int, model: str) -> None:
        """Tell all that the run begins."""
        for observer in self._observers:
            observer.begin(scenario, agents, ticks, shards, model)

    def pulse(self, pulse: Pulse) -> None:
        """Give all a sign of life."""
        for observer in self._observers:
            observer.pulse(pulse)

    def tick(self, report: TickReport) -> None:
        """Tell all that a tick has ended."""
        for observer in self._observers:
            observer.tick(report)

    def note(self, text: str, *, private: bool = False) -> None:
        """Tell all a line; `private`: it may hold what the society, its agents or a model wrote."""
        for observer in self._observers:
            observer.note(text)
        self.happened(Happening("note", "warning", text=text, private=private))

    def happened(self, what: Happening) -> None:
        """Tell those who want it as data that something befell the run."""
        for chronicler in self._chroniclers:
            chronicler.happened(what)

    def end(self, status: str, manifest: Mapping[str, Any]) -> None:
        """Tell all that the run is over."""
        for observer in self._observers:
            observer.end(status, manifest)
