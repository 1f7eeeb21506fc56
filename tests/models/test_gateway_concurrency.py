"""Adaptive concurrency against a simulated endpoint: time is a number, and each property has its negative control."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.models.dispatch.concurrency import Concurrency, Signal


def simulate(
    permits: Concurrency, calls: int, served_s: Callable[[int], tuple[float, Signal]]
) -> list[tuple[float, int]]:
    """Keep every permit busy for so many calls; `served_s` tells, from calls in flight, how long one takes."""
    now, number, limits = max(0.0, permits._window_s), count(), []
    running: list[tuple[float, int, float, Signal]] = []
    for _ in range(calls):
        while permits.room:
            permits.start()
            took, outcome = served_s(permits.in_flight)
            heapq.heappush(running, (now + took, next(number), now, outcome))
        now, _, began, outcome = heapq.heappop(running)
        permits.finish(outcome, began, now)
        limits.append((now, int(permits.limit)))
        assert 1 <= permits.limit <= permits.ceiling
    return limits


def drain(permits: Concurrency) -> None:
    """Give back what a finished simulation left in flight, as calls of before that teach nothing."""
    while permits.in_flight:
        permits.finish("fault", 0.0, 0.0)


def queueing(capacity: int, service_s: float = 0.1) -> Callable[[int], tuple[float, Signal]]:
    """An endpoint that serves `capacity` calls at once; those beyond it wait in its queue."""
    return lambda in_flight: (service_s * max(1.0, in_flight / capacity), "ok")


def test_it_finds_a_quiet_endpoints_ceiling_in_a_few_round_trips() -> None:
    limits = simulate(Concurrency(256), 4000, lambda _: (0.2, "ok"))
    assert limits[-1][1] == 256
    assert next(now for now, limit in limits if limit == 256) < 10 * 0.2


def test_it_settles_near_the_capacity_of_an_endpoint_that_queues() -> None:
    limits = [limit for _, limit in simulate(Concurrency(1000), 60_000, queueing(40))][-30_000:]
    assert sum(limit >= 40 for limit in limits) > 0.97 * len(limits), "hardly ever less than it can serve at once"
    assert max(limits) <= 100, "and about twice of that at most, since the tolerance is 2"


def test_it_follows_an_endpoint_that_loses_nine_tenths_of_its_capacity() -> None:
    permits = Concurrency(1000)
    simulate(permits, 20_000, queueing(40))
    drain(permits)
    limits = [limit for _, limit in simulate(permits, 20_000, queueing(4))][-5_000:]
    assert max(limits) <= 12


def test_control_without_the_latency_rule_the_queue_grows_to_the_ceiling() -> None:
    blind = Concurrency(1000, tolerance=1e9)
    assert max(limit for _, limit in simulate(blind, 60_000, queueing(40))) == 1000


def test_one_decrease_a_round_trip() -> None:
    permits = Concurrency(64, start=64)
    for _ in range(64):
        permits.start()
    for call in range(64):
        permits.finish("limited", 0.0, 1.0 + call / 1000)
    assert permits.limit == 32
    permits.start()
    permits.finish("limited", 1.5, 2.0)
    assert permits.limit == 16
    assert permits.decreases == {"limited": 2, "latency": 0}


def test_control_every_late_call_would_cut_again() -> None:
    permits = Concurrency(64, start=64)
    for _ in range(64):
        permits.start()
    for call in range(64):
        permits.finish("limited", 10.0 + call, 11.0 + call)  # as if each had begun after the last cut
    assert permits.limit == 1


def test_faults_change_nothing_and_rate_limits_do() -> None:
    permits = Concurrency(64, start=32)
    simulate(permits, 2000, lambda _: (0.1, "fault"))
    assert permits.limit == 32
    simulate(Concurrency(64, start=32), 10, lambda _: (0.1, "limited"))


def test_an_idle_endpoint_does_not_raise_its_limit() -> None:
    permits = Concurrency(64, start=8)
    for call in range(1000):
        permits.start()
        permits.finish("ok", float(call), call + 0.1)
    assert permits.limit == 8


def test_it_shares_a_rate_limited_endpoint_without_starving() -> None:
    """An endpoint that answers 429 to all beyond 50 at once: the limit saws between its half and a little above.

    Once in 64 windows it dips to a quarter, to measure the latency without a queue.
    """
    limits = [
        limit
        for _, limit in simulate(Concurrency(1000), 40_000, lambda n: (0.1, "ok" if n <= 50 else "limited"))[-20_000:]
    ]
    assert sum(limit >= 25 for limit in limits) > 0.97 * len(limits)
    assert max(limits) <= 53


def test_a_slower_endpoint_is_no_queue_for_ever() -> None:
    """A lasting change (a longer prompt, another model) becomes the new normal when less concurrency did not help."""
    permits = Concurrency(64, start=64)
    simulate(permits, 2000, lambda _: (0.1, "ok"))
    drain(permits)
    simulate(permits, 20_000, lambda _: (1.0, "ok"))
    assert permits.limit == 64


@given(st.integers(1, 50), st.lists(st.sampled_from(["start", "ok", "limited", "fault"]), max_size=200))
def test_permits_are_conserved(ceiling: int, steps: list[str]) -> None:
    permits, began, now = Concurrency(ceiling), [], 0.0
    for step in steps:
        now += 0.01
        if step == "start" and permits.room:
            permits.start()
            began.append(now)
        elif step != "start" and began:
            permits.finish(step, began.pop(0), now)  # type: ignore[arg-type]
        assert permits.in_flight == len(began)
        assert 1 <= permits.limit <= ceiling
        assert permits.room >= 0


def test_misuse_is_an_error() -> None:
    permits = Concurrency(1)
    permits.start()
    with pytest.raises(RuntimeError, match="no permit"):
        permits.start()
    permits.finish("ok", 0.0, 1.0)
    with pytest.raises(RuntimeError, match="nobody took"):
        permits.finish("ok", 0.0, 1.0)
    for wrong in (
        {"ceiling": 0},
        {"ceiling": 5, "floor": 6},
        {"ceiling": 5, "cut": 1.0},
        {"ceiling": 5, "tolerance": 1.0},
    ):
        with pytest.raises(ValueError, match="concurrency needs"):
            Concurrency(**wrong)  # type: ignore[arg-type]
