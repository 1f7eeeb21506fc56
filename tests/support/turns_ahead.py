"""What tests see of turns that begin before their tick is open."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import Interrupted
from populace.data.societies import find_society
from populace.kernel.ahead import Ahead
from populace.store.manifest import read_manifest
from support.attempts import Counting
from support.running import settings_of, wrap_gateways


def noted_ahead(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """By how many ticks each turn that begins early from now on is ahead of the open one."""
    found: list[int] = []
    begin = Ahead._begin

    def noting(self: Ahead, room: int) -> Any:
        begun = begin(self, room)
        found.extend(led.number - self._base for led, n in begun for _ in range(n))
        return begun

    monkeypatch.setattr(Ahead, "_begin", noting)
    return found


class Straggling(Counting):
    """Some agents' asks, those of `whom`, are heard of only once nobody else has anything to do: `come` takes them."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner, [])
        self.late: list[Any] = []
        self.open_ = self.idle = 0
        self.passing = False

    def whom(self, ask: Any) -> bool:
        return bool(ask.agent % 6 == 0)

    def come(self, ask: Any, deliver: Any) -> None:
        self.inner.offer([ask], deliver)

    def offer(self, asks: Any, deliver: Any) -> None:
        self.idle = 0
        self.late += [(ask, deliver) for ask in asks if self.whom(ask)]
        prompt = [ask for ask in asks if not self.whom(ask)]
        self.open_ += len(prompt)

        def delivered(answers: Any) -> None:
            self.open_ -= len(answers)
            self.idle = 0
            deliver(answers)

        if prompt:
            self.inner.offer(prompt, delivered)
        if self.late and not self.passing:
            self.passing = True
            asyncio.get_running_loop().call_soon(self.pass_by)

    def pass_by(self) -> None:
        """The event loop has gone round."""
        self.idle += 1
        if not self.open_ and self.idle > 30 and self.late:
            self.idle = 0
            self.come(*self.late.pop(0))
        self.passing = bool(self.late)
        if self.passing:
            asyncio.get_running_loop().call_soon(self.pass_by)


def alike(one: dict[str, Any] | None, other: dict[str, Any]) -> None:
    assert one is not None
    for key in ("trace_hashes", "world_hashes", "turns", "turns_failed", "messages", "actions"):
        assert one.get(key) == other.get(key), key


class Looking:
    """Looks at all of so many agents at every edge."""

    base_url = None

    def __init__(self, agents: int) -> None:
        self.agents = np.arange(agents, dtype=np.int32)
        self.seen: dict[int, dict[int, bytes]] = {}

    def due(self, tick: int) -> bool:
        return True

    async def at(self, transport: Any, tick: int) -> None:
        self.seen[tick] = (await transport.peek(self.agents)).agents


def looked(scenario: str, agents: int, out: Path, **options: Any) -> dict[int, dict[int, bytes]]:
    """The agents before each of six ticks of a run, packed."""
    probe = Looking(agents)
    settings = settings_of(ticks=6, **options)
    asyncio.run(Coordinator(find_society(scenario), settings, LocalTransport(), out, probe=probe).run())
    return probe.seen


def held(scenario: str, out: Path, *, ticks: int, agent: int, tick: int, shards: int = 1) -> dict[str, Any]:
    """The manifest of a run that is stopped while the agent waits in this tick, or the first after it in which it asks
    for itself, and all who can are ahead of it."""
    settings = settings_of(ticks=ticks, checkpoint__every_ticks=2, shards=shards)
    coordinator = Coordinator(find_society(scenario), settings, LocalTransport(), out)

    class Holding(Straggling):
        def whom(self, ask: Any) -> bool:
            return bool(ask.tick >= tick and ask.agent == agent)

        def come(self, ask: Any, deliver: Any) -> None:
            coordinator.stop()

    with pytest.MonkeyPatch.context() as patch:
        wrap_gateways(patch, Holding)
        with pytest.raises(Interrupted):
            asyncio.run(coordinator.run())
    return read_manifest(out)
