"""The central quota and the purses, in simulated time, against a server that enforces its limits."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count, pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.misbehaving import RateLimit

from populace.budget.amounts import Allowance, Amount, Rate
from populace.budget.lease import Lease, Purse, Want
from populace.budget.quota import Limits, Quota
from populace.core.draws import Stream
from populace.models.dispatch.throttle import windows

LIMITS = Limits(requests_per_minute=600.0, tokens_per_minute=30_000.0)


class Sent(msgspec.Struct):
    """What a simulation saw: each request's time, shard, tokens, and whether the server took it."""

    at_s: list[float] = []
    shard: list[int] = []
    tokens: list[int] = []
    refused: list[bool] = []

    def per_shard(self, shards: int) -> list[int]:
        return [self.shard.count(shard) for shard in range(shards)]


def simulate(
    quotas: Sequence[Quota],
    backlog: Callable[[int, float], int],
    *,
    shards: int = 4,
    seconds: float = 180.0,
    tokens: tuple[int, int] = (30, 70),
    estimate: int = 70,
    server: RateLimit | None = None,
    seed: int = 1,
    gone: Callable[[int, float], bool] = lambda _shard, _now: False,
    paced: bool = True,
) -> Sent:
    """Dispatchers that send as soon as they may, `paced` as throttlers let them; shard s has `quotas[s % len(quotas)]`.

    `backlog(shard, now)` asks wait at that moment. A request takes up to 20 ms to reach the server and 300 ms to be
    answered; it is thought to take `estimate` tokens, and takes a number drawn from the range `tokens`.
    """
    draw, number, sent = Stream(seed, 0, 0, "simulate"), count(), Sent()
    purses = [Purse(shard) for shard in range(shards)]
    passed: list[deque[float]] = [deque() for _ in range(shards)]
    allowed = [((1, 0.25), (1, 0.25))] * shards
    events: list[tuple[float, int, str, int, Any]] = []

    def at(when: float, kind: str, shard: int, data: Any = None) -> None:
        heapq.heappush(events, (when, next(number), kind, shard, data))

    sends_s = [math.inf] * shards

    def send_at(shard: int, when: float) -> None:
        if when < sends_s[shard]:
            sends_s[shard] = when
            at(when, "send", shard)

    for shard in range(shards):
        at(draw.random(), "exchange", shard)
    while events:
        now, _, kind, shard, data = heapq.heappop(events)
        if now > seconds:
            break
        if kind == "exchange" and not gone(shard, now):
            waiting = backlog(shard, now)
            want = purses[shard].want(now, waiting, waiting * estimate, estimate if waiting else 0)
            at(now + 0.002, "lease", shard, quotas[shard % len(quotas)].handle(want, now))
        elif kind in ("lease", "send"):
            if kind == "lease":
                purses[shard].receive(data, now)
                if math.isfinite(data.pace_per_s):
                    allowed[shard] = windows(data.pace_per_s)
                at(purses[shard].again_at_s, "exchange", shard)
            sends_s[shard] = math.inf if sends_s[shard] <= now else sends_s[shard]
            send_at(shard, purses[shard].starts_s(now))
            for _ in range(backlog(shard, now)):
                while passed[shard] and passed[shard][0] <= now - 0.25:
                    passed[shard].popleft()
                sent_before = passed[shard]
                freed = [sent_before[-calls] + period for calls, period in allowed[shard] if calls <= len(sent_before)]
                if paced and max(freed, default=now) > now:
                    send_at(shard, max(freed) + 1e-4)
                    break
                if not purses[shard].pay(estimate, Amount(), now):
                    break
                passed[shard].append(now)
                used = tokens[0] + draw.integer(tokens[1] - tokens[0] + 1)
                at(now + 0.02 * draw.random(), "arrive", shard, used)
                at(now + 0.3, "answer", shard, used)
        elif kind == "arrive":
            sent.at_s.append(now)
            sent.shard.append(shard)
            sent.tokens.append(data)
            sent.refused.append(server is not None and server.take(data, now) > 0.0)
        elif kind == "answer":
            purses[shard].returned(estimate, data)
    return sent


