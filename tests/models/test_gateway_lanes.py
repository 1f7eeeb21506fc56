"""Lanes: the earliest tick first, its own endpoint first, and no call to one that is held or out."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.agents.answers import compile_answer
from populace.core.records import Ask
from populace.models.dispatch.breaker import Breaker
from populace.models.dispatch.concurrency import Concurrency
from populace.models.dispatch.lanes import Lane, Lanes
from populace.models.dispatch.retry import Pending

SPEC = compile_answer(str)


def pending_ask(agent: int, tick: int = 0, system: str = "You are a voter.") -> Pending:
    messages = (("system", system), ("user", f"{agent}"))
    return Pending(Ask(agent, tick, 0, "say", messages, SPEC, 9, 0.5, bytes(16)), lambda _answers: None, "text")


def make(*weights: float, permits: int = 100, failures: int = 2) -> Lanes:
    return Lanes(
        [
            Lane(f"http://{name}/v1", Concurrency(permits, start=permits), Breaker(failures, failures), weight)
            for name, weight in zip("abcdef", weights, strict=False)
        ]
    )


def start(lanes: Lanes, now_s: float = 0.0) -> tuple[Lane, Pending] | None:
    choice = lanes.next(now_s)
    if choice is None:
        return None
    lane, source = choice
    taken = source.queue[0][-1]
    source.queue[:] = sorted(source.queue[1:], key=lambda entry: entry[:-1])
    lane.permits.start()
    assert lane.breaker.admit(now_s) is not None
    return lane, taken


def everything(lanes: Lanes, now_s: float = 0.0) -> list[tuple[Lane, Pending]]:
    found = []
    while (begun := start(lanes, now_s)) is not None:
        found.append(begun)
    return found


def earliest_first(ticks: list[int], waiting: list[int]) -> bool:
    """Whether each taken tick was the earliest of those that waited then."""
    left = Counter(waiting)
    for tick in ticks:
        if tick != min(left.elements()):
            return False
        left[tick] -= 1
    return True


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5)), min_size=1, max_size=60), st.integers(1, 4))
def test_the_earliest_tick_goes_first_over_all_lanes(asks: list[tuple[int, int]], size: int) -> None:
    lanes = make(*[1.0] * size)
    for agent, (tick, persona) in enumerate(asks):
        lanes.put(pending_ask(agent, tick, f"persona {persona}"), 0.0)
    taken = [one.ask.tick for _, one in everything(lanes)]
    assert len(taken) == len(asks)
    assert earliest_first(taken, [tick for tick, _ in asks])


def test_control_lanes_that_look_at_their_own_queue_only_break_it() -> None:
    lanes = make(1.0, 1.0)
    for agent in range(40):
        lanes.put(pending_ask(agent, agent % 4, f"persona {agent}"), 0.0)
    own = [entry[0] for lane in lanes.lanes for entry in sorted(lane.queue, key=lambda entry: entry[:-1])]
    assert not earliest_first(own, [agent % 4 for agent in range(40)])


def test_what_comes_later_and_is_earlier_overtakes_what_waits() -> None:
    lanes = make(1.0)
    for agent in range(5):
        lanes.put(pending_ask(agent, tick=3), 0.0)
    lanes.put(pending_ask(9, tick=1), 0.0)
    assert [one.ask.agent for _, one in everything(lanes)] == [9, 0, 1, 2, 3, 4]


def test_asks_of_one_prefix_stay_together_and_prefixes_spread() -> None:
    lanes = make(1.0, 1.0, 1.0, permits=1000)
    for agent in range(300):
        lanes.put(pending_ask(agent, system=f"persona {agent % 30}"), 0.0)
    homes: dict[str, set[str]] = {}
    for lane, one in everything(lanes):
        homes.setdefault(one.ask.messages[0][1], set()).add(lane.name)
    assert all(len(names) == 1 for names in homes.values())
    assert len(set.union(*homes.values())) == 3


def test_one_prefix_for_all_uses_every_endpoint_when_its_own_is_full() -> None:
    lanes = make(1.0, 1.0, permits=5)
    for agent in range(20):
        lanes.put(pending_ask(agent), 0.0)
    begun = everything(lanes)
    assert Counter(lane.name for lane, _ in begun) == {"http://a/v1": 5, "http://b/v1": 5}
    home = next(lane for lane in lanes.lanes if lane.queue)
    assert [lane is home for lane, _ in begun] == [True] * 5 + [False] * 5, "its own first, then the other helps"


def test_a_lane_that_is_held_takes_nothing_and_its_asks_go_to_others() -> None:
    lanes = make(1.0, 1.0)
    for agent in range(6):
        lanes.put(pending_ask(agent), 0.0)
    home = next(lane for lane in lanes.lanes if lane.queue)
    home.held_until_s = 5.0
    assert lanes.elsewhere(home, 0.0) == 1
    assert {lane.name for lane, _ in everything(lanes)} == {lane.name for lane in lanes.lanes if lane is not home}
    lanes.put(pending_ask(7), 0.0)
    assert not home.queue, "a new ask goes to the other at once"
    other = start(lanes)
    assert other is not None
    other[0].held_until_s = 9.0
    lanes.put(pending_ask(8), 0.0)
    assert lanes.next(4.9) is None
    assert lanes.wait_s(4.0) == 1.0
    assert lanes.next(5.0) is not None


def test_an_open_breaker_lets_one_probe_through_while_others_work() -> None:
    lanes = make(1.0, 1.0, permits=50)
    sick, well = lanes.lanes
    for _ in range(2):
        ticket = sick.breaker.admit(0.0)
        assert ticket is not None
        sick.breaker.report(ticket, False, 0.0)
    assert sick.breaker.is_open
    assert lanes.out_s(9.0) == 0.0, "one endpoint works"
    for agent in range(20):
        lanes.put(pending_ask(agent, system=f"persona {agent}"), 0.0)
    assert not sick.queue
    assert {lane.name for lane, _ in everything(lanes, 0.5)} == {well.name}, "no probe is due yet"
    for agent in range(10):
        lanes.put(pending_ask(agent), 1.5)
    names = Counter(lane.name for lane, _ in everything(lanes, 1.5))
    assert names == {sick.name: 1, well.name: 9}, "one probe, though the well one has permits for all"
    for _ in range(2):
        ticket = well.breaker.admit(2.0)
        assert ticket is not None
        well.breaker.report(ticket, False, 2.0)
    assert lanes.out_s(9.0) == 7.0, "since the last one went out"


def test_a_job_goes_elsewhere_after_a_failure() -> None:
    lanes = make(1.0, 1.0, 1.0)
    one = pending_ask(0)
    for _ in range(5):
        lanes.put(one, 0.0)
        (home,) = [lane for lane in lanes.lanes if lane.queue]
        home.queue.clear()
        assert home.index != one.failed_at
        one.failed_at = home.index


def test_probes_of_a_dead_endpoint_become_seldom_where_others_serve() -> None:
    def probes(breaker: Breaker) -> int:
        for _ in range(10):
            ticket = breaker.admit(0.0)
            assert ticket is not None
            breaker.report(ticket, False, 0.0)
        for tenth in range(1, 3000):
            if (ticket := breaker.admit(tenth / 10)) is not None:
                breaker.report(ticket, False, tenth / 10)
        return breaker.probes

    assert probes(Breaker()) > 250
    assert probes(Breaker(probe_most_s=60.0)) < 15


def test_two_lanes_of_one_name_are_an_error() -> None:
    with pytest.raises(ValueError, match="different names"):
        Lanes([Lane("a", Concurrency(1)), Lane("a", Concurrency(1))])
