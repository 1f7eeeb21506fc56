"""Whole runs against a server that misbehaves: limits kept and used, storms outlived, slow calls ended, all counted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from support.asking import ASKERS, asker, asking, busiest, here
from support.client import TIMEOUT_S, ClockAhead
from support.limited import Limited
from support.misbehaving import (
    CUT,
    DRIP,
    DROP,
    HANG,
    MALFORMED,
    Act,
    Holding,
    Misbehaving,
    RateLimit,
    Seen,
    slow,
)
from support.running import settings_of
from support.sections import sectioned

from populace.budget.service import AccountService, LocalLink
from populace.cluster import local
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import BudgetSpent
from populace.data.societies import find_society
from populace.store.tables.tables import read_table


@pytest.mark.parametrize(
    ("per_minute", "warm_s", "lasts_s", "padding"),
    [
        pytest.param(6000, 3, 8, 0, id="requests"),
        pytest.param(6000, 2, 4, 150, id="tokens"),
        pytest.param(600, 60, 125, 0, id="two minutes, requests", marks=pytest.mark.chaos),
        pytest.param(600, 60, 125, 150, id="two minutes, tokens", marks=pytest.mark.chaos),
    ],
)
def test_four_shards_keep_to_a_limit_and_use_it(tmp_path, monkeypatch, per_minute, warm_s, lasts_s, padding):
    """Fifty tokens a request: a prompt of 22 tokens and its answer leave requests the tighter limit, 60 do not."""
    provider, used = limited_run(tmp_path, monkeypatch, per_minute, lasts_s, padding)
    sent, times_s = provider.sent, provider.times_s
    warm = [one for one in sent if one.at_s - times_s[0] > warm_s]
    refused = sum(one.refused for one in warm)
    print(f"used {used:.1%}, {refused} of {len(warm)} refused, {busiest(times_s, 1.0)} in the busiest second")
    assert used >= 0.95
    assert refused < 0.01 * len(warm)
    assert len(sent) <= 1.1 * (len(sent) - provider.refused)
    # No request comes before its time: in any ten seconds, ten seconds' worth and what may gather.
    assert busiest(times_s, 10.0) <= per_minute / 60 * 12.5


def test_control_an_account_for_each_shard_breaks_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "LocalLink", lambda account: LocalLink(AccountService(MODEL)))
    provider, _ = limited_run(tmp_path, monkeypatch, 6000, 3, 0)
    assert provider.refused > 0.1 * len(provider.sent)


MODEL = sectioned(requests_per_minute=6000, tokens_per_minute=300_000)


def virtually(provider: Limited, out: Path, **options: Any) -> dict[str, Any]:
    """A run of the askers against this provider; its manifest."""
    settings = settings_of(**asking(provider, **options))
    return provider.run(Coordinator(find_society(ASKERS), settings, LocalTransport(), out).run())


def limited_run(
    out: Path, monkeypatch: pytest.MonkeyPatch, per_minute: float, lasts_s: float, padding: int
) -> tuple[Limited, float]:
    """The provider, and the share of the tighter limit that was used between the first and the last request."""
    tokens = 50 * per_minute
    agents = int(lasts_s * per_minute / 60 * (0.66 if padding else 1.0) / 2)
    provider = Limited(monkeypatch, RateLimit(per_minute, tokens, slack_s=1.0))
    throttle = {"endpoint__requests_per_minute": per_minute, "endpoint__tokens_per_minute": tokens}
    options = {"agents": agents, "ticks": 2, "shards": 4, "society": {"padding": padding}, "model__max_tokens": 20}
    manifest = virtually(provider, out, **options, **throttle)
    billed = provider.billed
    assert manifest["asks"]["answered"] == manifest["asks"]["made"] == 2 * agents == billed.calls
    minutes = (provider.times_s[-1] - provider.times_s[0]) / 60
    return provider, max(billed.calls / per_minute, (billed.tokens_in + billed.tokens_out) / tokens) / minutes


@pytest.mark.parametrize("lasts_s", [5.0, pytest.param(60.0, marks=pytest.mark.chaos)])
def test_a_storm_is_waited_out_by_probes_and_loses_nobody(tmp_path, monkeypatch, lasts_s):
    """It begins 0.7 s after the first request."""
    provider = Limited(monkeypatch, fails=lambda at_s: 0.0 <= at_s - provider.times_s[0] - 0.7 < lasts_s)
    manifest = virtually(provider, tmp_path, agents=200, ticks=5, shards=2, endpoint__concurrency=10)
    failed = [one.at_s for one in provider.sent if one.failed]
    assert manifest["asks"]["answered"] == manifest["asks"]["made"] == 5 * 200
    assert manifest["turns_failed"] == 0
    # The breakers opened within twenty failures and what was in flight then; after that there were only probes.
    sudden = [at_s for at_s in failed if at_s < failed[0] + 0.5]
    assert len(sudden) <= 20 + 10
    probes = [at_s for at_s in failed if at_s >= failed[0] + 0.5]
    assert 1 <= len(probes) <= lasts_s + 1
    assert provider.times_s[-1] > failed[-1]


BAD = range(0, 40, 13)
"""The agents whose calls go wrong."""


class SlowForSome(Misbehaving):
    """Answers the bad agents with `act`; knows how many of their calls are open and how many others it answered."""

    def __init__(self, act: Act) -> None:
        super().__init__(lambda seen: act if asker(seen) in BAD else slow(0.05))
        self.slow_now = self.answered = 0

    async def _respond(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        bad = asker(seen) in BAD
        self.slow_now += bad
        try:
            response = await super()._respond(request, seen)
            self.answered += not bad
            return response
        finally:
            self.slow_now -= bad


def waiting_for_slow_calls(out: Path, act: Act, asks: int, permits: int = 1000) -> int:
    """How many asks of others had no answer as nothing could go on before the first slow call's deadline."""
    left: list[int] = []
    loop, others = ClockAhead(), asks * (40 - len(BAD))
    with SlowForSome(act) as server:
        options = {"society": {"asks": asks}, "endpoint__timeout_s": TIMEOUT_S, "endpoint__concurrency": permits}
        settings = settings_of(**asking(server, agents=40, ticks=1, shards=2, **options))
        coordinator = Coordinator(find_society(ASKERS), settings, LocalTransport(), out)

        async def play() -> None:
            running, looks = asyncio.ensure_future(coordinator.run()), 0
            while not running.done():
                looks += 1
                at_rest = server.slow_now == permits or (server.slow_now and server.answered == others)
                if at_rest or looks > 12_000:
                    left.append(others - server.answered)
                    loop.ahead_s += TIMEOUT_S
                await asyncio.to_thread(time.sleep, 0.02)
            await running

        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(play())
    return left[0]


