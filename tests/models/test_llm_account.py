"""Many dispatchers and one account: limits and ceilings hold for all of them together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from support.limited import Limited
from support.misbehaving import CUT, HANG, OK, Act, Misbehaving, RateLimit, Seen, slow, status
from support.sections import sectioned

from populace.agents.answers import compile_answer
from populace.budget.amounts import Allowance, Amount
from populace.budget.lease import Lease, Want
from populace.budget.local_share import Buckets
from populace.budget.service import AccountService, LocalLink, RemoteLink, account_for
from populace.core.errors import ActorLost, BudgetSpent, SettingsError
from populace.core.records import Answer, Ask
from populace.models.build import build_gateway
from populace.settings import Settings

PRICES = {"test-model": {"usd_per_million_tokens_in": 1.0, "usd_per_million_tokens_out": 3.0}}


def ask(agent: int) -> Ask:
    messages = (("system", "You are a voter."), ("user", f"You are number {agent}. How do you feel?"))
    return Ask(agent, 0, 0, "feel", messages, compile_answer(str), 20, 0.8, agent.to_bytes(16, "big"))


def model(server: Any, **settings: Any) -> Settings:
    return sectioned(kind="openai", base_url=server.base_url, **{"name": "test-model", "timeout_s": 60.0, **settings})


def run(
    settings: Settings, shards: int, asks: int, *, central: bool = True, play: Callable[..., Any] = asyncio.run
) -> tuple[list[Answer], list[Any], Any]:
    """Offer the asks to so many shards' gateways in one process, and wait for all."""

    async def session() -> tuple[list[Answer], list[Any], Any]:
        account = account_for(settings) if central else None
        got: list[Answer] = []
        done = asyncio.Event()

        def deliver(answers: Sequence[Answer]) -> None:
            got.extend(answers)
            if len(got) == asks:
                done.set()

        async def call(want: bytes) -> bytes:
            assert account is not None
            await asyncio.sleep(0)
            return account.exchange_packed(want)

        gateways = []
        for shard in range(shards):
            link = None if account is None else (LocalLink(account) if shard % 2 else RemoteLink(call))
            gateway = build_gateway(settings.model_copy(update={"shards": shards}), link=link, shard=shard)
            await gateway.open()
            gateways.append(gateway)
        for shard, gateway in enumerate(gateways):
            gateway.offer([ask(agent) for agent in range(shard, asks, shards)], deliver)
        await asyncio.wait_for(done.wait(), 240)
        for gateway in gateways:
            await gateway.close()
        return got, [gateway.failure for gateway in gateways], account

    found: tuple[list[Answer], list[Any], Any] = play(session())
    return found


def fates(answers: list[Answer]) -> Counter[str]:
    return Counter(answer.reason or answer.settled for answer in answers)


def test_nothing_limited_needs_no_account() -> None:
    assert account_for(sectioned(kind="openai", name="m")) is None
    assert account_for(sectioned(kind="scripted", budget={"tokens": 5})) is None
    assert isinstance(account_for(sectioned(kind="openai", name="m", budget={"tokens": 5})), AccountService)


def test_four_shards_keep_to_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = RateLimit(requests_per_minute=3000, tokens_per_minute=150_000, slack_s=1.0)
    provider = Limited(monkeypatch, limit)
    settings = model(provider, requests_per_minute=3000.0, tokens_per_minute=150_000.0)
    got, failures, account = run(settings, 4, 120, play=provider.run)
    assert fates(got) == {"answered": 120}
    assert failures == [None] * 4
    assert provider.refused == 0
    assert len(provider.sent) == 120
    assert account.allowance.spent.tokens == provider.billed.tokens_in + provider.billed.tokens_out