def most_within(times: Sequence[float], weights: Sequence[float], rate: float) -> float:
    """The most by which any stretch of time exceeds rate times its length."""
    most = level = 0.0
    last = times[0]
    for now, weight in zip(times, weights, strict=True):
        level = max(0.0, level - rate * (now - last)) + weight
        most, last = max(most, level), now
    return most


@pytest.mark.parametrize(("tokens", "estimate"), [((30, 60), 60), ((60, 100), 100), ((40, 80), 50), ((20, 80), 100)])
@pytest.mark.parametrize("shards", [1, 4, 16])
def test_the_account_is_used_and_never_overused(tokens: tuple[int, int], estimate: int, shards: int) -> None:
    server = RateLimit(600, 30_000, slack_s=2.0)
    sent = simulate([Quota(LIMITS)], lambda *_: 100, tokens=tokens, estimate=estimate, shards=shards, server=server)
    after = [nth for nth, at_s in enumerate(sent.at_s) if at_s > 60.0]
    requests, used = len(after) / 1200, sum(sent.tokens[nth] for nth in after) / 60_000
    assert 0.95 <= max(requests, used) <= 1.01
    assert sum(sent.refused[nth] for nth in after) < 0.01 * len(after)
    slack_s = 2 * LIMITS.burst_s + LIMITS.lasts_s
    assert most_within(sent.at_s, [1.0] * len(sent.at_s), 10.0) <= 10.0 * slack_s + shards
    assert most_within(sent.at_s, [float(n) for n in sent.tokens], 500.0) <= 500.0 * slack_s + shards * estimate


def quarters_worth(sent: Sent, after_s: float = 5.0) -> int:
    """The most requests in any quarter of a second, as they were sent or within 20 ms of it."""
    times = [at_s for at_s in sent.at_s if at_s > after_s]
    return max(bisect_right(times, at_s + 0.25) - nth for nth, at_s in enumerate(times))


def most_in_a_quarter(per_minute: float, shards: int) -> int:
    """A quarter's worth; a tenth more, as calls take up to 20 ms on the way; each shard's part is rounded up."""
    worth = per_minute / 60 * 0.25
    return math.ceil(worth * 1.1) + min(shards, math.ceil(worth)) + 1


def uneven(shard: int, now: float) -> int:
    """The first shard has always much to do, the second most of the time, the others now and then."""
    return 100 if shard == 0 or (shard == 1 and now % 7 > 2) or (shard + int(now * 2)) % 5 == 0 else 0


@pytest.mark.parametrize("backlog", [lambda *_: 100, uneven], ids=["even", "uneven"])
@pytest.mark.parametrize("per_minute", [600.0, 6_000.0, 60_000.0])
@pytest.mark.parametrize("shards", [1, 4, 16])
def test_no_quarter_of_a_second_gets_more_than_its_worth(
    per_minute: float, shards: int, backlog: Callable[[int, float], int]
) -> None:
    limits = Limits(requests_per_minute=per_minute)
    seconds = 40.0 if per_minute < 60_000 else 10.0
    many = (lambda shard, now: 10 * backlog(shard, now)) if per_minute == 60_000.0 else backlog
    sent = simulate([Quota(limits)], many, shards=shards, seconds=seconds)
    assert quarters_worth(sent) <= most_in_a_quarter(per_minute, shards)
    if backlog is not uneven:
        assert len([at_s for at_s in sent.at_s if at_s > 5.0]) >= 0.95 * per_minute / 60 * (seconds - 5.0)


