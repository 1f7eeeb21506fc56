"""Simulated time against the standard library's calendar."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.env_support import look, opened

from populace.core.errors import ScenarioError
from populace.env import Clock, LookFailed

STARTS = st.datetimes(datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("2100-01-01"))


@given(STARTS, st.integers(1, 10_000), st.integers(0, 10_000))
def test_against_adding_tick_after_tick(start: datetime, seconds: int, tick: int):
    world = opened(1, Clock(start.isoformat()), tick_seconds=float(seconds))
    now = start + tick * timedelta(seconds=seconds)
    reading = look(world, "clock.read", tick=tick)
    assert reading["time"] == now.isoformat(timespec="seconds")
    assert (reading["weekday"], reading["hour"]) == (now.strftime("%A"), now.hour)
    assert reading["day"] == (now - start).days


def test_what_agents_see_moves_with_the_tick():
    world = opened(2, Clock("2024-02-28T22:00"), tick_seconds=3600.0)
    assert world.observe([0, 1])[1] == {
        "clock.time": "2024-02-28T22:00:00",
        "clock.weekday": "Wednesday",
        "clock.hour": 22,
        "clock.day": 0,
    }
    for _ in range(26):
        world.resolve([])
    assert world.observe([0])[0]["clock.time"] == "2024-03-01T00:00:00"
    assert look(world, "clock.read") == {"time": "2024-03-01T00:00:00", "weekday": "Friday", "hour": 0, "day": 1}


def test_restored_with_the_tick():
    world = opened(1, Clock())
    for _ in range(90):
        world.resolve([])
    again = opened(1, Clock())
    again.restore(world.state())
    assert again.observe([0]) == world.observe([0])
    assert again.observe([0])[0]["clock.time"] == "2024-01-01T01:30:00"


def test_bad_input():
    with pytest.raises(ScenarioError, match="write it as 2024-01-31"):
        Clock("tomorrow")
    for seconds in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ScenarioError, match="tick_seconds must be above zero"):
            opened(1, Clock(), tick_seconds=seconds)
    world = opened(1, Clock(), tick_seconds=1e9)
    for args in ({"tick": -1}, {"tick": 1.5}, {"time": 3}, {"tick": 10**9}):
        assert isinstance(look(world, "clock.read", **args), LookFailed)
