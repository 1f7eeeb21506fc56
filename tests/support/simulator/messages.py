"""What processes say to one another, what outlives them, and what a run counts."""

from __future__ import annotations

from typing import Any

import msgspec

from populace.core.draws import WORLD
from populace.core.records import Answer
from populace.kernel.reports import Reports
from populace.kernel.snapshot import RunState, from_blocks, to_blocks
from support.simulator.universe import Faults, Universe

DRIVER, MODEL, NODE = "driver", "model", "node"


def name(role: int) -> str:
    """The address of a shard, or of the world at -1."""
    return "the world" if role == WORLD else f"shard {role}"


class Start(msgspec.Struct, frozen=True):
    """To the node: start a shard, or the world, at its address. `number` grows with every start."""

    role: int
    number: int
    attempt: int
    tick: int
    state: Any


class Started(msgspec.Struct, frozen=True):
    role: int
    number: int


class Reported(msgspec.Struct, frozen=True):
    tick: int
    reports: Reports


class Failed(msgspec.Struct, frozen=True):
    attempt: int
    names: list[str]
    story: str


class Request(msgspec.Struct, frozen=True):
    """A shard's question to the world; `caller` is the process that asks, `attempt` its life."""

    id: int
    caller: int
    sender: str
    effect: Any
    attempt: int
    shard: int
    tick: int


class Hear(msgspec.Struct, frozen=True):
    """What a shard asks for whose turns wait in rounds: what they have heard."""


class Reply(msgspec.Struct, frozen=True):
    id: int
    caller: int
    values: Any


class Export(msgspec.Struct, frozen=True):
    """Save what stands before `tick`: all of it, or what changed since the last time."""

    attempt: int
    tick: int
    whole: bool


class Exported(msgspec.Struct, frozen=True):
    attempt: int
    tick: int
    role: int
    state: Any


class Disk:
    """What outlives every process: the journal, the checkpoints, and how many attempts there were."""

    def __init__(self) -> None:
        self.journal: dict[tuple[int, int, int], tuple[bytes, Answer]] = {}
        self.state: RunState | None = None
        self.attempts = 0
        self.starts = 0

    def next_attempt(self) -> int:
        self.attempts += 1
        return self.attempts - 1

    def save(self, state: RunState) -> None:
        """Keep a state as a checkpoint does: what has not changed stands in the one before."""
        before = {} if state.whole or self.state is None else self.state.agents
        blocks = to_blocks(state)
        self.state = from_blocks(state.tick, {**blocks, "agents": {**before, **state.agents}})


class Run(Universe):
    """A universe with one run in it. `paid` counts the model's answers, `asked` holds what it was asked.

    `lost_calls` are those that were in flight when somebody ended, and those of processes that lived on unaddressed.
    """

    def __init__(self, faults: Faults, shards: int) -> None:
        super().__init__(faults)
        self.shards = shards
        self.disk = Disk()
        self.paid = 0
        self.asked: set[tuple[int, int, int, bytes]] = set()
        self.lost_calls = 0
        self.deaths = 0
        self.stories: list[str] = []
        self.lives = 0

    def roles(self) -> list[int]:
        return [*range(self.shards), WORLD]