@pytest.mark.parametrize("shards", [1, 4])
def test_control_leases_spent_at_once_put_more_into_one(shards: int) -> None:
    sent = simulate([Quota(Limits(requests_per_minute=6_000.0))], uneven, shards=shards, seconds=40.0, paced=False)
    assert quarters_worth(sent) > most_in_a_quarter(6_000.0, shards)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60), st.floats(0.0, 0.3)), max_size=60))
def test_paces_add_up_to_the_limit_at_most(wants: list[tuple[int, int, float]]) -> None:
    """Whoever asks for how much, whenever: what all may send a second, until their leases end."""
    quota, nths, now_s = Quota(Limits(requests_per_minute=3_000.0)), [0] * 5, 10.0
    paces: dict[int, tuple[float, float]] = {}
    starts: list[float] = []
    for shard, requests, after_s in wants:
        now_s += after_s
        lease = quota.handle(Want(shard, 0, nths[shard], requests, head_tokens=min(1, requests)), now_s)
        nths[shard] += 1
        if not requests:
            paces.pop(shard, None)
        if lease.requests:
            starts.append(now_s + lease.starts_in_s)
            paces[shard] = lease.pace_per_s, starts[-1] + lease.lasts_s
        held = [pace for pace, until_s in paces.values() if until_s > now_s]
        assert sum(held) <= 50.0 * (1 + 1e-9)


def test_whole_requests_at_a_low_limit_come_one_after_the_other() -> None:
    """Sixteen shards whose part becomes one request at the same moment."""
    quota, starts = Quota(Limits(requests_per_minute=600.0)), []
    for tenth in range(40):
        for shard in range(16):
            lease = quota.handle(Want(shard, 0, tenth, 100), 10.0 + tenth * 0.1)
            if lease.requests:
                starts.append(10.0 + tenth * 0.1 + lease.starts_in_s)
    starts.sort()
    assert len(starts) >= 16
    assert all(later - sooner >= 0.0999 for sooner, later in pairwise(starts))


def test_control_a_quota_for_each_process_overuses_the_account() -> None:
    server = RateLimit(600, 30_000, slack_s=2.0)
    sent = simulate([Quota(LIMITS) for _ in range(4)], lambda *_: 100, server=server)
    assert sum(sent.refused) > 0.5 * len(sent.refused)
    assert most_within(sent.at_s, [1.0] * len(sent.at_s), 10.0) > 1000


def test_no_burst_of_a_period_after_idle_time() -> None:
    """All shards wake after a minute of silence: what comes in the first second is a second's worth and the slack."""
    sent = simulate([Quota(LIMITS)], lambda _shard, now: 100 if now > 60.0 else 0, estimate=50, tokens=(10, 40))
    first = [at_s for at_s in sent.at_s if at_s < 61.0]
    assert 8 <= len(first) <= 10 + 10 + 4, "a second's worth, what gathered meanwhile, one for each shard"


def test_equal_demand_is_served_equally_and_little_demand_fully() -> None:
    equal = simulate([Quota(LIMITS)], lambda *_: 100).per_shard(4)
    assert max(equal) <= 1.05 * min(equal)
    # Shard 0 wants one request a second or so, shard 1 two; the other two want all there is.
    demand = {0: 1.0, 1: 2.0}
    taken = [0, 0]

    def backlog(shard: int, now: float) -> int:
        return 100 if shard not in demand else int(now * demand[shard]) - taken[shard]

    class Counting(Quota):
        def handle(self, want: Want, now_s: float) -> Lease:
            lease = super().handle(want, now_s)
            if want.shard in demand:
                taken[want.shard] += lease.requests - want.unused_requests
            return lease

    served = simulate([Counting(LIMITS)], backlog, tokens=(20, 40), estimate=40).per_shard(4)
    assert served[0] >= 0.95 * 180
    assert served[1] >= 0.95 * 360
    assert abs(served[2] - served[3]) <= 0.04 * served[2]
    assert sum(served) >= 0.95 * 1800