def test_the_same_load_without_limits_is_refused_by_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the test above."""
    provider = Limited(monkeypatch, RateLimit(requests_per_minute=3000, tokens_per_minute=150_000, slack_s=1.0))
    run(model(provider), 4, 120, play=provider.run)
    assert provider.refused > 0


@pytest.mark.parametrize(("kind", "central"), [("usd", True), ("tokens", False)], ids=["central", "own shares"])
def test_eight_shards_never_pass_a_ceiling(kind: str, central: bool) -> None:
    ceiling = {"usd": 0.02, "tokens": 12_000}[kind]
    with Misbehaving(base=slow(0.05)) as server:
        settings = model(server, budget={kind: ceiling}, prices=PRICES, concurrency=1000)
        got, failures, account = run(settings, 8, 1000, central=central)
        billed = server.billed
    spent = {
        "usd": (billed.tokens_in + 3 * billed.tokens_out) * 1e-6,
        "tokens": billed.tokens_in + billed.tokens_out,
    }[kind]
    assert spent <= ceiling
    # The worst case is several times what these calls take; still most of the ceiling gets used in the end.
    assert spent > 0.7 * ceiling
    assert fates(got)["answered"] == billed.calls
    assert fates(got) == {"answered": billed.calls, "budget": 1000 - billed.calls}
    assert any(isinstance(failure, BudgetSpent) for failure in failures)
    assert all(failure is None or isinstance(failure, BudgetSpent) for failure in failures)
    assert sum(answer.tokens_in for answer in got) == billed.tokens_in
    if central:
        assert account.allowance.spent.tokens == billed.tokens_in + billed.tokens_out
        assert account.allowance.overruns == 0


def test_calls_whose_fate_is_unknown_count_at_their_worst_and_the_ceiling_holds() -> None:
    def plan(seen: Seen) -> Act:
        return (CUT, OK, OK, HANG, OK, OK, status(500), OK, OK)[seen.nth % 9]

    with Misbehaving(plan) as server:
        settings = model(server, budget={"tokens": 3000}, timeout_s=0.3, retries=1, concurrency=16)
        got, _, account = run(settings, 2, 60)
        billed = server.billed
    spent = account.allowance.spent.tokens
    assert billed.tokens_in + billed.tokens_out <= spent <= 3000
    assert fates(got)["budget"] > 0


def test_a_budget_in_dollars_needs_a_price() -> None:
    with pytest.raises(SettingsError, match=r"budget\.prices"):
        build_gateway(sectioned(kind="openai", name="m", base_url="http://127.0.0.1:1/v1", budget={"usd": 1.0}))


def test_own_buckets_lease_no_more_than_their_rate() -> None:
    buckets = Buckets(requests_per_minute=600, tokens_per_minute=60_000)
    leased, now_s = 0, 100.0
    for nth in range(400):
        lease = buckets.lease(Want(0, 0, nth, requests=50, tokens=5000, head_tokens=30), now_s)
        leased += lease.requests
        assert lease.requests == 0 or lease.tokens >= 30
        now_s += 0.1
    assert 390 <= leased <= 404
    again = Buckets(requests_per_minute=600, tokens_per_minute=6000, allowance=Allowance(Amount(100, 100)))
    too_much = Want(0, 0, 0, 1, 30, 30, money=Amount(101, 0), least_money=Amount(101, 0))
    assert again.lease(too_much, 0.0).refused == "budget"


class Flaky:
    """A way to the account on which exchanges fail: the nth ones with what `fails` says."""

    def __init__(self, inner: LocalLink, fails: dict[int, Exception]) -> None:
        self.inner = inner
        self.fails = fails
        self.exchanges = 0

    async def exchange(self, want: Want) -> Lease:
        nth, self.exchanges = self.exchanges, self.exchanges + 1
        if nth in self.fails:
            raise self.fails[nth]
        return await self.inner.exchange(want)


def in_two_bursts(settings: Settings, fails: dict[int, Exception]) -> tuple[list[Answer], Any]:
    """Ten asks, a pause in which the gateway is idle and reports, ten more."""

    async def session() -> tuple[list[Answer], Any]:
        account = account_for(settings)
        assert account is not None
        link = Flaky(LocalLink(account), fails)
        gateway = build_gateway(settings, link=link)
        await gateway.open()
        got: list[Answer] = []
        for burst in range(2):
            gateway.offer([ask(agent) for agent in range(10 * burst, 10 * burst + 10)], got.extend)
            async with asyncio.timeout(240):
                while len(got) < 10 * burst + 10:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.6)
        await gateway.close()
        return got, gateway.failure

    return asyncio.run(session())


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_an_exchange_that_was_lost_is_tried_again(lost: int) -> None:
    """The first, the one by which an idle gateway reports, the one after it: else every ask would wait for ever."""
    with Misbehaving(base=slow(0.01)) as server:
        settings = model(server, requests_per_minute=60_000.0)
        got, failure = in_two_bursts(settings, {lost: OSError("unreachable for a moment")})
    assert fates(got) == {"answered": 20}
    assert failure is None


def test_what_is_in_flight_when_the_account_is_lost_ends_as_it_ends() -> None:
    """It is paid for. What waits abstains, and the reason is the gateway's failure."""
    lost = ActorLost(["the quota"], "killed")
    with Misbehaving(base=slow(0.3)) as server:
        settings = model(server, requests_per_minute=1200.0, concurrency=16)
        got, failure = in_two_bursts(settings, dict.fromkeys(range(2, 99), lost))
        billed = len(server.seen)
    assert isinstance(failure, ActorLost)
    assert fates(got)["answered"] == billed > 0
    assert fates(got)["error"] == 20 - billed > 0
