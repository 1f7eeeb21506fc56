"""Months of several ticks: acts are gathered, the market clears once, and a checkpoint amid a month loses nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from populace.core.errors import ScenarioError
from populace.env import Economy, World
from populace.env.economy.pending import Pending
from verification.economy import act, opened

ACTS = [
    [(0, "work", {"hours": 8}), (1, "consume", {"cents": 900}), (2, "resign", {})],
    [(1, "consume", {"cents": 600}), (2, "consume_share", {"share": 0.5}), (3, "apply", {"firm": 0})],
    [(0, "buy_from", {"firm": 1, "cents": 700}), (0, "work", {"hours": 9})],
]


def economy(**values: Any) -> tuple[World, Economy]:
    given: dict[str, Any] = {"firms": 2, "separation_rate": 0.0, "employed": 1.0, "month_ticks": 3} | values
    made = Economy(**given)
    return opened(made, 6, 5), made


def test_a_month_of_three_ticks_gathers_their_acts_and_closes_once():
    world, several = economy()
    start = several.accounts.cents.copy()
    for acts in ACTS[:2]:
        assert not act(world, acts)
        assert np.array_equal(several.accounts.cents, start), "nothing is bought or paid before the month ends"
    act(world, ACTS[2])
    assert len(several.series("hours")) == 1
    assert several.people.hours[0] == 9.0, "of several statements the last holds"
    assert several.people.spent[1] == 1_500, "budgets add up"
    assert several.people.spent[0] == 700
    assert several.people.employer[2] == -1
    assert several.pending.state() == {}


def ended(between: Any) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Digests amid and after a month, of a world that was saved and restored after its second tick."""
    world, _ = economy()
    for acts in ACTS[:2]:
        act(world, acts)
    other, _ = economy()
    other.restore(between(world.state()))
    amid = other.digests()
    act(other, ACTS[2])
    return amid, other.digests()


def without_pending(state: Any) -> Any:
    state["parts"]["economy"].pop("pending")
    return state


def test_a_checkpoint_amid_a_month_holds_what_was_said():
    world, _ = economy()
    for acts in ACTS[:2]:
        act(world, acts)
    amid = world.digests()
    act(world, ACTS[2])
    assert ended(lambda state: state) == (amid, world.digests())
    lost = ended(without_pending)
    assert lost[0] != amid, "what was said and waits is in the digest"
    assert lost[1] != world.digests()


def test_what_was_said_comes_back_in_its_order():
    pending, again = Pending(), Pending()
    ids = np.array([3, 1])
    pending.hours += [(ids, np.array([5.0, 6.0])), (ids[:1], np.array([2.0]))]
    pending.orders.append((ids, ids + 1, ids * 10))
    pending.quits += [ids, ids[:1]]
    again.restore(pending.state())
    for name in ("worked", "named", "quitting"):
        ones, others = getattr(pending, name)(), getattr(again, name)()
        assert all(map(np.array_equal, ones, others)), name


def test_a_month_has_a_tick_at_least():
    with pytest.raises(ScenarioError, match="month_ticks=0"):
        Economy(month_ticks=0)