def test_control_first_come_first_served_is_not_fair() -> None:
    class Greedy(Quota):
        """What is yielded goes to whoever asks first."""

        def _share(self, yielded: list[float]) -> None:
            for kind in (0, 1):
                self._pool[kind] += yielded[kind]
            for holder in self._holders.values():
                for kind in (0, 1):
                    given = min(holder.wants[kind] - holder.gathered[kind], self._pool[kind])
                    holder.gathered[kind] += given
                    self._pool[kind] -= given

    served = simulate([Greedy(LIMITS)], lambda shard, _: 10 if shard else 100).per_shard(4)
    assert max(served) > 1.2 * min(served)


def test_a_dead_shards_share_goes_to_the_others() -> None:
    sent = simulate([Quota(LIMITS)], lambda *_: 100, gone=lambda shard, now: shard == 2 and now > 60.0)
    late = [shard for at_s, shard in zip(sent.at_s, sent.shard, strict=True) if at_s > 70.0]
    assert 2 not in late
    assert len(late) >= 0.95 * 1100 * 500 / (10 * 50), "all of the limit goes to three"


def test_a_large_ask_is_neither_starved_nor_impossible() -> None:
    """Asks of 4,000 tokens, eight seconds' worth, against the shards of small ones."""
    quota, now, got = Quota(LIMITS), 0.0, 0
    small, large = Purse(0), Purse(1)
    while now < 120.0:
        for purse, tokens in ((small, 50), (large, 4000)):
            purse.receive(quota.handle(purse.want(now, 40, 40 * tokens, tokens), now), now)
            while purse.pay(tokens, Amount(), now):
                got += purse is large
        now += 0.25
    assert 5 <= got <= 8, "half of 500 tokens a second for two minutes are seven"


def test_a_servers_retry_after_holds_everybody() -> None:
    quota = Quota(LIMITS)
    first, second = Purse(0), Purse(1)
    first.receive(quota.handle(first.want(0.0, 5, 250, 50), 0.0), 0.0)
    first.hold(3.0)
    first.receive(quota.handle(first.want(1.0, 5, 250, 50), 1.0), 1.0)
    assert first.again_at_s == 4.0
    lease = quota.handle(second.want(2.0, 5, 250, 50), 2.0)
    assert (lease.requests, lease.again_s) == (0, 2.0)
    assert quota.handle(Want(1, 0, 1, 5, 250, 50), 5.0).requests > 0


def test_attempts_are_fenced_and_a_lost_answer_is_given_again() -> None:
    quota = Quota(LIMITS, Allowance(ceiling=Amount(10**6, 1000)))
    quota.handle(Want(0, 1, 0), 0.0)
    want = Want(0, 1, 1, 4, 200, 50, money=Amount(100, 400), least_money=Amount(50, 100))
    lease = quota.handle(want, 10.0)
    assert (lease.requests, lease.money) == (4, Amount(100, 400))
    assert quota.handle(want, 10.1) == lease
    assert quota.leased == [4, 200], "given again, not given twice"
    assert quota.allowance.held == Amount(100, 400)
    quota.handle(Want(0, 2, 0), 11.0)
    assert quota.allowance.spent == Amount(100, 400), "what the dead attempt held may have been spent"
    pool = list(quota._pool)
    late = quota.handle(
        Want(0, 1, 2, 4, 200, 50, unused_requests=4, unused_tokens=200, unused_money=Amount(1, 1)), 11.0
    )
    assert late == Lease(2, refused="attempt")
    assert quota._pool == pool
    assert quota.handle(Want(0, 2, 0), 12.0) == Lease(0, lasts_s=0.5, again_s=0.02), "its own answer, again"
    quota.leave(0, 2)
    assert quota.handle(Want(0, 2, 1, 1, 1, 1), 13.0).refused == "attempt"
    assert quota.handle(Want(0, 3, 0, 1, 1, 1), 13.0).requests == 1


