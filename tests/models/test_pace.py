"""The pace within a second: at every endpoint, no quarter of a second gets much more than its part of the limit."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from asyncio_throttle import Throttler
from support.asking import busiest
from support.client import ask
from support.misbehaving import Misbehaving, slow
from support.sections import sectioned

from populace.budget.lease import Lease, Want
from populace.budget.service import LocalLink, account_for
from populace.core.records import Ask
from populace.models.build import build_gateway
from populace.models.dispatch import dispatcher
from populace.models.http import Http

PER_MINUTE = 6000.0
WORTH = PER_MINUTE / 60 * 0.25
MOST = WORTH * 1.5 + 1
"""On a busy machine a call that was let pass is sent a little later."""


def persona(agent: int) -> Ask:
    """Asks that begin in forty ways, so that each of several endpoints has some."""
    one = ask(agent, str)
    one.messages = (("system", f"You are like persona {agent % 40}."), *one.messages[1:])
    return one


def sent(servers: list[Misbehaving], shards: int, monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """When calls to each server were sent, after the shards had been idle for long enough to save up a second."""
    times: dict[str, list[float]] = {server.base_url: [] for server in servers}
    post = Http.post

    def noting(self: Http, path: str, body: bytes) -> Any:
        times[self.base_url].append(time.monotonic())
        return post(self, path, body)

    monkeypatch.setattr(Http, "post", noting)

    async def session() -> None:
        options = {"requests_per_minute": PER_MINUTE, "concurrency": 200 * shards, "shards": shards}
        at = [{"base_url": server.base_url} for server in servers]
        options |= at[0] if len(at) == 1 else {"replicas": at}
        settings = sectioned(kind="openai", name="test-model", **options)
        account = account_for(settings)
        assert account is not None
        gateways = []
        for shard in range(shards):
            link = LocalLink(account)
            gateway = build_gateway(settings, link=link, shard=shard)
            await gateway.open()
            gateways.append(gateway)
        for agents in (range(shards), range(shards, 240)):
            got: list[Any] = []
            for shard, gateway in enumerate(gateways):
                gateway.offer([persona(agent) for agent in agents if agent % shards == shard], got.extend)
            async with asyncio.timeout(240):
                while len(got) < len(agents):
                    await asyncio.sleep(0.01)
            await asyncio.sleep(1.2 if agents.start == 0 else 0.0)
        for gateway in gateways:
            await gateway.close()

    asyncio.run(session())
    assert sum(map(len, times.values())) == sum(len(server.seen) for server in servers) == 240
    return list(times.values())


@pytest.mark.parametrize("shards", [1, 3])
def test_no_quarter_of_a_second_gets_more_than_its_part(shards: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with Misbehaving(base=slow(0.02)) as server:
        (times,) = sent([server], shards, monkeypatch)
    assert busiest(times, 0.25) <= MOST + shards


def test_nor_does_one_of_several_endpoints_nor_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    with Misbehaving(base=slow(0.02)) as one, Misbehaving(base=slow(0.02)) as two:
        both = sent([one, two], 2, monkeypatch)
    assert all(both)
    assert all(busiest(times, 0.25) <= MOST + 2 for times in both)
    assert busiest(sorted(both[0] + both[1]), 0.25) <= MOST + 2


class Noting:
    """A way to an account that notes what is wanted."""

    def __init__(self, inner: LocalLink) -> None:
        self.inner = inner
        self.wants: list[Want] = []

    async def exchange(self, want: Want) -> Lease:
        self.wants.append(want)
        return await self.inner.exchange(want)


@pytest.mark.parametrize(("spare_s", "gives_back"), [(0.02, True), (30.0, False)], ids=["as it is", "control"])
def test_a_shard_whose_last_call_has_begun_leaves_the_pace_to_others_before_it_is_answered(
    monkeypatch: pytest.MonkeyPatch, spare_s: float, gives_back: bool
) -> None:
    monkeypatch.setattr(dispatcher, "_SPARE_S", spare_s)

    async def session(server: Misbehaving) -> list[Want]:
        settings = sectioned(kind="openai", name="test-model", base_url=server.base_url, requests_per_minute=PER_MINUTE)
        account = account_for(settings)
        assert account is not None
        link = Noting(LocalLink(account))
        gateway = build_gateway(settings, link=link)
        await gateway.open()
        before: list[Want] = []
        done = asyncio.Event()

        def deliver(_answers: Any) -> None:
            before.extend(link.wants)
            done.set()

        gateway.offer([persona(1)], deliver)
        async with asyncio.timeout(240):
            await done.wait()
        await gateway.close()
        return before

    with Misbehaving(base=slow(1.5)) as server:
        wants = asyncio.run(session(server))
    assert wants[0].requests == 1
    assert any(want.requests == 0 for want in wants) == gives_back


@pytest.mark.parametrize("shards", [1, 3])
def test_control_without_the_throttlers_leases_are_spent_in_bursts(
    shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(_throttler: Throttler) -> None:
        return

    monkeypatch.setattr(Throttler, "acquire", at_once)
    with Misbehaving(base=slow(0.02)) as server:
        (times,) = sent([server], shards, monkeypatch)
    assert busiest(times, 0.25) > MOST + shards
