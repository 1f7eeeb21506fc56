"""Invariants 2, 3 and 4 in one process: a run that ended early goes on; a replay calls nobody; a fork shares its past.

Each with a control that breaks the property on purpose. Processes that are killed are in test_kills.py.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import msgspec
import pytest
from support.attempts import TICKS, Stopper, go, same_tables
from support.command import populace
from support.running import SOCIETIES

from populace.cluster import local
from populace.cluster.closing import going_on
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import Diverged, ScenarioError, SettingsError
from populace.data.societies import Origin
from populace.monitoring.summary import summary_text
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.replay import Replayed, replay_run
from populace.store.checkpoint.generations import latest
from populace.store.folder import read_run_file, write_run_file
from populace.store.journal import recording
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table


@pytest.mark.parametrize(("stop_at", "every", "shards"), [(1, 3, 2), (4, 1, 1), (5, 2, 3), (7, 4, 5)])
def test_invariant_2_a_run_that_ended_goes_on_to_the_same_end(tmp_path, reference, asked, stop_at, every, shards):
    """Stopped at any tick, with checkpoints often or seldom, and gone on with on another number of shards."""
    whole, folder = reference
    assert go(tmp_path / "run", stop_at=stop_at, checkpoint__every_ticks=every) is None
    before = len(asked)
    manifest = go(tmp_path / "run", going=resume_course(tmp_path / "run", shards=shards))
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert manifest["world_hashes"] == whole["world_hashes"]
    for key in ("messages", "asks", "actions", "turns", "calls_billed", "tokens_in", "tokens_out"):
        assert manifest[key] == whole[key], key
    assert manifest["began_at_tick"] == stop_at, "the last whole tick was saved as it was stopped"
    assert before > 0
    assert len(asked) == len(set(asked)) == whole["asks"]["made"], "an ask was put to the model twice, or never"
    same_tables(tmp_path / "run", folder)
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert (tmp_path / "run" / "journal").exists()


def test_a_run_may_end_early_many_times(tmp_path, reference, asked):
    whole, folder = reference
    assert go(tmp_path, stop_at=1, checkpoint__every_ticks=2) is None
    for tick in (2, 3, 5, 6):
        assert go(tmp_path, stop_at=tick, going=resume_course(tmp_path)) is None
    manifest = go(tmp_path, going=resume_course(tmp_path))
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert manifest["world_hashes"] == whole["world_hashes"]
    assert manifest["attempt"] == 5
    assert len(asked) == len(set(asked)) == whole["asks"]["made"]
    same_tables(tmp_path, folder)


def test_control_without_the_record_answers_are_paid_for_twice(tmp_path, asked, monkeypatch):
    assert go(tmp_path, stop_at=5, checkpoint__every_ticks=4) is None
    monkeypatch.setattr(recording.Recording, "_find", lambda _self, _ask: (None, False))
    go(tmp_path, going=resume_course(tmp_path))
    assert len(asked) > len(set(asked))


def test_control_without_pending_mail_a_resumed_run_is_another(tmp_path, reference, monkeypatch):
    """The checkpoint's mail is dropped, and the counts that would notice it are told so."""
    from populace.kernel.snapshot import join_mail

    assert go(tmp_path, stop_at=5, checkpoint__every_ticks=4) is None
    real = local.split_mail
    monkeypatch.setattr(local, "split_mail", lambda mail, **how: real(join_mail(mail.tick, []), **how))
    from populace.core.errors import ConservationError

    with pytest.raises(ConservationError):
        go(tmp_path, going=resume_course(tmp_path))
    assert read_manifest(tmp_path)["trace_hashes"] != reference[0]["trace_hashes"]


def test_control_without_the_agents_state_a_resumed_run_is_another(tmp_path, reference, monkeypatch):
    from populace.kernel.shard import Shard
    from populace.kernel.snapshot import ShardState

    assert go(tmp_path, stop_at=5, checkpoint__every_ticks=4) is None
    real = Shard.restore
    monkeypatch.setattr(
        Shard, "restore",
        lambda self, tick, state: real(self, tick, ShardState({}, state.timer_ticks, state.timer_agents)),
    )  # fmt: skip
    manifest = go(tmp_path, going=resume_course(tmp_path))
    assert manifest["trace_hashes"] != reference[0]["trace_hashes"]


