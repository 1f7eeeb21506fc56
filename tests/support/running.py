"""Runs societies in tests, in this process or on Ray."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import populace.cluster.host as host
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.records import Answer, Ask
from populace.data.societies import find_society
from populace.models.protocol import Deliver, Gateway, Pressure
from populace.settings import Settings, load_settings

SOCIETIES = str(Path(__file__).parent / "societies.py")


def settings_of(**options: Any) -> Settings:
    return load_settings(**{"model__kind": "scripted", "seed": 7, "limits__failed_turns": 1.0, **options})


def run_local(out: Path, scenario: str = SOCIETIES, observers: Sequence[Any] = (), **options: Any) -> dict[str, Any]:
    coordinator = Coordinator(find_society(scenario), settings_of(**options), LocalTransport(), out, observers)
    return asyncio.run(coordinator.run())


class Shuffled:
    """A gateway whose answers come late, in another order, in other batches: as a real model's would."""

    def __init__(self, inner: Gateway, seed: int) -> None:
        self._inner = inner
        self._random = random.Random(seed)
        self._on_their_way = 0

    @property
    def failure(self) -> Exception | None:
        return self._inner.failure

    async def open(self) -> None:
        await self._inner.open()

    def wind_down(self) -> None:
        self._inner.wind_down()

    def abort(self) -> None:
        self._inner.abort()

    async def close(self) -> None:
        await self._inner.close()

    def pressure(self) -> Pressure:
        found = Pressure(in_flight=self._on_their_way)
        found.add(self._inner.pressure())
        return found

    def offer(self, asks: Sequence[Ask], deliver: Deliver) -> None:
        answers: list[Answer] = []
        self._inner.offer(asks, answers.extend)
        self._random.shuffle(answers)
        self._on_their_way += len(answers)
        loop = asyncio.get_running_loop()

        def arrive(batch: list[Answer]) -> None:
            self._on_their_way -= len(batch)
            deliver(batch)

        while answers:
            size = self._random.randint(1, len(answers))
            batch, answers = answers[:size], answers[size:]
            loop.call_later(self._random.random() * 0.002, arrive, batch)


def wrap_gateways(monkeypatch: Any, wrap: Callable[[Gateway], Gateway]) -> None:
    built = host.build_gateway
    monkeypatch.setattr(host, "build_gateway", lambda *args, **options: wrap(built(*args, **options)))
