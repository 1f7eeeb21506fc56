"""The circuit breaker in a storm, in simulated time."""

from __future__ import annotations

import heapq
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.models.dispatch.breaker import Breaker, Ticket


def storm(
    breaker: Breaker, begins_s: float, ends_s: float, until_s: float, together: int = 64
) -> dict[str, list[float]]:
    """Callers that always want to call; calls that begin in the storm fail after 50 ms, others are answered."""
    now, running, seen = 0.0, [], {"failed": [], "probes": [], "answered": [], "failed_before_opening": []}
    number = 0
    while now < until_s:
        while len(running) < together and (ticket := breaker.admit(now)):
            number += 1
            if ticket.probe:
                seen["probes"].append(now)
            heapq.heappush(running, (now + 0.05, number, now, ticket))
        if not running:
            now = max(breaker.admits_at_s(now), now + 1e-6)
            continue
        now, _, began, ticket = heapq.heappop(running)
        failed = begins_s <= began < ends_s
        seen["failed" if failed else "answered"].append(now)
        if failed and not breaker.opened:
            seen["failed_before_opening"].append(now)
        breaker.report(ticket, not failed, now)
    return seen


def test_a_minute_of_failures() -> None:
    breaker = Breaker()
    seen = storm(breaker, 5.0, 65.0, 80.0)
    assert len(seen["failed_before_opening"]) < 20
    probes = seen["probes"]
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(probes))
    assert 50 <= len(probes) <= 62
    assert not breaker.is_open
    resumed = min(now for now in seen["answered"] if now > 65.0)
    assert resumed < 66.2, "the first probe after the storm is answered"
    assert sum(now > 68.0 for now in seen["answered"]) > 10_000, "and all calls go through again"
    assert breaker.opened == 1
    assert len(seen["failed"]) < 64 + 64 + 62, "what was in flight as it opened, and the probes"


def test_control_without_a_breaker_the_storm_goes_on() -> None:
    seen = storm(Breaker(failures=10**6, window=10**6), 5.0, 15.0, 16.0)
    assert len(seen["failed"]) > 10_000


@given(st.lists(st.booleans(), min_size=20, max_size=300))
def test_it_opens_exactly_when_ten_of_the_last_twenty_failed(outcomes: list[bool]) -> None:
    breaker, last = Breaker(), []
    for nth, answered in enumerate(outcomes):
        ticket = breaker.admit(float(nth))
        if ticket is None or ticket.probe:
            return
        breaker.report(ticket, answered, float(nth))
        last = [*last[-19:], answered]
        assert breaker.is_open == (last.count(False) >= 10)


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.booleans(), st.booleans()), max_size=100))
def test_at_most_one_probe_a_second_whatever_comes_back(steps: list[tuple[float, bool, bool]]) -> None:
    breaker, now, probes, held = Breaker(), 0.0, [], []
    for _ in range(10):
        breaker.report(Ticket(0), False, 0.0)
    assert breaker.is_open
    for step, answered, report in steps:
        now += step
        generation = breaker.opened
        if (ticket := breaker.admit(now)) and ticket.probe:
            probes.append((generation, now))
            held.append(ticket)
        if report and held:
            breaker.report(held.pop(), answered, now)
    times = [now for _, now in probes]
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(times))


def test_what_began_before_it_opened_does_not_close_it() -> None:
    breaker = Breaker(failures=2, window=4, successes=1)
    early = [breaker.admit(0.0) for _ in range(4)]
    breaker.report(early[0], False, 1.0)  # type: ignore[arg-type]
    breaker.report(early[1], False, 1.0)  # type: ignore[arg-type]
    assert breaker.is_open
    breaker.report(early[2], True, 1.5)  # type: ignore[arg-type]
    assert breaker.is_open
    assert breaker.admit(1.9) is None
    probe = breaker.admit(2.0)
    assert probe is not None
    assert probe.probe
    breaker.report(probe, True, 2.5)
    assert not breaker.is_open
    breaker.report(early[3], False, 2.6)  # type: ignore[arg-type]
    assert not breaker.is_open


def test_a_lost_probe_is_given_up() -> None:
    breaker = Breaker(failures=1, window=1, patience_s=5.0)
    breaker.report(Ticket(0), False, 0.0)
    assert breaker.admit(1.0)
    assert breaker.admits_at_s(2.5) == 6.0
    assert breaker.admit(5.9) is None
    assert breaker.admit(6.0)


@pytest.mark.parametrize("wrong", [{"failures": 0}, {"failures": 30}, {"successes": 0}, {"probe_every_s": 0.0}])
def test_settings_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a breaker needs"):
        Breaker(**wrong)  # type: ignore[arg-type]
