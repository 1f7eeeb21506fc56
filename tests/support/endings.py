"""Runs whose manifest is compared with what the misbehaving server counted."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.data.societies import find_society
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table
from support.chaos import name_of
from support.misbehaving import UNSCHEMATIC, Act, Misbehaving, Seen, slow
from support.running import SOCIETIES, settings_of

TICKS, AT_CALL = 4, 110
PRICES = {"budget__prices": {"test-model": {"usd_per_million_tokens_in": 2.0, "usd_per_million_tokens_out": 10.0}}}


class Server(Misbehaving):
    """Answers after a while, at times with what does not fit; `act`, where it gives one, decides instead."""

    def __init__(self, act: Callable[[Seen], Act | None] = lambda _: None) -> None:
        super().__init__(lambda seen: act(seen) or _usual(name_of(seen)[0]))

    def purposes(self) -> Counter[str]:
        """Calls billed, by the purpose that their prompt tells."""
        done = [seen.body for seen in self.seen if seen.status == 200]
        says = [any(one["content"].startswith("say ") for one in body["messages"]) for body in done if body]
        return Counter("say" if say else "mood" for say in says)


def _usual(of: int) -> Act:
    """What happens to an ask, the same in every run: `of` is a byte of its content's digest."""
    return UNSCHEMATIC if of % 11 == 7 else slow(0.01 + of % 5 / 50)


def options_of(server: Misbehaving, shards: int, **options: Any) -> dict[str, Any]:
    return {
        "model__kind": "openai", "endpoint__base_url": server.base_url, "model__name": "test-model",
        "endpoint__concurrency": 8, "agents": 40, "ticks": TICKS, "shards": shards,
        "checkpoint__every_ticks": 50, **PRICES, **options,
    }  # fmt: skip


def transport_of(kind: str) -> Any:
    if kind == "local":
        return LocalTransport()
    from populace.cluster.ray import RayTransport

    return RayTransport()


async def stopped_at(coordinator: Coordinator, server: Misbehaving, call: int) -> None:
    """Run, and stop once the server has seen so many calls."""
    running = asyncio.ensure_future(coordinator.run())
    while not running.done() and len(server.seen) < call:
        await asyncio.sleep(0.005)
    coordinator.stop()
    await running


async def quiet(running: asyncio.Future[Any], server: Misbehaving) -> None:
    """Wait until a run is over or makes no call any more: none at many looks in a row, as its loop goes round."""
    seen = looks = 0
    while looks < 35 and not running.done():
        await asyncio.sleep(0.02)
        looks = looks + 1 if 0 < seen == len(server.seen) else 0
        seen = len(server.seen)


class HoldingOne(Server):
    """Answers its `nth` call, from 0, once it is let go."""

    def __init__(self, nth: int) -> None:
        super().__init__()
        self.nth = nth
        self.let_go = threading.Event()

    async def _respond(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        while seen.nth == self.nth and not self.let_go.is_set():
            await asyncio.sleep(0.01)
        return await super()._respond(request, seen)


async def stopped_when_quiet(coordinator: Coordinator, server: HoldingOne) -> None:
    """Run, and stop once no call is made any more; then the one that was held is let go."""
    running = asyncio.ensure_future(coordinator.run())
    await quiet(running, server)
    coordinator.stop()
    server.let_go.set()
    await running


def agree(out: Path, *servers: Server) -> dict[str, Any]:
    """The manifest, which says what the servers say."""
    manifest = read_manifest(out)
    billed = [server.billed for server in servers]
    assert manifest["calls_billed"] == sum(one.calls for one in billed), (manifest["calls_billed"], billed)
    tokens_in, tokens_out = sum(one.tokens_in for one in billed), sum(one.tokens_out for one in billed)
    assert (manifest["tokens_in"], manifest["tokens_out"]) == (tokens_in, tokens_out)
    assert math.isclose(manifest["cost_usd"], (2.0 * tokens_in + 10.0 * tokens_out) / 1e6, rel_tol=1e-6)
    by_purpose = {name: one["calls"] for name, one in manifest["asks"]["by_purpose"].items()}
    assert by_purpose == sum((server.purposes() for server in servers), Counter())
    assert set(read_table(out, "outcomes").column("tick").to_pylist()) == set(range(manifest["ticks"] + 1))
    assert read_table(out, "asks").num_rows == manifest["asks"]["made"]
    return manifest


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("undisturbed")
    with Server() as server:
        settings = settings_of(**options_of(server, 2))
        manifest = asyncio.run(Coordinator(find_society(SOCIETIES), settings, LocalTransport(), out).run())
        agree(out, server)
    return manifest
