"""Environments with parts of the tests' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgpack
import numpy as np

from populace.core.draws import WORLD
from populace.core.trace import TRACE_VERSION
from populace.env import Batch, Part, World, action, query
from populace.kernel.bus import Envelope, Frame, gather, route
from populace.kernel.environment import Environment
from populace.kernel.reports import Reports
from support.env_support import opened

AGENTS = 6


class Fund(Part):
    """Money that agents pay in; it keeps a list of who did what, and thanks those that pay."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[int, int]] = []
        self.inner = {"paid": [1, 2]}

    def observe(self, tick: int, agents: Any) -> dict[str, Any]:
        return {"tick": [tick] * len(agents), "inner": [self.inner] * len(agents), "me": agents}

    @action
    def pay(self, tick: int, batch: Batch) -> Iterator[tuple[int, Any]]:
        for i, (agent, args) in enumerate(zip(batch.agents.tolist(), batch.args, strict=True)):
            if args.get("amount", 0) <= 0:
                batch.refuse(i, "not_positive")
            else:
                self.log.append((agent, args["amount"]))
                yield agent, {"thanks": args["amount"]}

    @query
    def paid(self, agents: Any, args: Any) -> list[Any]:
        if any("of" not in one for one in args):
            raise ValueError("say of whom")
        return [{"of": one["of"], "paid": np.float64(self.paid_by(one["of"]))} for one in args]

    def paid_by(self, agent: int) -> int:
        return sum(amount for who, amount in self.log if who == agent)

    @query
    def held(self, agents: Any, args: Any) -> list[Any]:
        return [self.inner for _ in agents]


def environment(
    outcomes: Mapping[str, Callable[[World], float]] | None = None,
    shards: int = 1,
    record_actions: bool = False,
    trace_version: int = TRACE_VERSION,
) -> Environment:
    world = opened(AGENTS, Fund(), columns={"mood": [0.5] * AGENTS}, fields={"mood": float})
    return Environment(
        world, outcomes or {}, shards=shards, frame_bytes=2**20, record_actions=record_actions,
        trace_version=trace_version,
    )  # fmt: skip


def handed(
    frames: Sequence[Frame], reports: Sequence[Reports], expected: dict[int, int] | None = None, attempt: int = 0
) -> Envelope:
    """What the world is handed of a tick: these reports, and these frames with a report of nobody."""
    nobody = Reports(np.empty(0, np.int32), {})
    return Envelope([(nobody, list(frames)), *((one, []) for one in reports)], expected, attempt)


Acts = list[tuple[int, int]]


def action_frames(acts: Acts, shards: int) -> list[Frame]:
    frames = []
    for shard in range(shards):
        turns = []
        for agent in range(shard, AGENTS, shards):
            bodies = [msgpack.packb(("fund.pay", {"amount": amount})) for who, amount in acts if who == agent]
            turns.append((agent, [WORLD] * len(bodies), bodies))
        frames += route(gather(0, turns), source=shard, shards=shards, attempt=0, frame_bytes=60)
    return frames
