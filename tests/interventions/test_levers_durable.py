"""Levers in runs that are resumed, replayed and forked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.attempts import TICKS, asked, go, same_tables
from support.command import populace
from support.levers import ALL, RESIDENTS
from support.running import run_local

from populace.core.errors import Diverged, SettingsError
from populace.interventions.levers import parse_lever
from populace.kernel.shard import Shard
from populace.runs.courses import fork_course, fork_settings, replay_course, resume_course
from populace.runs.replay import replay_run
from populace.settings import Settings
from populace.store.manifest import read_manifest
from populace.store.tables.tables import panel, read_table

assert asked  # a fixture

TALKERS = (
    "at=2, until=6, set={society.reach=30, world.feed.show=3}",
    'at=3, name="note", send={to={share=0.2}, body={n=1}}',
    'at=3, until=5, name="wall", block={sender={where={mood={min=0.5}}}}',
    'at=4, name="calm", change={group={share=0.5}, fields={mood=0, memory=["none"]}}',
)


def read(*levers: str) -> dict[str, Any]:
    return {"levers": [parse_lever(one) for one in levers]}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: Any) -> Any:
    out = tmp_path_factory.mktemp("reference")
    return go(out), out


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: Any) -> Any:
    out = tmp_path_factory.mktemp("pulled")
    return go(out, **read(*TALKERS)), out


@pytest.mark.parametrize("stop_at", range(1, TICKS))
def test_a_run_with_levers_goes_on_to_the_same_end_from_any_tick(tmp_path, pulled, asked, stop_at):
    whole, folder = pulled
    assert go(tmp_path, stop_at=stop_at, checkpoint__every_ticks=1 + stop_at % 3, **read(*TALKERS)) is None
    manifest = go(tmp_path, going=resume_course(tmp_path, shards=1 + stop_at % 3))
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert (manifest["levers"], manifest["messages"]) == (whole["levers"], whole["messages"])
    assert len(asked) == len(set(asked)) == whole["asks"]["made"]
    same_tables(tmp_path, folder)
    assert read_table(tmp_path, "levers").equals(read_table(folder, "levers"))


def test_a_field_that_no_turn_shows_outlives_a_checkpoint(tmp_path):
    """Sleeping agents are in a checkpoint only if something touched them."""
    scenario = tmp_path / "sleepers.py"
    text = Path(RESIDENTS).read_text(encoding="utf-8").replace("from populace import", "from populace import OnMail,")
    text = text.replace("    size=40,", "    size=40, activation=OnMail(),")
    text = text.replace("            ctx.send(", "            0 and ctx.send(").replace("if agent % 5 == 0]", "if 0]")
    scenario.write_text(text, encoding="utf-8")
    levers = read('at=1, change={group=[4, 5], fields={notes=["a", "b", "c"]}}', "at=5, send={to=[4, 5], body=1}")
    options = {"scenario": str(scenario), "checkpoint__every_ticks": 1, **levers}
    whole = go(tmp_path / "whole", **options)
    assert panel(tmp_path / "whole", "pages")[6, [4, 5, 6]].tolist() == [4, 4, 1]
    assert go(tmp_path / "stopped", stop_at=3, **options) is None
    assert go(tmp_path / "stopped", going=resume_course(tmp_path / "stopped"))["trace_hashes"] == whole["trace_hashes"]


def test_control_a_checkpoint_without_whom_a_lever_changed_is_seen(tmp_path, monkeypatch):
    pull = Shard._pull_levers

    def forgetful(self: Shard, tick: int) -> Any:
        before = set(self._changed)
        sent = pull(self, tick)
        self._changed = before
        return sent

    monkeypatch.setattr(Shard, "_pull_levers", forgetful)
    with pytest.raises(AssertionError):
        test_a_field_that_no_turn_shows_outlives_a_checkpoint(tmp_path)


def test_a_run_with_levers_replays_with_no_call_also_one_that_ended_before_they_acted(tmp_path, pulled, asked):
    _whole, folder = pulled
    out = tmp_path / "replayed"
    assert replay_run(replay_course(folder), folder, out).diverged is None
    assert go(tmp_path / "stopped", stop_at=1, checkpoint__every_ticks=1, **read(*TALKERS)) is None
    asked.clear()
    going = replay_course(tmp_path / "stopped")
    assert replay_run(going, tmp_path / "stopped", tmp_path / "short").diverged is None
    assert asked == []


@pytest.mark.parametrize("lever", TALKERS)
def test_invariant_4_a_fork_with_a_lever_is_the_same_up_to_it_and_asks_only_what_changed(
    tmp_path, reference, asked, lever
):
    whole, folder = reference
    at = parse_lever(lever).at
    forked = go(tmp_path / "forked", going=fork_course(folder, at, levers=[lever], shards=2))
    billed = list(asked)
    fresh = go(tmp_path / "fresh", **read(lever))
    assert forked["trace_hashes"] == fresh["trace_hashes"], "a fork is the run that had the lever from the start"
    assert forked["trace_hashes"][:at] == whole["trace_hashes"][:at]
    assert forked["trace_hashes"][at] != whole["trace_hashes"][at]
    assert forked["levers"] == fresh["levers"]
    for name in ("agents", "messages", "outcomes", "failures", "levers"):
        assert read_table(tmp_path / "forked", name).equals(read_table(tmp_path / "fresh", name)), name
    keys = [
        {(row["agent"], row["tick"], row["nth"]): row["key"] for row in read_table(one, "asks").to_pylist()}
        for one in (folder, tmp_path / "forked")
    ]
    assert set(billed) == {ask for ask, key in keys[1].items() if keys[0].get(ask) != key}
    assert forked["calls_billed"] < whole["calls_billed"]


def test_a_fork_of_a_run_with_levers_keeps_them_and_one_without_those_to_come_has_none(tmp_path, reference, pulled):
    whole, folder = pulled
    kept = go(tmp_path / "kept", going=fork_course(folder, 4))
    assert (kept["trace_hashes"], kept["calls_billed"]) == (whole["trace_hashes"], 0)
    without = go(tmp_path / "without", going=fork_course(folder, 2, ["levers=[]"]))
    assert without["trace_hashes"] == reference[0]["trace_hashes"]
    with pytest.raises(SettingsError, match="levers: those before tick 3 cannot change in a fork"):
        fork_course(folder, 3, ["levers=[]"])
    shorter = ['levers=[{at=2, until=5, set={"society.reach"=30, "world.feed.show"=3}}]']
    assert fork_course(folder, 3, shorter).settings.levers[0].until == 5


def test_a_parameter_that_a_fork_changes_holds_from_its_tick(tmp_path, reference):
    whole, folder = reference
    going = fork_course(folder, 5, ["society.reach=20"], ["send={to=[1], body={n=1}}"])
    assert going.notes[-1].startswith("society.reach: from tick 5 on, where turns and parts read it.")
    assert going.settings.society == {}
    assert [(lever.at, type(lever).__name__) for lever in going.settings.levers] == [(5, "SetLever"), (5, "SendLever")]
    manifest = go(tmp_path / "out", going=going)
    assert manifest["trace_hashes"][:5] == whole["trace_hashes"][:5]
    assert manifest["trace_hashes"][5] != whole["trace_hashes"][5]
    again = go(tmp_path / "again", going=fork_course(tmp_path / "out", 7))
    assert (again["trace_hashes"], again["calls_billed"]) == (manifest["trace_hashes"], 0)
    back = fork_course(tmp_path / "out", 7, ["society.reach=60"]).settings.levers[-1]
    assert (back.at, back.set) == (7, {"society.reach": 60})
    set_before = Settings(society={"reach": 60}, **read("at=2, set={society.reach=9}"))
    assert fork_settings(set_before, 5, ["society.reach=60"], ()).levers[-1].set == {"society.reach": 60}
    assert len(fork_settings(set_before, 5, ["society.abstain=0"], ()).levers[-1].set) == 1
    at_once = fork_course(folder, 0, ["society.reach=20"]).settings
    assert (at_once.society, at_once.levers) == ({"reach": 20}, ())
    with pytest.raises(SettingsError, match="acts in tick 3, and the fork begins at tick 5"):
        fork_settings(Settings(), 5, (), ["at=3, send={to=[1], body=1}"])


def test_control_a_lever_in_the_past_of_a_fork_diverges(tmp_path, reference):
    _whole, folder = reference
    going = fork_course(folder, 5)
    early = going.settings.model_copy(update={"levers": (parse_lever(TALKERS[0]),)})
    with pytest.raises(Diverged):
        go(tmp_path, going=type(going)(going.origin, early, going.course))


def test_the_command_line_takes_levers(tmp_path):
    common = ("--agents", "12", "--ticks", "4", "--model", "scripted", "--seed", "7")
    lever = 'at=2, name="vote", send={to={where={PID={min=4}}}, body="Vote."}'
    first = populace("run", "polarization", *common, "--out", "a", cwd=tmp_path)
    second = populace("run", "polarization", *common, "--out", "b", "--lever", lever, "--lever", ALL[0], cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert second.returncode == 2
    assert "lever 'levers[1]'" in second.stderr
    assert "unknown key 'society.dial'" in second.stderr
    assert not (tmp_path / "b").exists()
    second = populace("run", "polarization", *common, "--out", "b", "--lever", lever, cwd=tmp_path)
    third = populace("fork", "a", "--at-tick", "2", "--lever", lever.removeprefix("at=2, "), "--out", "c", cwd=tmp_path)
    assert (second.returncode, third.returncode) == (0, 0), second.stderr + third.stderr
    a, b, c = (read_manifest(tmp_path / name) for name in "abc")
    assert b["trace_hashes"] == c["trace_hashes"] != a["trace_hashes"]
    assert json.dumps(b["levers"]) == json.dumps(c["levers"])
    late = populace("run", "polarization", *common, "--lever", lever.replace("at=2", "at=96"), cwd=tmp_path)
    assert late.returncode == 2
    assert "lever 'vote': at = 96, and the run has 4 ticks, 0 to 3" in late.stderr


GROUPS = st.one_of(
    st.just('"all"'),
    st.lists(st.integers(0, 39), min_size=1, max_size=4, unique=True).map(str),
    st.builds("{{share={}}}".format, st.sampled_from([0.1, 0.5, 0.9])),
    st.builds("{{where={{party={!r}}}, share={}}}".format, st.sampled_from(["R", "D"]), st.sampled_from([0.2, 1.0])),
    st.builds("{{where={{age={{min={}}}}}}}".format, st.integers(20, 59)),
)
DEEDS = st.one_of(
    st.builds("until={}, set={{society.dial={}}}".format, st.integers(4, 6), st.integers(0, 9)),
    st.builds("set={{world.fund.rate={}, world.network.frozen=true}}".format, st.floats(0.0, 9.0, width=16)),
    st.builds("send={{to={}, body={}}}".format, GROUPS, st.integers(0, 9)),
    st.builds("until={}, block={{sender={}, receiver={}}}".format, st.integers(4, 6), GROUPS, GROUPS),
    st.builds("change={{group={}, fields={{trust={}, notes=[]}}}}".format, GROUPS, st.integers(0, 9)),
)
LEVERS = st.lists(st.builds("at={}, {}".format, st.integers(0, 3), DEEDS), min_size=1, max_size=6)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LEVERS, st.integers(2, 6))
def test_any_levers_give_one_trace_and_balanced_books_on_any_number_of_shards(tmp_path_factory, levers, shards):
    outs = [tmp_path_factory.mktemp("any") for _ in range(2)]
    one, several = (
        run_local(out, RESIDENTS, shards=n, ticks=4, journal="off", **read(*levers))
        for out, n in zip(outs, (1, shards), strict=True)
    )
    assert one["trace_hashes"] == several["trace_hashes"]
    assert one["levers"] == several["levers"]
    assert one["turns_failed"] == 0
    messages = one["messages"]
    assert messages["sent"] == messages["delivered"] + messages["expired"] + messages["refused"]
    assert read_table(outs[0], "messages").num_rows == messages["sent"]
    assert read_table(outs[0], "levers").equals(read_table(outs[1], "levers"))