@pytest.mark.parametrize("act", [HANG, DRIP], ids=["hang", "drip"])
def test_slow_calls_end_at_their_deadline_and_hold_nobody_up(tmp_path, act):
    assert waiting_for_slow_calls(tmp_path, act, asks=3) == 0
    asks = read_table(tmp_path, "asks").to_pylist()
    late = [ask for ask in asks if ask["reason"] == "deadline"]
    assert len(late) == 3 * len(BAD) == sum(ask["settled"] == "abstained" for ask in asks)
    assert {ask["agent"] for ask in late} == set(BAD)
    assert all(TIMEOUT_S <= ask["latency_s"] < 3 * TIMEOUT_S for ask in late)


def test_control_where_slow_calls_take_every_permit_the_others_wait(tmp_path):
    assert waiting_for_slow_calls(tmp_path, HANG, asks=1, permits=2) > 0


def test_a_fifth_of_malformed_answers_is_counted_by_reason_and_agent(tmp_path):
    with Misbehaving(lambda seen: MALFORMED if asker(seen) % 5 == 0 else slow(0.01)) as server:
        manifest = here(tmp_path, **asking(server, agents=50, ticks=3, shards=3, endpoint__retries=0))
        failed = Counter(asker(seen) for seen in server.seen if asker(seen) % 5 == 0)
    assert (manifest["status"], manifest["turns"], manifest["turns_failed"]) == ("complete", 150, 0)
    assert manifest["asks"]["by_reason"] == {"error": 30}
    assert manifest["asks"]["answered"] == 120
    assert manifest["calls_billed"] == server.billed.calls == 150
    asks = read_table(tmp_path, "asks").to_pylist()
    assert Counter(ask["agent"] for ask in asks if ask["reason"] == "error") == failed
    assert all("no completion" in ask["detail"] for ask in asks if ask["reason"])
    state = {row["agent"]: row for row in read_table(tmp_path, "agents").to_pylist() if row["tick"] == 3}
    assert {agent: state[agent]["abstained"] for agent in failed} == failed


def test_malformed_answers_are_tried_again_and_the_tick_completes(tmp_path):
    with Misbehaving(lambda seen: MALFORMED if seen.nth % 5 == 0 else slow(0.01)) as server:
        manifest = here(tmp_path, **asking(server, agents=50, ticks=2, shards=3, endpoint__retries=20))
        assert manifest["calls_billed"] == server.billed.calls > 100
    assert (manifest["status"], manifest["asks"]["answered"], manifest["asks"]["by_reason"]) == ("complete", 100, {})


def test_a_thousand_asks_in_flight_from_eight_shards_pass_no_ceiling(tmp_path):
    """Some of them end in ways that leave open whether they were billed."""

    def plan(seen: Seen) -> Act:
        return CUT if seen.nth % 50 == 7 else DROP if seen.nth % 50 == 8 else slow(0.05)

    ceiling_usd = 0.5
    prices = {"test-model": {"usd_per_million_tokens_in": 2.0, "usd_per_million_tokens_out": 6.0}}
    with Holding(lambda _: server.open_peak > 700, plan) as server:
        options = asking(server, agents=1000, ticks=50, shards=8, model__max_tokens=20, budget__prices=prices)
        with pytest.raises(BudgetSpent):
            here(tmp_path, **options, endpoint__concurrency=1000, budget__usd=ceiling_usd)
        billed, peak = server.billed, server.open_peak
    used_usd = (billed.tokens_in * 2 + billed.tokens_out * 6) * 1e-6
    print(f"{peak} in flight at most; {used_usd / ceiling_usd:.1%} of the ceiling billed")
    assert peak > 700
    assert 0.7 * ceiling_usd < used_usd <= ceiling_usd