@pytest.mark.parametrize(
    ("was", "now", "what"),
    [
        ('ctx.act("feed.post", text=said)', 'ctx.act("feed.post", text=said + "!" * (ctx.tick > 2))', "action"),
        ('ctx.send(friends, {"n": self.heard})', 'ctx.send(friends, {"n": self.heard + (ctx.tick > 2)})', "message"),
    ],
)  # fmt: skip
def test_a_replay_in_which_no_ask_differs_names_the_first_deed_that_does(tmp_path, was, now, what):
    source = Path(SOCIETIES).read_text()
    assert was in source
    scenario = tmp_path / "mine.py"
    scenario.write_text(source)
    go(tmp_path / "run", scenario=str(scenario))
    scenario.write_text(source.replace(was, now))
    replayed = replay_run(replay_course(tmp_path / "run"), tmp_path / "run", tmp_path / "again")
    assert replayed.diverged is not None
    assert replayed.diverged.tick == 3
    assert f"first difference: {what} " in replayed.why
    assert " in tick 3" in replayed.why
    here, there = replayed.why.split("\n  now: ")
    assert here.split("on record: ")[1] != there
    assert ("!" in there) == (what == "action")


def test_a_replay_in_which_only_the_answer_type_changed_says_that_the_prompt_is_the_same(tmp_path):
    source = Path(SOCIETIES).read_text()
    scenario = tmp_path / "mine.py"
    scenario.write_text(source)
    go(tmp_path / "run", scenario=str(scenario))
    scenario.write_text(source.replace('Choice("up", "down")', 'Choice("up", "down", "as it is")'))
    replayed = replay_run(replay_course(tmp_path / "run"), tmp_path / "run", tmp_path / "again")
    assert "The prompt is the same: its answer type, model or parameters (max_tokens, temperature) differ" in (
        replayed.why
    )
    assert "on record, " not in replayed.why
    assert "; the " not in replayed.text().splitlines()[0], "no tick before the first agrees"


