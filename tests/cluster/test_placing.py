"""Shares of CPUs, what nodes have in common, and moves at a tick's edge."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.attempts import same_tables
from support.running import SOCIETIES, run_local, settings_of

from populace.cluster.agreement import Having, differences, what_is_here
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.cluster.placing import cpu_share
from populace.data.societies import find_society

OPTIONS = {"agents": 30, "ticks": 6, "shards": 2, "checkpoint__every_ticks": 4}


@given(cpus=st.lists(st.integers(0, 9), min_size=1, max_size=5), processes=st.integers(1, 30))
def test_all_find_room_and_no_larger_share_would_let_them(cpus, processes):
    share = Fraction(cpu_share(cpus, processes)).limit_denominator(10_000)
    if not any(cpus):
        assert share == 1
        return
    assert 0 < share <= 1
    assert sum(int(of / share) for of in cpus) >= processes
    larger = [Fraction(of, parts) for of in cpus for parts in range(1, processes + 1)]
    for other in (min(Fraction(1), one) for one in larger if one > share + Fraction(1, 10_000)):
        assert other - share < Fraction(1, 10_000) or sum(int(of / other) for of in cpus) < processes


def test_three_nodes_of_one_cpu_hold_four_processes():
    """Each takes two of a half: at 0.9 of what an even split gives, the fourth would find no node."""
    assert cpu_share([1, 1, 1], 4) == 0.5
    assert cpu_share([0, 4, 4], 3) == 1.0
    assert cpu_share([0, 0], 3) == 1.0


def test_what_a_node_has_otherwise_is_named():
    here = what_is_here(find_society(SOCIETIES))
    assert differences(here, here) == []
    assert here.versions["numpy"]
    changed = {**here.code, "kernel/shard.py": "other", "kernel/more.py": "new"}
    other = Having({**here.versions, "numpy": "1.0"}, changed, {**here.beside, "nowhere.py": "more"})
    del changed["kernel/tick.py"]
    named = differences(here, other)
    assert named[0] == f"numpy 1.0 ({here.versions['numpy']} here)"
    assert set(named[1:]) == {
        "populace/kernel/shard.py is another", "populace/kernel/more.py is not in both",
        "populace/kernel/tick.py is not in both",
    }  # fmt: skip


class Joining(LocalTransport):
    """Has a better place for a shard before these ticks."""

    def __init__(self, *ticks: int) -> None:
        super().__init__()
        self.ticks = list(ticks)
        self.edges = 0
        self.starts = 0

    async def start(self, job):
        self.starts += 1
        return await super().start(job)

    def better_placed(self) -> list[str]:
        self.edges += 1
        return ["shard 1"] if self.edges in self.ticks else []


class Empty(Joining):
    """Gives nobody back what they were."""

    async def restore(self, state):
        return await super().restore(msgspec.structs.replace(state, agents={}))


def moved(out, transport: Joining, **options):
    coordinator = Coordinator(find_society(SOCIETIES), settings_of(**{**OPTIONS, **options}), transport, out)
    return asyncio.run(coordinator.run())


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    out = tmp_path_factory.mktemp("still") / "run"
    return run_local(out, **OPTIONS), out


def test_shards_move_at_an_edge_and_the_run_is_the_same(tmp_path, still):
    transport = Joining(1, 3, 4)
    manifest = moved(tmp_path / "run", transport)
    assert transport.starts == 4
    assert manifest["lost"] == []
    assert manifest["attempt"] == 3
    for key in ("trace_hashes", "world_hashes", "asks", "messages", "calls_billed", "tokens_in"):
        assert manifest[key] == still[0][key], key
    same_tables(tmp_path / "run", still[1])


def test_control_where_agents_lose_what_they_are_a_move_shows(tmp_path, still):
    assert moved(tmp_path / "run", Empty(3))["trace_hashes"] != still[0]["trace_hashes"]


def test_a_run_that_keeps_nothing_does_not_move(tmp_path, still):
    transport = Joining(1, 3)
    manifest = moved(tmp_path / "run", transport, journal="off")
    assert transport.starts == 1
    assert manifest["trace_hashes"] == still[0]["trace_hashes"]
