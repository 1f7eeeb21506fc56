"""Levers in whole runs: each does what it says at its tick's edge, on any number of shards, and is recorded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.levers import AGENTS, ALL, RESIDENTS, TICKS
from support.running import SOCIETIES, run_local

from populace.env import World
from populace.interventions import groups
from populace.interventions.at_work import FIRST_NTH, Levers
from populace.interventions.levers import parse_lever
from populace.store.manifest import read_manifest
from populace.store.tables.tables import panel, read_table

R = [i for i in range(AGENTS) if i % 2 == 0]


def run(out: Path, *levers: str, scenario: str = RESIDENTS, **options: Any) -> dict[str, Any]:
    return run_local(out, scenario, levers=[parse_lever(one) for one in levers], **options)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: Any) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: Any) -> Path:
    out = tmp_path_factory.mktemp("pulled")
    assert run(out, *ALL, shards=2)["turns_failed"] == 0
    return out


@pytest.mark.parametrize("lever", ALL)
def test_a_lever_acts_from_its_tick_on_the_same_on_any_number_of_shards(tmp_path, plain, lever):
    one, two, five = (run(tmp_path / str(n), lever, shards=n) for n in (1, 2, 5))
    assert one["trace_hashes"] == two["trace_hashes"] == five["trace_hashes"]
    assert one["messages"] == five["messages"]
    assert one["trace_hashes"][:2] == plain["trace_hashes"][:2]
    assert all(now != then for now, then in zip(one["trace_hashes"][2:], plain["trace_hashes"][2:], strict=True))
    for name in ("agents", "messages", "outcomes", "failures", "levers"):
        assert read_table(tmp_path / "1", name).equals(read_table(tmp_path / "5", name)), name


@pytest.mark.parametrize("scenario", [SOCIETIES, "polarization"])
def test_all_kinds_together_in_other_societies(tmp_path, scenario):
    field, share = ("mood", '"all"') if scenario == SOCIETIES else ("attitude", "{where={PID={min=4}}, share=0.5}")
    parameter = "reach=30" if scenario == SOCIETIES else "openness=0.9"
    of_feed, of_others = ", world.feed.show=1", ', world.clock.start="1999-12-31", world.network.frozen=true'
    sets = of_feed if scenario == SOCIETIES else of_others
    levers = (
        f"at=1, until=3, set={{society.{parameter}{sets}}}",
        f'at=2, send={{to={share}, body="The government should."}}',
        "at=1, until=2, block={sender={share=0.5}}",
        f"at=2, change={{group={share}, fields={{{field}=0}}}}",
    )
    without = run(tmp_path / "without", scenario=scenario, agents=20, ticks=4)
    runs = [run(tmp_path / str(n), *levers, scenario=scenario, agents=20, ticks=4, shards=n) for n in (1, 2, 5)]
    assert len({one["trace_hash"] for one in runs}) == 1
    assert runs[0]["trace_hashes"][:1] == without["trace_hashes"][:1]
    assert runs[0]["trace_hashes"][1] != without["trace_hashes"][1]
    assert runs[0]["turns_failed"] == without["turns_failed"] or scenario == SOCIETIES
    touched = [lever["agents_touched"] for lever in runs[0]["levers"]]
    assert touched[0] is None
    assert touched[1] == touched[3] > 0, "the lots of two levers are of one size"


def test_a_parameter_holds_from_its_tick_until_another_and_comes_back(pulled):
    """Row t + 1 of a panel is what turns of tick t reported."""
    for field, usual, moved in (("dial", 1.0, 7.0), ("rate", 0.5, 2.5)):
        rows = panel(pulled, field)[1:]
        assert rows.tolist() == [[moved if tick in (2, 3) else usual] * AGENTS for tick in range(TICKS)], field


def test_of_two_levers_that_set_the_same_the_later_holds(tmp_path):
    run(
        tmp_path,
        "at=2, until=4, set={society.dial=3}",
        'at=0, set={society.dial=2, society.word="y"}',
        'at=2, until=3, set={"society.dial"=4}',
    )
    assert panel(tmp_path, "dial")[1:, 0].tolist() == [2.0, 2.0, 4.0, 3.0, 2.0]


def test_a_message_is_read_by_its_group_in_its_tick(pulled):
    read = panel(pulled, "read")
    got = [(tick, agent) for tick, agent in np.argwhere(np.char.find(read.astype(str), "-1:vote") >= 0).tolist()]
    assert {tick for tick, _ in got} == {3}
    ids = [agent for _, agent in got]
    assert len(ids) == 10
    assert set(ids) < set(R)
    table = read_table(pulled, "messages").to_pylist()
    sent = [row for row in table if row["nth"] >= FIRST_NTH]
    assert [(row["tick_sent"], row["tick_read"], row["sender"], row["receiver"], row["fate"]) for row in sent] == [
        (1, 2, -1, one, "delivered") for one in ids
    ]
    assert [row["nth"] for row in sent] == list(range(FIRST_NTH, FIRST_NTH + 10))
    assert len({(row["tick_sent"], row["sender"], row["nth"]) for row in table}) == len(table), "two share a place"
    assert any(row["sender"] == -1 and row["tick_sent"] == 1 and row["nth"] == 0 for row in table)


def test_messages_of_a_blocked_pair_are_refused_while_it_holds(pulled, tmp_path):
    manifest = read_manifest(pulled)
    messages = manifest["messages"]
    table = read_table(pulled, "messages").to_pylist()
    between = [row for row in table if row["sender"] in R and 0 <= row["receiver"] < 20]
    for row in between:
        assert (row["fate"] == "refused:blocked") == (row["tick_sent"] in (2, 3)), row
    blocked = [row for row in table if row["fate"] == "refused:blocked"]
    assert len(blocked) == messages["refused_by_reason"]["blocked"] > 0
    assert all(row in between for row in blocked)
    assert all(row["tick_read"] is None for row in blocked)
    assert messages["sent"] == messages["delivered"] + messages["expired"] + messages["refused"] == len(table)
    run(tmp_path, 'at=0, block={sender="all"}')
    fates = Counter((row["sender"] >= 0, row["fate"]) for row in read_table(tmp_path, "messages").to_pylist())
    assert fates[True, "refused:blocked"] == 3 * AGENTS * TICKS
    assert fates[False, "delivered"] > 0, "the world itself is not blocked"
    assert read_manifest(tmp_path)["actions"] == manifest["actions"], "actions are not messages"


def test_a_changed_field_shows_in_the_snapshot_the_agent_and_the_tables(pulled):
    """That the turn itself sees one value in its field and in the world, the society asserts."""
    trust, pages = panel(pulled, "trust"), panel(pulled, "pages")
    assert trust[1].tolist() == [1.0] * AGENTS
    assert [trust[tick, 7] for tick in range(6)] == [1.0, 1.0, 0.25, 0.25, 0.25, 0.25]
    assert [trust[tick, 3] for tick in range(6)] == [1.0, 1.0, 4.0, 4.0, 4.0, 4.0]
    assert pages[3, [3, 7, 8]].tolist() == [2, 2, 3], "one list for two agents would grow by both"
    outcomes = read_table(pulled, "outcomes").to_pylist()
    means = {row["tick"]: row["value"] for row in outcomes if row["name"] == "trust"}
    assert means[1] == 1.0
    assert means[2] == pytest.approx((38 + 4.25) / AGENTS)


def test_levers_act_at_tick_0_too(tmp_path):
    run(
        tmp_path, "at=0, set={society.dial=9}", "at=0, send={to=[4], body=1}", "at=0, block={sender=[5]}",
        "at=0, change={group=[6], fields={trust=3}}", ticks=1,
    )  # fmt: skip
    assert panel(tmp_path, "dial")[1].tolist() == [9.0] * AGENTS
    assert panel(tmp_path, "read")[1, 4] == "-1:1"
    assert panel(tmp_path, "trust")[:, 6].tolist() == [3.0, 3.0]
    assert panel(tmp_path, "trust")[0, 5] == 1.0
    fates = Counter(row["fate"] for row in read_table(tmp_path, "messages").to_pylist() if row["sender"] == 5)
    assert fates == {"refused:blocked": 3}


def test_whom_levers_touched_is_recorded(pulled):
    rows = read_table(pulled, "levers").to_pylist()
    counts = Counter((row["tick"], row["lever"]) for row in rows)
    assert counts == {
        (2, "levers[0]"): 1, (4, "levers[0]"): 1, (2, "note"): 10, (2, "wall"): 13, (3, "wall"): 13, (2, "tired"): 2,
    }  # fmt: skip
    assert {row["agent"] for row in rows if row["lever"] == "levers[0]"} == {-1}
    blocked = {row["sender"] for row in read_table(pulled, "messages").to_pylist() if row["fate"] == "refused:blocked"}
    assert {row["agent"] for row in rows if row["lever"] == "wall"} == blocked
    tired = [row for row in rows if row["lever"] == "tired"]
    assert [row["agent"] for row in tired] == [3, 7]
    assert tired[0]["what"] == 'change {"notes":["new"],"party":"X","trust":[0.25,4]}'
    assert read_manifest(pulled)["levers"] == [
        {"lever": "levers[0]", "kind": "set", "at": 2, "until": 4, "agents_touched": None},
        {"lever": "note", "kind": "send", "at": 2, "until": None, "agents_touched": 10},
        {"lever": "wall", "kind": "block", "at": 2, "until": 4, "agents_touched": 13},
        {"lever": "tired", "kind": "change", "at": 2, "until": None, "agents_touched": 2},
    ]


def test_the_tick_tells_whom_a_lever_acts_on_even_where_no_turn_shows_it(tmp_path, plain):
    """Two messages that no turn looks into, a field that none reads, a block of those who are silent."""
    hashes = {plain["trace_hashes"][-1]}
    for n, lever in enumerate(
        (
            'at=4, name="a", change={group=[1], fields={party="Q"}}',
            'at=4, name="a", change={group=[2], fields={party="Q"}}',
            'at=4, name="a", change={group=[2], fields={party="S"}}',
            'at=4, name="a", block={sender=[1], receiver=[30]}',
            'at=4, name="a", block={sender=[1], receiver=[31]}',
            'at=4, name="a", set={society.word="y"}',
        )
    ):
        hashes.add(run(tmp_path / str(n), lever)["trace_hash"])
    assert len(hashes) == 7


def test_a_message_makes_a_sleeping_agent_due(tmp_path):
    scenario = tmp_path / "sleepers.py"
    text = Path(RESIDENTS).read_text(encoding="utf-8")
    text = text.replace("from populace import", "from populace import OnMail,")
    text = text.replace('"hello")', '"hello") if 0 else 0')
    text = text.replace("if agent % 5 == 0]", "if 0]")
    scenario.write_text(text.replace("    size=40,", "    size=40, activation=OnMail(),"), encoding="utf-8")
    manifest = run(tmp_path / "out", 'at=3, send={to=[5, 6, 11], body="up"}', scenario=str(scenario), shards=2)
    assert manifest["turns"] == AGENTS + 3
    assert manifest["messages"]["delivered"] == 3


def test_a_lever_message_counts_against_a_full_inbox_and_the_books_balance(tmp_path):
    manifest = run(tmp_path, *('at=2, send={to="all", body="x"}' for _ in range(6)), bus__inbox_messages=4, shards=2)
    messages = manifest["messages"]
    assert messages["refused_by_reason"]["inbox_full"] > 0
    assert messages["sent"] == messages["delivered"] + messages["expired"] + messages["refused"]


def test_control_a_lever_that_reaches_back_before_its_tick_is_seen(tmp_path, plain, monkeypatch):
    monkeypatch.setattr(Levers, "mail", _early(Levers.mail))
    early = run(tmp_path, ALL[1])
    assert early["trace_hashes"][:2] != plain["trace_hashes"][:2]


def test_control_a_parameter_that_is_set_a_tick_early_is_seen(tmp_path, plain, monkeypatch):
    monkeypatch.setattr(Levers, "parameters", _early(Levers.parameters))
    early = run(tmp_path, ALL[0], limits__failed_turns=1.0)
    assert early["trace_hashes"][:2] != plain["trace_hashes"][:2]


def _early(method: Any) -> Any:
    return lambda self, tick, *args, **options: method(self, tick + 1, *args, **options)


def test_control_a_change_that_the_world_does_not_share_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(World, "change", lambda self, agents, fields: agents[:0])
    assert run(tmp_path, ALL[3])["turns_failed"] > 0


def test_control_a_lot_that_is_not_keyed_differs_between_shards(tmp_path, monkeypatch):
    generator = np.random.default_rng(1)
    monkeypatch.setattr(groups, "column", lambda _seed, _tick, _lot, ids: generator.random(len(ids)))
    one, two = (run(tmp_path / str(n), ALL[1], shards=n) for n in (1, 2))
    assert one["trace_hash"] != two["trace_hash"]
