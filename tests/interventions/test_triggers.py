"""Levers with triggers in whole runs: they act where and when their condition is met, and the table says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.running import run_local
from support.triggers import AGENTS, ALL, TICKS, WATCHED

from populace.interventions.levers import parse_lever
from populace.store.manifest import read_manifest
from populace.store.tables.tables import panel, read_table


def run(out: Path, *levers: str, scenario: str = WATCHED, **options: Any) -> dict[str, Any]:
    return run_local(out, scenario, levers=[parse_lever(one) for one in levers], **options)


def fired(folder: Path, name: str) -> list[tuple[int, int, str]]:
    """Tick, agent and why of each time that a lever fired."""
    rows = read_table(folder, "levers").to_pylist()
    return [(row["tick"], row["agent"], row["why"]) for row in rows if row["lever"] == name and row["why"]]


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: Any) -> Path:
    out = tmp_path_factory.mktemp("pulled")
    assert run(out, *ALL)["turns_failed"] == 0
    return out


@pytest.fixture(scope="module")
def posted(pulled: Path) -> Any:
    """How often each agent has posted by the start of each tick, from the table of actions."""
    found = np.zeros((TICKS + 1, AGENTS), int)
    for row in read_table(pulled, "actions").to_pylist():
        if row["fate"] == "applied":
            found[row["tick"] + 1 :, row["agent"]] += 1
    return found


@pytest.mark.parametrize("shards", [2, 5])
def test_one_trace_and_the_same_rows_on_any_number_of_shards(tmp_path, pulled, shards):
    there, here = run(tmp_path, *ALL, shards=shards), read_manifest(pulled)
    assert there["trace_hashes"] == here["trace_hashes"]
    assert (there["messages"], there["levers"]) == (here["messages"], here["levers"])
    assert all(lever["agents_touched"] for lever in here["levers"] if lever["lever"] != "stop")
    for name in ("agents", "messages", "outcomes", "failures", "levers"):
        assert read_table(tmp_path, name).equals(read_table(pulled, name)), name


def test_an_agent_that_meets_the_condition_is_blocked_for_so_long_and_again_after_so_many_ticks(pulled, posted):
    expected, last = [], np.full(AGENTS, -9)
    for tick in range(1, TICKS):
        for agent in np.flatnonzero((posted[tick] >= 2) & (tick - last >= 3)).tolist():
            expected.append((tick, agent, f"office.posted = {posted[tick, agent]}"))
            last[agent] = tick
    assert fired(pulled, "suspension") == expected
    assert len({agent for _, agent, _ in expected}) < len(expected), "somebody is blocked twice"
    blocked = {(tick + more, agent) for tick, agent, _ in expected for more in (0, 1)}
    for row in read_table(pulled, "messages").to_pylist():
        if row["sender"] >= 0:
            assert (row["fate"] == "refused:blocked") == ((row["tick_sent"], row["sender"]) in blocked), row


def test_a_parameter_is_set_to_those_for_whom_the_condition_is_met_each_for_its_own_time(pulled):
    began = fired(pulled, "barred")
    held = {(tick + more, agent) for tick, agent, _ in began for more in (0, 1)}
    actions = read_table(pulled, "actions").to_pylist()
    assert all((row["fate"] == "refused:barred") == ((row["tick"], row["agent"]) in held) for row in actions)
    assert len({tick for tick, _, _ in began}) > 2, "some are barred while others still are"
    ended = [(row["tick"], row["agent"]) for row in read_table(pulled, "levers").to_pylist() if row["what"][:3] == "end"
             and row["lever"] == "barred"]  # fmt: skip
    assert ended == [(tick + 2, agent) for tick, agent, _ in began if tick + 2 < TICKS]


def test_a_value_of_the_world_warns_everybody(pulled, posted):
    ticks, begun = [2, 6], _many(posted)
    winds = {tick: 10.0 * (tick % 4) + 0.5 * (begun <= tick - 1 < begun + 2) for tick in ticks}
    expected = [(tick, agent, f"office.weather = {wind}") for tick, wind in winds.items() for agent in range(AGENTS)]
    assert fired(pulled, "warning") == expected
    warned = panel(pulled, "warned")
    assert np.diff(warned, axis=0).tolist() == [[int(tick in ticks)] * AGENTS for tick in range(TICKS)]


def _many(posted: Any) -> int:
    """The tick at whose start there are 20 posts."""
    return int(np.argmax(posted.sum(axis=1) >= 20))


def test_an_outcome_sets_parameters_for_a_while(pulled, posted):
    begun = _many(posted)
    assert fired(pulled, "stop") == [(begun, -1, f"posts = {posted[begun].sum():.1f}")]
    pay = panel(pulled, "pay")[1:, 0]
    assert pay.tolist() == [0.5 if begun <= tick < begun + 2 else 1.0 for tick in range(TICKS)]
    rows = [row for row in read_table(pulled, "levers").to_pylist() if row["lever"] == "stop"]
    assert [(row["tick"], row["what"][:6]) for row in rows] == [(begun, 'set {"'), (begun + 2, "end of")]


def test_a_field_is_changed_of_those_who_meet_the_condition_and_are_of_the_group(pulled):
    forgiven = fired(pulled, "forgiven")
    assert forgiven
    assert all(agent % 2 == 0 and why.startswith("strikes = ") for _, agent, why in forgiven)
    strikes = panel(pulled, "strikes")
    assert all(strikes[tick, agent] == 0 for tick, agent, _ in forgiven)
    assert strikes[:, ::2].max() <= 3 < strikes[:, 1::2].max()


def test_without_again_it_fires_once_for_each_agent_and_for_the_whole_state(tmp_path):
    run(
        tmp_path,
        'name="each", when={agents={"office.posted"={min=2}}}, send={to="matching", body="stop"}',
        'name="whole", when={outcomes={posts={min=10}}}, send={to=[3], body="many"}',
    )
    each = [agent for _, agent, _ in fired(tmp_path, "each")]
    assert len(each) == len(set(each)) > 5
    assert len(fired(tmp_path, "whole")) == 1


def test_lasts_1_again_1_holds_as_long_as_the_condition_does_and_within_from_and_until(tmp_path):
    lever = 'name="storm", when={world={office.season="storm"}}, at=3, until=7, lasts=1, again=1, '
    run(tmp_path, lever + "set={society.transfer=9}")
    assert [tick for tick, _, _ in fired(tmp_path, "storm")] == [3, 6]
    assert panel(tmp_path, "pay")[1:, 0].tolist() == [9.0 if tick in (3, 6) else 1.0 for tick in range(TICKS)]


def test_all_conditions_have_to_hold_and_the_later_firing_wins(tmp_path):
    run(
        tmp_path,
        'name="calm", when={world={office.season="calm"}}, again=1, set={society.transfer=2}',
        'name="both", when={agents={strikes={min=1}, "office.posted"={max=1}}, world={office.weather={min=20}}}, '
        'send={to="matching", body=1}',
        'name="fixed", at=2, until=4, set={society.transfer=3}',
    )
    pay = panel(tmp_path, "pay")[1:, 0].tolist()
    assert pay == [1.0, 2.0, 3.0, 3.0, 2.0, 2.0, 2.0, 2.0]
    both = fired(tmp_path, "both")
    assert {tick for tick, _, _ in both} <= {2, 3, 6, 7}
    assert all(" and " in why and "office.weather = " in why for _, _, why in both)
    posted = {why.split("office.posted = ")[1][0] for _, _, why in both}
    assert posted == {"1"}


def test_the_trace_is_another_from_the_first_firing_on_and_the_same_before(tmp_path):
    plain = run(tmp_path / "plain")
    late = run(tmp_path / "late", 'name="late", when={outcomes={posts={min=30}}}, set={society.size=20}')
    ((tick, _, _),) = fired(tmp_path / "late", "late")
    assert late["trace_hashes"][:tick] == plain["trace_hashes"][:tick]
    assert late["trace_hashes"][tick] != plain["trace_hashes"][tick], "what is set is as it was: only the digest knows"
    never = run(tmp_path / "never", "when={outcomes={posts={min=1e6}}}, set={society.transfer=0}")
    assert never["trace_hashes"] == plain["trace_hashes"]


def test_one_that_fires_has_the_last_word_where_another_changes_the_same(tmp_path):
    run(
        tmp_path,
        'when={world={office.weather={min=20}}}, change={group="all", fields={warned=100}}',
        'at=2, change={group="all", fields={warned=50}}',
        shards=2,
    )
    assert panel(tmp_path, "warned")[2:5].tolist() == [[100] * AGENTS] * 3, "in the world and in the agents"
