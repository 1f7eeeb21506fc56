"""One society on its rules, on the placebo and on a script: the invariants hold on each, and each says what it is."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support import theorists
from support.attempts import asked, go, same_tables
from support.running import run_local, settings_of

from populace.agents.facts import fill
from populace.budget.service import account_for
from populace.core.draws import Stream
from populace.core.errors import ScenarioError, SettingsError
from populace.data.societies import find_society
from populace.interventions.levers import parse_lever
from populace.models.build import check_model
from populace.models.embedded.host import ModelHost
from populace.models.scripted.rules import Rules
from populace.monitoring.summary import PLACEBO_CAVEAT, RULES_CAVEAT, SCRIPTED_CAVEAT, caveats
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.estimate import play
from populace.runs.replay import replay_run
from populace.runs.resume import resume_with_new_code
from populace.store.journal.recording import Recording
from populace.store.tables.tables import read_table

__all__ = ["asked"]

THEORISTS = str(Path(theorists.__file__))
BY_RULES: dict[str, Any] = {"scenario": THEORISTS, "model__kind": "rules", "ticks": 6}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return go(out, **BY_RULES), out


@pytest.mark.parametrize("shards", [2, 5])
def test_any_number_of_shards_gives_one_trace(tmp_path, whole, shards):
    manifest = go(tmp_path, shards=shards, **BY_RULES)
    assert manifest["trace_hashes"] == whole[0]["trace_hashes"]
    assert manifest["world_hashes"] == whole[0]["world_hashes"]
    same_tables(tmp_path, whole[1])


def test_control_a_rule_that_draws_by_the_order_of_asks_gives_another_trace_on_two_shards(tmp_path, whole, monkeypatch):
    drawn = [0]

    def in_order(_seed: int, _agent: int, _tick: int, _purpose: str) -> Stream:
        drawn[0] += 1
        return Stream(7, drawn[0] // 2, 0, "in order")

    monkeypatch.setattr("populace.models.scripted.rules.Stream", in_order)
    monkeypatch.setattr("populace.models.scripted.rules._wrong", lambda *_: ScenarioError("found"))
    with pytest.raises(ScenarioError, match="found"):  # the second answer to one ask differs
        go(tmp_path / "found", **BY_RULES)
    monkeypatch.setattr(Rules, "__call__", lambda self, ask: self._answer(self._rules[ask.purpose], ask))
    hashes = set()
    for shards in (1, 2):
        drawn[0] = 0
        hashes.add(go(tmp_path / str(shards), shards=shards, **BY_RULES)["trace_hash"])
    assert len(hashes) == 2


@pytest.mark.parametrize(("stop_at", "shards"), [(2, 3), (4, 1)])
def test_stopped_and_resumed_on_another_number(tmp_path, whole, asked, stop_at, shards):
    assert go(tmp_path, stop_at=stop_at, shards=2, **BY_RULES) is None
    before = len(asked)
    manifest = go(tmp_path, going=resume_course(tmp_path, shards=shards))
    assert manifest["trace_hashes"] == whole[0]["trace_hashes"]
    assert manifest["asks"] == whole[0]["asks"]
    assert before < len(asked) == len(set(asked)), "no rule was asked twice"
    same_tables(tmp_path, whole[1])


def stopped_without_checkpoints(out):
    assert go(out, stop_at=3, shards=2, **BY_RULES) is None
    shutil.rmtree(out / "checkpoints")


def test_rules_answers_are_on_record(tmp_path, whole, asked):
    stopped_without_checkpoints(tmp_path)
    manifest = go(tmp_path, going=resume_course(tmp_path, shards=3))
    assert manifest["trace_hashes"] == whole[0]["trace_hashes"]
    assert len(asked) == len(set(asked))


def test_control_without_their_record_rules_are_asked_twice(tmp_path, whole, asked, monkeypatch):
    stopped_without_checkpoints(tmp_path)
    monkeypatch.setattr(Recording, "_find", lambda *_: (None, False))
    manifest = go(tmp_path, going=resume_course(tmp_path, shards=3))
    assert manifest["trace_hashes"] == whole[0]["trace_hashes"], "rules say the same again"
    assert len(asked) > len(set(asked))


def test_replay_asks_no_rule(tmp_path, whole, asked):
    replayed = replay_run(replay_course(whole[1], shards=3), whole[1], tmp_path)
    assert replayed.diverged is None, replayed.text()
    assert not asked


def test_control_a_replay_without_the_facts_is_found_and_named(tmp_path, whole, monkeypatch):
    """The text stays as it was: only what the rule is handed differs."""
    monkeypatch.setattr("populace.agents.context.fill", lambda texts, facts: (fill(texts, facts)[0], "{}"))
    replayed = replay_run(replay_course(whole[1]), whole[1], tmp_path)
    assert replayed.diverged is not None
    assert replayed.diverged.tick == 0
    assert "ask 0 of agent 0 in tick 0 (opinion)" in replayed.why


def test_a_fork_without_a_lever_asks_nothing(tmp_path, whole, asked):
    manifest = go(tmp_path, going=fork_course(whole[1], 3))
    assert manifest["trace_hashes"] == whole[0]["trace_hashes"]
    assert not asked


def nudge_from_3(size: float) -> str:
    return f"at=3, set={{society.nudge={size}}}"


def test_a_fork_with_a_lever_that_changes_one_fact_asks_anew_where_it_stands(tmp_path, whole, asked):
    forked = fork_course(whole[1], 3, levers=[nudge_from_3(0.25)])
    manifest = go(tmp_path / "fork", going=forked)
    assert manifest["trace_hashes"][:3] == whole[0]["trace_hashes"][:3]
    assert manifest["trace_hashes"][3] != whole[0]["trace_hashes"][3]
    assert min(tick for _, tick, _ in asked) == 3
    assert {(agent, 3, 0) for agent in range(12)} <= set(asked), "every opinion of tick 3 has another fact"
    answers = len(asked)
    straight = go(tmp_path / "straight", levers=[parse_lever(nudge_from_3(0.25))], **BY_RULES)
    assert straight["trace_hashes"] == manifest["trace_hashes"], "as if the lever had been there from the beginning"
    assert answers < len(asked) - answers
    nothing = go(tmp_path / "same", going=fork_course(whole[1], 3, levers=[nudge_from_3(0.0)]))
    assert nothing["asks"] == whole[0]["asks"] | {
        "answered": 0, "replayed": whole[0]["asks"]["answered"], "by_purpose": nothing["asks"]["by_purpose"],
    }, "control: a lever that changes no fact asks nothing"  # fmt: skip


def test_arms_share_the_rules_draws(tmp_path, whole):
    """The effect of a nudge is the nudge: what the rules draw is the same in both arms."""
    other = go(tmp_path, levers=[parse_lever(nudge_from_3(0.25))], **BY_RULES)
    assert other["trace_hashes"][2] == whole[0]["trace_hashes"][2]
    plain, nudged = (read_table(out, "asks").to_pylist() for out in (whole[1], tmp_path))
    pairs = [(a, b) for a, b in zip(plain, nudged, strict=True) if a["tick"] == 3 and a["purpose"] == "opinion"]
    assert {a["reason"] == b["reason"] for a, b in pairs} == {True}
    moved = [json.loads(b["answer"])["support"] - json.loads(a["answer"])["support"] for a, b in pairs if a["answer"]]
    assert moved == pytest.approx([0.25] * len(moved))


def test_facts_and_prompt_stand_in_the_table_of_asks(whole):
    rows = read_table(whole[1], "asks").to_pylist()
    opinions = [row for row in rows if row["purpose"] == "opinion"]
    assert len(opinions) == 72
    for row in opinions:
        facts = json.loads(row["facts"])
        assert set(facts) == {"support", "nudge", "heard"}
        prompt = json.loads(row["prompt"])[0]["content"]
        assert prompt.startswith(f"You are at {facts['support']!r}; nudged by 0.0; neighbours said [")
    assert {row["facts"] for row in rows if row["purpose"] == "say"} == {None}
    assert any(row["reason"] == "refusal" for row in opinions)


def variant(tmp_path: Path, old: str, new: str) -> str:
    """The theorists with a change in their file."""
    text = Path(THEORISTS).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "theorists.py").write_text(text.replace(old, new), encoding="utf-8")
    return str(tmp_path / "theorists.py")


LINE = next(n for n, line in enumerate(Path(THEORISTS).read_text().splitlines(), 1) if 'return "yes" if draw' in line)


WRONG = [
    ('"vote": vote, ', "", "No rule answers the purpose 'vote' (agent 0, tick 0). There are rules for: opinion, say."),
    ('return "yes" if', "return 1 / 0 if", f":{LINE} in vote: the rule for 'vote' raised ZeroDivisionError"),
    ('return "yes" if', "exit() if 1 or", f":{LINE} in vote: the rule for 'vote' raised SystemExit"),
    ('return "yes" if', 'return facts["age"] if', f":{LINE} in vote: the rule for 'vote' raised KeyError: 'age'"),
    ('return "yes" if', 'return "maybe" if 1 or', f":{LINE - 1} in vote: the rule for 'vote' gave 'maybe', which"),
    ('return "yes" if', 'return "maybe" if 1 or', "type Choice('yes', 'no'): label must be one of ['yes', 'no']"),
    ("Opinion(0.5 * (facts", "(0.5 * (facts", "the rule for 'opinion' gave ("),
    ('lambda facts, draw: f"', 'lambda facts, draw: 3 or f"', "gave 3, which is no answer of the type text"),
    ("draw.random() < facts", '__import__("random").random() < facts', "the rule for 'vote' gave two answers"),
    ('Abstained("refusal"', 'Abstained("whim"', "no reason is called 'whim'"),
    ("    rules={", "    scripted=lambda ask, draw: {", "the society has no rules that could answer"),
]


@pytest.mark.parametrize(("old", "new", "says"), WRONG)
def test_what_is_wrong_with_a_rule_ends_the_run_and_is_named(tmp_path, old, new, says):
    scenario = variant(tmp_path, old, new)
    with pytest.raises(ScenarioError) as caught:
        run_local(tmp_path / "run", scenario, model__kind="rules", agents=60)
    assert says in str(caught.value)


def test_a_run_whose_rule_failed_goes_on_with_the_mended_one(tmp_path, whole):
    scenario = variant(tmp_path, 'return "yes" if', 'return 1 / 0 if facts["support"] > 1 else "yes" if')
    with pytest.raises(ScenarioError, match="--code new"):
        go(tmp_path / "run", **{**BY_RULES, "scenario": scenario, "checkpoint__every_ticks": 1})
    variant(tmp_path, "size=12", "size=12 ")
    manifest = resume_with_new_code(tmp_path / "run", out=tmp_path / "mended", trust=True)
    assert manifest["trace_hashes"] == whole[0]["trace_hashes"]


def test_a_replay_needs_no_rules(tmp_path, whole):
    """What is on record is enough, also where the code that is replayed has lost its rules."""
    recording = tmp_path / "recording"
    shutil.copytree(whole[1], recording)
    scenario = variant(tmp_path, "    rules={", "    scripted=lambda ask, draw: {")
    about = json.loads((recording / "run.json").read_text())
    (recording / "run.json").write_text(json.dumps({**about, "origin": scenario}))
    replayed = replay_run(replay_course(recording, code="new"), recording, tmp_path / "again")
    assert replayed.diverged is None, replayed.text()


SILENT = """
from populace import Agent, Population, Society