def test_what_runs_is_said_where_the_scenarios_file_is_gone_or_has_changed(tmp_path):
    scenario = tmp_path / "mine.py"
    source = Path(SOCIETIES).read_text()
    scenario.write_text(source)
    assert go(tmp_path / "run", stop_at=1, scenario=str(scenario), ticks=3) is None
    assert resume_course(tmp_path / "run").notes == fork_course(tmp_path / "run", 1).notes == ()
    assert replay_course(tmp_path / "run").notes == ()
    scenario.write_text(source + "\n# another\n")
    said = f"{scenario}: the scenario's file has changed since, and the code on record is"
    assert fork_course(tmp_path / "run", 1).notes == (f"{said} forked.",)
    assert replay_course(tmp_path / "run", code="recorded").notes == (f"{said} replayed.",)
    assert replay_course(tmp_path / "run").notes == (
        f"{scenario}: the scenario's file has changed since, and the code as it is now is replayed.",
    )
    done = populace("resume", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"note: {said} resumed.\n" in done.stderr
    scenario.unlink()
    done = populace("replay", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    gone = f"{scenario}: the scenario's file is not there (any more), so the code on record is replayed.\n"
    assert done.stdout.startswith(f"{gone}replayed 3 ticks with no call")


def test_one_tick_is_said_to_be_one(tmp_path):
    assert "run: polarization, 8 agents, 1 tick, 8 turns in" in summary_text(
        go(tmp_path, scenario="polarization", agents=8, ticks=1), {}, tmp_path
    )
    diverged = Diverged(1, "a", "b")
    assert Replayed(1, 1, 1).text() == "replayed 1 tick with no call: every trace hash agrees (1 ask from record)\n"
    assert Replayed(1, 3, 0, diverged).text().startswith(f"{diverged}; the tick before agrees\n")
    assert Replayed(2, 3, 0, diverged).text().startswith(f"{diverged}; the 2 ticks before agree\n")


@pytest.mark.parametrize("shards", [1, 3])
def test_invariant_3_a_replay_gives_every_hash_and_calls_nobody(tmp_path, reference, asked, shards):
    whole, folder = reference
    replayed = replay_run(replay_course(folder, shards=shards), folder, tmp_path)
    assert replayed.diverged is None
    assert replayed.ticks == TICKS
    assert asked == []
    manifest = read_manifest(tmp_path)
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert manifest["world_hashes"] == whole["world_hashes"]
    assert manifest["calls_billed"] == 0
    assert manifest["asks"]["replayed"] == whole["asks"]["answered"]
    assert manifest["saved"]["calls"] == whole["calls_billed"]
    assert not (tmp_path / "journal").exists()


def test_a_run_that_ended_early_can_be_replayed_as_far_as_it_came(tmp_path, asked):
    assert go(tmp_path / "run", stop_at=5) is None
    asked.clear()
    replayed = replay_run(replay_course(tmp_path / "run"), tmp_path / "run", tmp_path / "again")
    assert (replayed.ticks, replayed.diverged, asked) == (5, None, [])


def test_a_replay_with_another_prompt_names_the_first_ask_with_both_texts(tmp_path):
    """A copy of the scenario whose prompt changes from tick 3 on."""
    source = Path(SOCIETIES).read_text()
    scenario = tmp_path / "mine.py"
    scenario.write_text(source)
    assert go(tmp_path / "run", scenario=str(scenario))["status"] == "complete"
    changed = source.replace('f"{self.last} {self.mood:.3f}"', 'f"{self.last} {self.mood:.3f}" + "!" * (ctx.tick > 2)')
    assert changed != source
    scenario.write_text(changed)
    replayed = replay_run(replay_course(tmp_path / "run"), tmp_path / "run", tmp_path / "again")
    assert replayed.diverged is not None
    assert replayed.diverged.tick == 3
    asks = read_table(tmp_path / "run", "asks").to_pylist()
    first = min((row["agent"], row["nth"]) for row in asks if row["tick"] == 3 and row["purpose"] == "mood")
    assert f"ask {first[1]} of agent {first[0]} in tick 3 (mood)" in replayed.why
    was = next(row["prompt"] for row in asks if (row["tick"], row["agent"], row["nth"]) == (3, *first))
    text = json.loads(was)[-1]["content"]
    assert f"on record, user: {text}\n" in replayed.why
    assert f"now, user: {text}!" in replayed.why


def test_invariant_4_a_fork_without_a_lever_is_the_same_run_and_calls_nobody(tmp_path, reference, asked):
    whole, folder = reference
    for at_tick in (0, 3, TICKS):
        out = tmp_path / str(at_tick)
        manifest = go(out, going=fork_course(folder, at_tick))
        assert asked == []
        assert manifest["trace_hashes"] == whole["trace_hashes"]
        assert manifest["world_hashes"] == whole["world_hashes"]
        assert manifest["calls_billed"] == 0
        assert manifest["saved"]["calls"] == whole["calls_billed"]
        assert manifest["parent"]["run"] == whole["run"]
        assert manifest["parent"]["at_tick"] == at_tick
        assert manifest["run"] != whole["run"]


def keys_of(out: Path) -> dict[tuple[int, int, int], str]:
    table = read_table(out, "asks").to_pydict()
    return {
        (agent, tick, nth): key
        for tick, agent, nth, key in zip(table["tick"], table["agent"], table["nth"], table["key"], strict=True)
    }


@pytest.mark.parametrize(
    ("sets", "levers"),
    [([], ["block={sender={share=0.2}}"]), (["society.reach=20"], []), ([], ["change={group=[3], fields={mood=9.0}}"])],
)
def test_invariant_4_a_fork_with_a_lever_shares_its_past_and_pays_for_what_changed(
    tmp_path, reference, asked, sets, levers
):
    whole, folder = reference
    manifest = go(tmp_path, going=fork_course(folder, 4, sets, levers))
    assert manifest["trace_hashes"][:4] == whole["trace_hashes"][:4]
    assert manifest["trace_hashes"][4] != whole["trace_hashes"][4]
    before, now = keys_of(folder), keys_of(tmp_path)
    changed = {ask for ask, key in now.items() if before.get(ask) != key}
    assert set(asked) == changed
    assert len(asked) == len(changed) == manifest["calls_billed"] > 0
    assert min(tick for _, tick, _ in changed) >= 4
    assert manifest["saved"]["calls"] + manifest["calls_billed"] == manifest["asks"]["made"]
    assert len(manifest["levers"]) == 1
    asked.clear()
    again = go(tmp_path / "again", going=fork_course(tmp_path, 6))
    assert again["trace_hashes"] == manifest["trace_hashes"], "a fork of a fork has its levers"
    assert asked == []


def test_control_a_fork_that_takes_answers_by_identity_alone_pays_too_little(tmp_path, reference, asked, monkeypatch):
    """An ask whose content changed must not be answered with what was said to another."""
    _, folder = reference
    honest = go(tmp_path / "honest", going=fork_course(folder, 4, ["society.reach=20"]))
    find = recording.JournalIndex.find

    def careless(self, agent, tick, nth):
        found = find(self, agent, tick, nth)
        return None if found is None else Anything(found.answer)

    class Anything:
        def __init__(self, answer) -> None:
            self.answer = answer
            self.key = Everything()

    class Everything:
        def __eq__(self, _: object) -> bool:
            return True

        __hash__ = None

    monkeypatch.setattr(recording.JournalIndex, "find", careless)
    careless_run = go(tmp_path / "careless", going=fork_course(folder, 4, ["society.reach=20"]))
    assert careless_run["calls_billed"] < honest["calls_billed"]


def test_a_lever_that_would_act_in_the_past_is_refused(reference):
    with pytest.raises(SettingsError, match=r"acts in tick 2, and the fork begins at tick 4"):
        fork_course(reference[1], 4, (), ["at=2, block={sender=[1]}"])


def test_a_fork_stands_alone_and_can_be_forked(tmp_path, asked):
    first = go(tmp_path / "first")
    second = go(tmp_path / "second", going=fork_course(tmp_path / "first", 4))
    shutil.rmtree(tmp_path / "first")
    asked.clear()
    third = go(tmp_path / "third", going=fork_course(tmp_path / "second", 6))
    assert third["trace_hashes"] == second["trace_hashes"] == first["trace_hashes"]
    assert asked == []
    assert third["parent"]["run"] == second["run"]


def test_a_fork_with_more_ticks_goes_further_than_its_parent(tmp_path, asked):
    whole = go(tmp_path / "whole", ticks=TICKS)
    short = go(tmp_path / "short", ticks=4)
    asked.clear()
    longer = go(tmp_path / "longer", going=fork_course(tmp_path / "short", 4, ticks=TICKS))
    assert longer["trace_hashes"] == whole["trace_hashes"]
    assert longer["trace_hashes"][:4] == short["trace_hashes"]
    assert {tick for _, tick, _ in asked} == set(range(4, TICKS)), "only the new ticks are asked"


def test_another_model_from_a_tick_on_is_asked_from_that_tick_on(tmp_path, reference, asked):
    whole, folder = reference
    manifest = go(tmp_path, going=fork_course(folder, 5, ["model.name=another"]))
    assert manifest["trace_hashes"][:5] == whole["trace_hashes"][:5]
    assert manifest["trace_hashes"][5] != whole["trace_hashes"][5]
    assert {tick for _, tick, _ in asked} == {5, 6, 7}
    again = go(tmp_path / "again", going=fork_course(tmp_path, 7))
    assert again["trace_hashes"] == manifest["trace_hashes"]


def test_a_fork_that_was_stopped_goes_on(tmp_path, reference, asked):
    _whole, folder = reference
    going = fork_course(folder, 5, ["model.name=another"], checkpoint__every_ticks=2)
    undisturbed = go(tmp_path / "undisturbed", going=going)
    asked.clear()
    again = fork_course(folder, 5, ["model.name=another"], checkpoint__every_ticks=2)
    assert go(tmp_path / "stopped", going=again, stop_at=6) is None
    manifest = go(tmp_path / "stopped", going=resume_course(tmp_path / "stopped"))
    assert manifest["trace_hashes"] == undisturbed["trace_hashes"]
    assert len(asked) == len(set(asked))
    assert manifest["asks"] == undisturbed["asks"]


def test_what_cannot_be_gone_on_with_is_refused_in_words(tmp_path, reference):
    _whole, folder = reference
    with pytest.raises(SettingsError, match="is complete"):
        resume_course(folder)
    with pytest.raises(SettingsError, match="there is no such file"):
        resume_course(tmp_path)
    with pytest.raises(SettingsError, match="--at-tick 9"):
        fork_course(folder, 9)
    with pytest.raises(SettingsError, match=r"seed: cannot change in a fork"):
        fork_course(folder, 2, ["seed=8"])
    assert go(tmp_path / "stopped", stop_at=2) is None
    with pytest.raises(SettingsError, match=r"model\.temperature: cannot change in a resumed run"):
        resume_course(tmp_path / "stopped", ["model.temperature=0"])
    assert go(tmp_path / "off", stop_at=2, journal="off") is None
    for course in (lambda: resume_course(tmp_path / "off"), lambda: replay_course(tmp_path / "off")):
        with pytest.raises(SettingsError, match="no journal"):
            course()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text('{"run": 3}')
    with pytest.raises(SettingsError, match=r"run\.json: is not what populace wrote"):
        resume_course(tmp_path / "broken")


def test_a_run_that_was_killed_is_to_be_resumed_whatever_is_asked_of_it(tmp_path):
    """It has a run.json and no manifest, as a killed run has."""
    out = tmp_path / "kil led"
    go(out, stop_at=1)
    (out / "manifest.json").unlink()
    shutil.rmtree(out / "checkpoints")
    resume = f"populace resume '{out}'"
    for asked_for in (read_manifest, replay_course, lambda folder: fork_course(folder, 3)):
        with pytest.raises(SettingsError) as caught:
            asked_for(out)
        assert str(caught.value).endswith(resume)
    done = populace("costs", str(out), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith(f"{resume}\n")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(SettingsError) as caught:
        read_manifest(tmp_path / "nothing")
    assert "resume" not in str(caught.value)


def test_a_complete_run_is_not_to_be_resumed_for_more_ticks(reference):
    with pytest.raises(SettingsError, match=rf"has {TICKS} ticks on record. Choose one from 0 to {TICKS}.$"):
        fork_course(reference[1], TICKS + 1)


@pytest.mark.parametrize("every", [None, 2])
def test_a_resumed_run_says_how_many_answers_are_on_record(tmp_path, asked, every):
    go(tmp_path, stop_at=5, checkpoint__every_ticks=every, checkpoint__every_s=None)
    answered = list(asked)
    saved = latest(tmp_path / "checkpoints")
    assert saved is not None
    assert saved.tick == 5
    saved.path.unlink()  # as if it had been killed
    going = resume_course(tmp_path, shards=2)
    watcher = Stopper(-1)
    coordinator = Coordinator(going.origin, going.settings, LocalTransport(), tmp_path, [watcher], going.course)
    asyncio.run(coordinator.run())
    tick = 0 if every is None else 4
    n = sum(of >= tick for _, of, _ in answered)
    assert n > 1
    [told] = [note for note in watcher.notes if f"{n} answers after it are on record" in note]
    assert told.startswith(f"continuing from tick {tick}: " if tick else "starting again from tick 0, ")
    assert len(asked) == len(set(asked)), "and none of them was asked for again"


def test_what_is_told_of_answers_on_record_counts_them_right():
    assert going_on(3, {2: 9, 3: 1}) == "continuing from tick 3: 1 answer after it is on record"
    assert going_on(4, {2: 9, 3: 1}) == "continuing from tick 4: no answer after it is on record"
    again = "starting again from tick 0, as no later tick was saved"
    assert going_on(0, {2: 999, 3: 1}) == f"{again}: 1,000 answers after it are on record"


def test_a_run_that_kept_no_source_is_not_resumed_by_other_code_unasked(tmp_path):
    """As an older populace left it, of a scenario that ships and has changed since."""
    assert go(tmp_path, stop_at=2, scenario="polarization", agents=8) is None
    file = msgspec.structs.replace(read_run_file(tmp_path), source=None)
    write_run_file(tmp_path, file)
    assert resume_course(tmp_path).origin == Origin("populace.scenarios.polarization"), "control: it has not changed"
    write_run_file(tmp_path, msgspec.structs.replace(file, fingerprint="another"))
    with pytest.raises(ScenarioError, match="--anyway"):
        resume_course(tmp_path)
    assert resume_course(tmp_path, anyway=True).origin == Origin("populace.scenarios.polarization")


def test_the_command_line_resumes_replays_and_forks(tmp_path):
    stopped = tmp_path / "a"
    assert go(stopped, stop_at=3, scenario="polarization", agents=20, ticks=5) is None
    done = populace("resume", "a", "--shards", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "status: complete" in done.stdout
    done = populace("replay", "a", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "replayed 5 ticks with no call: every trace hash agrees" in done.stdout
    done = populace("fork", "a", "--at-tick", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = read_manifest(stopped)["calls_billed"]
    assert f"saved: {made} calls" in done.stdout
    assert read_manifest(tmp_path / "a-fork-1")["trace_hash"] == read_manifest(stopped)["trace_hash"]
    done = populace("resume", "a", cwd=tmp_path)
    assert done.returncode == 2
    assert "is complete" in done.stderr
