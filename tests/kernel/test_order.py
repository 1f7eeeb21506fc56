"""The order of a tick favours no id, and the order of some messages does not depend on the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import scarce
from support.env_support import opened
from support.environments import handed
from support.running import run_local
from support.scarce import AGENTS, PLACES, Stall

from populace.core.draws import WORLD, Draws
from populace.kernel import bus, order
from populace.kernel.bus import Mail, gather, route
from populace.kernel.environment import Environment
from populace.kernel.order import _sort, fair_actions, fair_order, total_order
from populace.store.tables.tables import read_table

SEEDS = range(1500)
ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(WORLD, 9), st.integers(0, 3)), unique=True, max_size=40)
"""(receiver, sender, nth) of a tick's messages."""


def columns(rows: Iterable[tuple[int, int, int]]) -> tuple[Any, Any, Any]:
    table = np.array(list(rows), np.int32).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def in_order(seed: int, tick: int, rows: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    return [rows[at] for at in fair_order(seed, tick, *columns(rows)).tolist()]


@given(st.integers(0, 2**64 - 1), st.integers(0, 1000), ROWS, st.randoms())
def test_the_order_of_some_messages_is_the_same_whichever_others_there_are(seed, tick, rows, random):
    ordered = in_order(seed, tick, rows)
    some = [row for row in rows if random.random() < 0.5]
    random.shuffle(some)
    assert in_order(seed, tick, some) == [row for row in ordered if row in set(some)]


@given(st.integers(0, 2**64 - 1), ROWS)
def test_receivers_lie_apart_the_world_stands_first_and_a_senders_own_in_their_order(seed, rows):
    ordered = in_order(seed, 3, rows)
    assert [receiver for receiver, _, _ in ordered] == sorted(receiver for receiver, _, _ in rows)
    for receiver in range(5):
        senders = [sender for to, sender, _ in ordered if to == receiver]
        assert senders == sorted(senders, key=senders.index), "what one sent stands together"
        assert WORLD not in senders[senders.count(WORLD) :]
        for sender in set(senders):
            places = [nth for to, one, nth in ordered if (to, one) == (receiver, sender)]
            assert places == sorted(places)


@given(st.integers(0, 2**64 - 1), ROWS, st.randoms())
def test_the_order_of_actions_on_a_part_is_the_same_whichever_others_there_are(seed, rows, random):
    def acting(some: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
        part, sender, nth = columns(some)
        return [some[at] for at in fair_actions(Draws(seed, WORLD, 5), [f"p{at}" for at in part], sender, nth)]

    ordered = acting(rows)
    some = [row for row in rows if random.random() < 0.5]
    random.shuffle(some)
    for part in range(5):
        here = [row for row in some if row[0] == part]
        assert [row for row in acting(some) if row[0] == part] == [row for row in ordered if row in set(here)]


def test_equal_lots_are_told_apart_by_sender_and_place(monkeypatch):
    """Two senders may draw one number; then their ids decide, in whatever order their messages came."""
    monkeypatch.setattr(order, "words", lambda _seed, _tick, _name, ids, _others: np.zeros(len(ids), np.uint64))
    rows = [(1, 4, 1), (1, 2, 0), (1, WORLD, 5), (0, 7, 0), (1, 4, 0)]
    assert in_order(1, 1, rows) == sorted(rows)


# That no id is favoured, for each thing that may be scarce.


def places(seed: int, *, fair: bool) -> list[int]:
    """Who has a place in an inbox that is too small for all."""
    return [message.sender for message in mail_of(seed, PLACES, fair=fair).inbox(4)]


def reading(seed: int, *, fair: bool) -> list[int]:
    """In which order an inbox is read that has room for all."""
    return [message.sender for message in mail_of(seed, AGENTS, fair=fair).inbox(4)]


def mail_of(seed: int, bound: int, *, fair: bool) -> Mail:
    turns = [(sender, [4], [msgpack.packb(sender)]) for sender in range(AGENTS)]
    frames = [
        frame
        for shard in range(3)
        for frame in route(gather(6, turns[shard::3]), source=shard, shards=1, attempt=0, frame_bytes=2**20)
    ]
    return Mail(frames, bound, seed if fair else None)


def taking(seed: int, *, fair: bool) -> list[int]:
    """Who gets what a part of the world has too little of."""
    turns = [(sender, [WORLD], [msgpack.packb(("stall.take", {}))]) for sender in range(AGENTS)]
    frames = route(gather(0, turns), source=0, shards=1, attempt=0, frame_bytes=2**20)
    world = opened(AGENTS, Stall(), seed=seed)
    environment = Environment(world, {}, shards=1, frame_bytes=2**20, trace_version=2 if fair else 1)
    environment.close_tick(0, handed(frames, []))
    given: list[int] = world.stall.given
    return given


def surprise(draws: list[list[int]]) -> float:
    """How unlikely it is by chance that ids stand so unevenly at some rank: the least p-value over the ranks.

    Each rank's counts are tested against equal ones (Pearson's chi-square, by Wilson and Hilferty's normal
    approximation).
    """
    table = np.array(draws)
    freedom = AGENTS - 1
    least = 1.0
    for rank in range(table.shape[1]):
        counts = np.bincount(table[:, rank], minlength=AGENTS)
        statistic = float(((counts - len(table) / AGENTS) ** 2).sum() / (len(table) / AGENTS))
        spread = 2.0 / (9.0 * freedom)
        z = ((statistic / freedom) ** (1.0 / 3.0) - (1.0 - spread)) / spread**0.5
        least = min(least, 1.0 - NormalDist().cdf(z))
    return least


@pytest.mark.parametrize("scarce_thing", [places, reading, taking])
def test_no_id_is_favoured(scarce_thing: Callable[..., list[int]]) -> None:
    assert surprise([scarce_thing(seed, fair=True) for seed in SEEDS]) > 1e-3


@pytest.mark.parametrize("scarce_thing", [places, reading, taking])
def test_control_the_order_of_version_1_favours_low_ids(scarce_thing: Callable[..., list[int]]) -> None:
    draws = [scarce_thing(seed, fair=False) for seed in SEEDS[:100]]
    assert surprise(draws) < 1e-12
    assert all(draw[:PLACES] == [0, 1, 2] for draw in draws)


def test_ticks_receivers_and_parts_draw_their_orders_apart() -> None:
    senders, nth = np.arange(60, dtype=np.int32), np.zeros(60, np.int32)
    orders = [
        fair_order(seed, tick, np.full(60, receiver, np.int32), senders, nth).tolist()
        for seed in range(3) for tick in range(3) for receiver in range(3)
    ]  # fmt: skip
    orders += [fair_actions(Draws(0, WORLD, 0), [part] * 60, senders, nth).tolist() for part in ("feed", "network")]
    for at, one in enumerate(orders):
        ranks = np.argsort(one)
        for other in orders[:at]:
            assert abs(np.corrcoef(ranks, np.argsort(other))[0, 1]) < 0.6


# Whole runs.

SOCIETY = str(Path(scarce.__file__))


def test_one_hash_on_any_number_of_shards_with_full_inboxes_and_something_scarce(tmp_path: Path) -> None:
    runs = [
        run_local(tmp_path / str(shards), SOCIETY, shards=shards, bus__inbox_messages=PLACES) for shards in (1, 2, 5)
    ]
    assert len({run["trace_hash"] for run in runs}) == 1
    assert runs[0]["messages"]["refused_by_reason"]["inbox_full"] > 0
    assert runs[0]["actions"]["refused_by_reason"] == {"sold_out": 8 * (AGENTS - PLACES)}
    table = read_table(tmp_path / "2", "actions").to_pydict()
    rows = list(zip(table["tick"], table["agent"], table["nth"], strict=True))
    assert rows == sorted(rows)
    winners = {agent for agent, fate in zip(table["agent"], table["fate"], strict=True) if fate == "applied"}
    assert len(winners) > PLACES + 2, "not the same few in every tick"


def test_control_without_the_sort_shards_change_who_has_the_places(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(bus, "fair_order", lambda _seed, _tick, receiver, *_: np.argsort(receiver, kind="stable"))
    hashes = {
        run_local(tmp_path / str(shards), SOCIETY, shards=shards, bus__inbox_messages=PLACES)["trace_hash"]
        for shards in (1, 2, 5)
    }
    assert len(hashes) > 1


def test_the_order_of_version_1_is_a_sort_by_receiver_sender_and_place() -> None:
    rows = [(2, 0, 0), (0, 1, 3), (0, 1, 2), (0, WORLD, 9), (2, 5, 1)]
    assert [rows[at] for at in total_order(*columns(rows)).tolist()] == sorted(rows)


@pytest.mark.parametrize("groups", [1, 3, 2**21])
def test_many_rows_are_sorted_as_few_are(groups) -> None:
    """By a sort of numbers with the row in their lowest bits, or where that has no room by one of places."""
    draw = np.random.default_rng(5)
    group, sender = (draw.integers(0, top, 5000, dtype=np.int32) for top in (groups, 700))
    nth, lot = draw.integers(0, 9, 5000, dtype=np.int32), draw.integers(0, 60, 5000)
    assert _sort(group, lot, sender, nth).tolist() == np.lexsort((nth, sender, lot, group)).tolist()
    first = np.lexsort((nth, sender))
    group, sender, nth, lot = group[first], sender[first], nth[first], lot[first] + 2**31 - 60
    assert _sort(group, lot, sender, nth).tolist() == np.lexsort((nth, sender, lot, group)).tolist()