class Silent(Agent):
    age: int

    async def turn(self, ctx):
        self.age += 1

society = Society(name="silent", agent=Silent, population=lambda setup: Population({"age": [1] * setup.agents}))
"""


def test_where_nothing_was_asked_nothing_answered(tmp_path):
    (tmp_path / "silent.py").write_text(SILENT, encoding="utf-8")
    assert run_local(tmp_path / "run", scenario=str(tmp_path / "silent.py"), agents=2, ticks=2)["answers"] == "nothing"


def test_the_placebo_fits_every_type_and_is_blind_to_what_is_asked(tmp_path):
    plain = go(tmp_path / "plain", scenario=THEORISTS, ticks=4)
    nudged = go(tmp_path / "nudged", scenario=THEORISTS, ticks=4, levers=[parse_lever(nudge_from_3(0.25))])
    assert plain["asks"]["abstained"] == 0
    assert plain["answers"] == "placebo"
    first, second = (read_table(tmp_path / name, "asks") for name in ("plain", "nudged"))
    assert first.column("key") != second.column("key")
    assert first.column("answer") == second.column("answer"), "a claim about the nudge cannot hold on the placebo"
    for row in first.to_pylist():
        if row["purpose"] == "opinion":
            msgspec.json.decode(row["answer"], type=theorists.Opinion)
    assert nudged["trace_hash"] != plain["trace_hash"]


def test_each_mind_says_what_it_is(tmp_path, whole):
    assert whole[0]["answers"] == "rules"
    assert RULES_CAVEAT in caveats(whole[0])
    placebo = go(tmp_path / "placebo", scenario=THEORISTS, ticks=1)
    assert PLACEBO_CAVEAT in caveats(placebo)
    assert SCRIPTED_CAVEAT in caveats(go(tmp_path / "talkers", ticks=1))


def test_rules_cost_nothing_and_need_no_account(tmp_path):
    settings = settings_of(model__kind="rules", budget__tokens=1, endpoint__requests_per_minute=1)
    assert account_for(settings) is None
    assert account_for(settings_of(model__kind="openai", model__name="m", budget__tokens=1)) is not None, "control"
    pilot = play(find_society(THEORISTS), settings, 12, 2, scripted=False)
    assert pilot.scripted
    assert {purpose for turn in pilot.turns for purpose in turn.used} == {"opinion", "vote", "say"}


def test_a_ceiling_of_money_is_for_models_that_cost():
    for kind in ("rules", "scripted"):
        check_model(settings_of(model__kind=kind, budget__usd=1.0))
    with pytest.raises(SettingsError, match="no price is known"):
        check_model(settings_of(model__kind="openai", model__name="m", budget__usd=1.0))


def test_a_probe_of_rules_starts_nothing():
    [probe] = asyncio.run(ModelHost(settings_of(model__kind="rules")).probe_roles())["default"]
    assert probe.ok
    assert "rules need nothing" in probe.found
