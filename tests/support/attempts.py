"""Runs of the tests' society, stopped and taken up again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from populace.cluster import host
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import Interrupted
from populace.core.records import Ask
from populace.data.societies import find_society
from populace.models.protocol import Pressure
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table
from support.running import SOCIETIES, settings_of, wrap_gateways

TICKS = 8

TABLES = ("agents", "messages", "actions", "outcomes", "failures")


class Stopper:
    """Ends the run at the end of a tick, or in the midst of the next."""

    def __init__(self, tick: int) -> None:
        self.tick_ = tick
        self.coordinator: Coordinator | None = None
        self.notes: list[str] = []

    def begin(self, *_: object) -> None: ...
    def pulse(self, _: object) -> None: ...
    def end(self, *_: object) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def tick(self, report) -> None:
        if report.tick == self.tick_ and self.coordinator is not None:
            self.coordinator.stop()


class Counting:
    """A gateway that counts what reaches the model, and can refuse to be asked."""

    def __init__(self, inner, asked: list) -> None:
        self.inner = inner
        self.asked = asked
        self.failure = None

    async def open(self) -> None:
        await self.inner.open()

    def wind_down(self) -> None:
        self.inner.wind_down()

    def abort(self) -> None:
        self.inner.abort()

    async def close(self) -> None:
        await self.inner.close()

    def pressure(self) -> Pressure:
        return self.inner.pressure()

    def offer(self, asks, deliver) -> None:
        self.asked.extend((ask.agent, ask.tick, ask.nth) for ask in asks)
        self.inner.offer(asks, deliver)


class Halting(Counting):
    """Answers the first `answered` of the asks that are `of` a moment, keeps the rest back, and has the run stopped."""

    def __init__(self, inner, halt: Callable[[], None], of: Callable[[Ask], bool], answered: int) -> None:
        super().__init__(inner, [])
        self.halt = halt
        self.of = of
        self.left = answered

    def offer(self, asks, deliver) -> None:
        for ask in asks:
            if self.of(ask):
                self.left -= 1
                if self.left < 0:
                    asyncio.get_running_loop().call_soon(self.halt)
                    continue
            super().offer([ask], deliver)


def go_until(out: Path, scenario: str, of: Callable[[Ask], bool], answered: int, **options) -> dict[str, Any]:
    """Run until so many of the asks that are `of` a moment are answered, and others not; gives the manifest."""
    coordinator = Coordinator(find_society(scenario), settings_of(**options), LocalTransport(), out)
    with pytest.MonkeyPatch.context() as patch:
        wrap_gateways(patch, lambda gateway: Halting(gateway, coordinator.stop, of, answered))
        with pytest.raises(Interrupted):
            asyncio.run(coordinator.run())
    return read_manifest(out)


@pytest.fixture
def asked(monkeypatch) -> list:
    """What is put to the model from here on, as (agent, tick, nth)."""
    found: list = []
    built = host.build_gateway
    monkeypatch.setattr(host, "build_gateway", lambda *args, **options: Counting(built(*args, **options), found))
    return found


def go(out: Path, *, stop_at: int | None = None, going=None, scenario: str = SOCIETIES, transport=None, **options):
    """Run, go on or fork; None where it was stopped."""
    transport = transport or LocalTransport()
    observers = [Stopper(-1 if stop_at is None else stop_at)]
    if going is None:
        settings = settings_of(**{"ticks": TICKS, **options})
        coordinator = Coordinator(find_society(scenario), settings, transport, out, observers)
    else:
        coordinator = Coordinator(going.origin, going.settings, transport, out, observers, going.course)
    observers[0].coordinator = coordinator
    try:
        return asyncio.run(coordinator.run())
    except Interrupted:
        return None


def same_tables(one: Path, other: Path) -> None:
    for name in TABLES:
        assert read_table(one, name).equals(read_table(other, name)), name
    asks = [read_table(folder, "asks").drop_columns(["latency_s"]) for folder in (one, other)]
    assert asks[0].equals(asks[1])


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    out = tmp_path_factory.mktemp("reference")
    return go(out), out
