"""A call that breaks off may be paid for: the manifest counts it, and says that it is an estimate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from support.chaos import name_of
from support.client import TIMEOUT_S, ClockAhead
from support.endings import Server, options_of, stopped_at
from support.misbehaving import CUT, DRIP, Act, Seen
from support.running import SOCIETIES, settings_of

from populace.cluster import host
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import Interrupted
from populace.data.societies import find_society
from populace.models.dispatch.retry import Retry
from populace.models.http import Http
from populace.runs.courses import resume_course
from populace.store.manifest import read_manifest

CEILING_TOKENS = 10**8
BROKEN_OFF = range(60, 64)
"""Calls of the first tick that are in flight when the run is stopped."""


class Dripping(Server):
    """Knows how many of its answers go on without an end."""

    dripping = 0

    async def _stream(self, request: web.Request, act: Act, data: bytes) -> web.StreamResponse:
        self.dripping += act.kind == "drip"
        try:
            return await super()._stream(request, act, data)
        finally:
            self.dripping -= act.kind == "drip"


def played(server: Dripping, run: Callable[[], Coroutine[Any, Any, object]], wait_s: float) -> None:
    """A run for which so long goes by wherever no call is open but those that do not end; all others are in time."""
    loop, posting, post = ClockAhead(), [0], Http.post

    async def counted(http: Http, path: str, body: bytes) -> Any:
        posting[0] += 1
        try:
            return await post(http, path, body)
        finally:
            posting[0] -= 1

    async def play() -> None:
        running = asyncio.ensure_future(run())
        while not running.done():
            if 0 < server.dripping == posting[0]:
                loop.ahead_s += wait_s
            await asyncio.to_thread(time.sleep, 0.02)
        await running

    with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=lambda: loop) as runner:
        patch.setattr(Http, "post", counted)
        runner.run(play())


class Breaking(Dripping):
    """Breaks some answers off on their way: a connection lost at the first try, one that is not done in time."""

    def __init__(self) -> None:
        super().__init__(self._break)
        self._lost: set[bytes] = set()

    def _break(self, seen: Seen) -> Act | None:
        name = name_of(seen)
        if name[1] % 13 == 3:
            return DRIP
        if name[1] % 7 == 2 and name not in self._lost:
            self._lost.add(name)
            return CUT
        return None

    @property
    def cost_usd(self) -> float:
        return (2.0 * self.billed.tokens_in + 10.0 * self.billed.tokens_out) / 1e6


def check(manifest: dict[str, Any], *servers: Server) -> None:
    """Every call is counted, those that broke off as estimates, and the ceiling has booked at least as much."""
    assert manifest["calls_billed"] == sum(one.billed.calls for one in servers)
    tokens = manifest["tokens_in"] + manifest["tokens_out"]
    assert 0 < manifest["estimated_tokens"] < tokens
    assert 0.0 < manifest["estimated_usd"] < manifest["cost_usd"]
    billed = sum(one.billed.tokens_in + one.billed.tokens_out for one in servers)
    assert billed - manifest["estimated_tokens"] < tokens - manifest["estimated_tokens"] < billed
    assert manifest["booked"]["tokens"] >= tokens
    purposes = manifest["asks"]["by_purpose"].values()
    assert sum(one["calls"] for one in purposes) == manifest["calls_billed"]


def broken(out: Path, shards: int) -> Breaking:
    with Breaking() as server:
        options = options_of(
            server, shards, agents=20, ticks=2, endpoint__timeout_s=TIMEOUT_S, budget__tokens=CEILING_TOKENS
        )
        coordinator = Coordinator(find_society(SOCIETIES), settings_of(**options), LocalTransport(), out)
        played(server, coordinator.run, TIMEOUT_S)
    return server


@pytest.mark.parametrize("shards", [1, 3])
def test_what_a_lost_connection_and_a_deadline_broke_off_is_estimated(tmp_path: Path, shards: int) -> None:
    server = broken(tmp_path, shards)
    manifest = read_manifest(tmp_path)
    assert manifest["asks"]["by_reason"]["deadline"] > 0
    check(manifest, server)


def test_control_a_gateway_that_only_counts_such_calls_says_that_they_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counts(_self: Retry, job: Any) -> None:
        job.calls += 1

    monkeypatch.setattr(Retry, "bill_unknown", counts)
    server = broken(tmp_path, 1)
    manifest = read_manifest(tmp_path)
    assert manifest["estimated_tokens"] == 0
    assert manifest["cost_usd"] < server.cost_usd


def interrupted(out: Path, shards: int) -> Server:
    """A run that is stopped while calls are in flight that last longer than it waits for them."""
    with Dripping(lambda seen: DRIP if seen.nth in BROKEN_OFF else None) as server:
        options = options_of(server, shards, budget__tokens=CEILING_TOKENS)
        coordinator = Coordinator(find_society(SOCIETIES), settings_of(**options), LocalTransport(), out)
        with pytest.raises(Interrupted):
            played(server, lambda: stopped_at(coordinator, server, BROKEN_OFF.stop), host.GRACE_S + 0.5)
    return server


@pytest.mark.parametrize("shards", [1, 3])
def test_what_an_interrupt_broke_off_is_estimated_and_stays_so(tmp_path: Path, shards: int) -> None:
    server = interrupted(tmp_path, shards)
    check(read_manifest(tmp_path), server)
    with Server() as again:
        going = resume_course(tmp_path, endpoint__base_url=again.base_url)
        asyncio.run(Coordinator(going.origin, going.settings, LocalTransport(), tmp_path, (), going.course).run())
    check(read_manifest(tmp_path), server, again)


def test_control_calls_that_are_left_in_flight_are_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("populace.store.journal.recording.Recording.abort", lambda _self: None)
    server = interrupted(tmp_path, 3)
    assert read_manifest(tmp_path)["calls_billed"] < server.billed.calls
