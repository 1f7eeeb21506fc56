"""A signal ends a run in bounded time whatever has fallen silent: its waits are added up, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from support.running import SOCIETIES, settings_of
from support.virtual_time import run_virtually

from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.cluster.loop import TickLoop
from populace.core.errors import Interrupted
from populace.core.records import Counts
from populace.data.societies import find_society
from populace.store.manifest import read_manifest

ray = pytest.importorskip("ray")
from populace.cluster import ray as over_ray  # noqa: E402

BOUND_S = 13.0
"""Beside it a process takes a second or two to exit."""
PATIENCE_S = 300.0
STAGES = ("start", "open_tick", "close_tick", "export", "write")


class Silent:
    """An actor that takes every call and answers none."""

    def __getattr__(self, _: str) -> Any:
        def some(num_returns: int) -> Any:
            return SimpleNamespace(remote=lambda *_: [one() for _ in range(num_returns)])

        one = asyncio.get_running_loop().create_future
        return SimpleNamespace(remote=lambda *_: one(), options=some)


class FallingSilent(LocalTransport):
    """Goes in this process until this method is called in tick 2 or later; from then on it is a Ray that is silent."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.silent = asyncio.Event()
        self._stage = stage
        self._tick = 0
        self._ray = over_ray.RayTransport()
        self._ray._shards, self._ray._environment, self._ray._quota = [Silent(), Silent()], Silent(), Silent()
        self._ray._started_ray = True

    async def _through(self, name: str, *args: Any, tick: int = 2) -> Any:
        if name == self._stage and tick >= 2:
            self.silent.set()
        if not self.silent.is_set():
            return await getattr(LocalTransport, name)(self, *args)
        if name == "start":
            with self._ray._unless_given_up():
                await asyncio.get_running_loop().create_future()
        return await getattr(self._ray, name)(*args)

    async def start(self, job: Any) -> Any:
        return await self._through("start", job)

    async def open_tick(self, shard: int, tick: int, envelope: Any) -> Any:
        return await self._through("open_tick", shard, tick, envelope, tick=tick)

    async def close_tick(self, tick: int, envelope: Any) -> Any:
        return await self._through("close_tick", tick, envelope, tick=tick)

    async def export(self, tick: int, whole: bool) -> Any:
        self._tick = tick
        return await self._through("export", tick, whole, tick=tick)

    async def write(self, number: int) -> Any:
        return await self._through("write", number, tick=self._tick)

    async def wind_down(self, grace_s: float) -> Any:
        return await self._through("wind_down", grace_s)

    async def close(self) -> None:
        await super().close()
        if self.silent.is_set():
            await self._ray.close()


def seconds_to_end(stage: str, out: Any, monkeypatch: pytest.MonkeyPatch) -> float:
    """What a signal's end takes once the run has fallen silent."""
    blocked = threading.Event()
    for name in ("kill", "shutdown"):
        monkeypatch.setattr(ray, name, lambda *_: blocked.wait(60))
    monkeypatch.setattr(over_ray.atexit, "unregister", lambda _: None)

    async def play() -> float:
        loop, transport = asyncio.get_running_loop(), FallingSilent(stage)
        settings = settings_of(shards=2, ticks=6, checkpoint__every_ticks=1)
        coordinator = Coordinator(find_society(SOCIETIES), settings, transport, out)
        running = asyncio.ensure_future(coordinator.run())
        await transport.silent.wait()
        await asyncio.sleep(0.5)
        began_s = loop.time()
        coordinator.stop()
        with pytest.raises(Interrupted):
            await asyncio.wait_for(running, PATIENCE_S)
        return loop.time() - began_s

    try:
        return run_virtually(play())
    finally:
        blocked.set()
        for thread in threading.enumerate():
            if thread.name == "populace aside":
                thread.join(240)  # before it meets the real ones: `ray.kill` without a Ray starts one


@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_ends_a_silent_run_in_bounded_time(tmp_path, monkeypatch, stage):
    assert seconds_to_end(stage, tmp_path, monkeypatch) < BOUND_S
    assert read_manifest(tmp_path)["status"] == "interrupted"


def test_control_where_silence_is_not_learnt_from_the_waits_add_up(tmp_path, monkeypatch):
    monkeypatch.setattr(over_ray.RayTransport, "_unless_given_up", lambda _self: contextlib.nullcontext())
    assert seconds_to_end("export", tmp_path, monkeypatch) > BOUND_S


def test_control_where_a_checkpoint_is_waited_for_the_run_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr(TickLoop, "_save_at_edge", lambda self, whole: self._save(Counts(), whole=whole))
    assert seconds_to_end("export", tmp_path, monkeypatch) >= PATIENCE_S