def test_a_shard_cannot_make_quota_of_nothing() -> None:
    quota = Quota(LIMITS)
    quota.handle(Want(0, 0, 0), 0.0)
    quota.handle(Want(0, 0, 1, unused_requests=10**6, unused_tokens=10**9), 0.0)
    assert quota.handle(Want(1, 0, 0, 100, 100, 1), 0.0).requests == 0
    with pytest.raises(ValueError, match="negative"):
        quota.handle(Want(0, 0, 2, requests=-1), 1.0)
    with pytest.raises(ValueError, match="ran back"):
        quota.handle(Want(0, 0, 2), -1.0)
    with pytest.raises(ValueError, match="limits"):
        Limits(requests_per_minute=0.0)
    with pytest.raises(ValueError, match="shortest"):
        Limits(again_s=1.0)


def test_no_limit_is_no_wait() -> None:
    quota = Quota(Limits())
    assert quota.handle(Want(0, 0, 0, 10_000, 10**7, 1000), 0.0).requests == 10_000


def test_money_through_purses_reaches_the_ceiling_and_no_further() -> None:
    """Eight shards, 1,000 asks in flight, a ceiling: spent never above it, nearly all of it used, all accounted for."""
    rate, worst = Rate(1, 1), Amount(400, 400)
    quota = Quota(Limits(), Allowance(ceiling=Amount(10**9, 1_000_000)))
    purses = [Purse(shard) for shard in range(8)]
    draw = Stream(3, 0, 0, "money")
    flying: list[int] = []
    now, stopped = 0.0, [""] * 8
    for step in range(40_000):
        now += 0.001
        shard = draw.integer(8)
        purse = purses[shard]
        if purse.due(now) and not stopped[shard]:
            many = Amount(400 * 200, 400 * 200)
            purse.receive(quota.handle(purse.want(now, 200, 200 * 100, 100, many, worst), now), now)
            stopped[shard] = purse.refused if purse.refused == "budget" else ""
        while len(flying) < 1000 and purse.pay(100, worst, now):
            flying.append(shard)
        if flying and step % 3:
            done = purses[flying.pop(draw.integer(len(flying)))]
            done.allowance.settle(worst, rate, 20 + draw.integer(60), draw.integer(100), "arm", "talk")
        spent = sum(purse.allowance.spent.pico_usd for purse in purses)
        assert spent <= 1_000_000
        assert quota.allowance.spent.pico_usd + quota.allowance.held.pico_usd <= 1_000_000
    assert not flying
    for purse in purses:
        quota.handle(purse.want(now, 0, 0, 0), now)
    assert quota.allowance.spent.pico_usd == sum(purse.allowance.spent.pico_usd for purse in purses) > 990_000
    assert quota.allowance.held == Amount()
    assert "budget" in stopped


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.floats(0.0, 1.0), st.integers(0, 50), st.integers(1, 300), st.booleans()),
        max_size=120,
    )
)
def test_whatever_dispatchers_do_leases_follow_the_limits(steps: list[tuple[int, float, int, int, bool]]) -> None:
    quota, purses, now = Quota(LIMITS), [Purse(shard) for shard in range(4)], 0.0
    paid: list[tuple[float, int]] = []
    for shard, gap, waiting, tokens, crash in steps:
        now += gap
        purse = purses[shard]
        if crash:
            purse = purses[shard] = Purse(shard, purse.attempt + 1)
        purse.receive(quota.handle(purse.want(now, waiting, waiting * tokens, tokens if waiting else 0), now), now)
        while purse.pay(tokens, Amount(), now):
            paid.append((now, tokens))
    if paid:
        times = [now for now, _ in paid]
        slack_s = 2 * LIMITS.burst_s + LIMITS.lasts_s
        assert most_within(times, [1.0] * len(paid), 10.0) <= 10.0 * slack_s + 4
        assert most_within(times, [float(tokens) for _, tokens in paid], 500.0) <= 500.0 * slack_s + 4 * 300
