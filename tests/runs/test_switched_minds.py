"""A type of agents goes by rules, by the model or by another model, as its class says or the settings switch it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support import mixed
from support.attempts import asked, go, same_tables
from support.running import run_local, settings_of

from populace import Agent
from populace.agents import context
from populace.agents.minds import mind_of, resolve_minds
from populace.core.errors import ScenarioError, SettingsError
from populace.monitoring.summary import caveats
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.estimate import play
from populace.runs.replay import replay_run
from populace.settings import load_settings, revise_settings
from populace.settings.minds import purpose_notes, switched, with_minds
from populace.store.tables.tables import read_table

__all__ = ["asked"]

MIXED = str(Path(mixed.__file__))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("mixed") / "whole"
    return go(out, scenario=MIXED), out


def by_mind(out: Path) -> Counter[tuple[str, str, str | None]]:
    """How many asks there were by type, purpose and model role."""
    rows = read_table(out, "asks").to_pandas()
    types = ["citizen" if agent < 14 else "officer" for agent in rows.agent]
    roles = [role if isinstance(role, str) else None for role in rows.model_role]
    return Counter(zip(types, rows.purpose, roles, strict=True))


def test_a_class_says_its_mind_and_one_run_has_both(whole) -> None:
    manifest, out = whole
    assert {(of, role) for of, _, role in by_mind(out)} == {("citizen", None), ("officer", "rules")}
    assert manifest["roles"]["rules"] == {"model": "rules", "answers": "rules", "set": True}
    assert manifest["answers"] == "scripted"
    assert manifest["settings"]["minds"] == {"officer": {"": "rules"}}
    assert any("'rules': The answers came from the society's own rules" in one for one in caveats(manifest))
    rows = read_table(out, "asks").to_pandas()
    assert set(rows[rows.agent >= 14].settled) == {"answered"}, "rules abstain from nothing here, the script does"
    assert "abstained" in set(rows[rows.agent < 14].settled)


@pytest.mark.parametrize("shards", [2, 5])
def test_invariant_1_any_number_of_shards_is_one_run(tmp_path, whole, shards) -> None:
    manifest = go(tmp_path, scenario=MIXED, shards=shards)
    assert manifest["trace_hashes"] == whole[0]["trace_hashes"]
    same_tables(tmp_path, whole[1])


def test_invariant_2_and_3_stopped_resumed_and_replayed(tmp_path, whole, asked) -> None:
    assert go(tmp_path / "run", stop_at=2, scenario=MIXED, shards=2) is None
    manifest = go(tmp_path / "run", going=resume_course(tmp_path / "run", shards=3))
    assert manifest["trace_hashes"] == whole[0]["trace_hashes"]
    assert len(asked) == len(set(asked))
    before = len(asked)
    assert replay_run(replay_course(tmp_path / "run"), tmp_path / "run", tmp_path / "again").diverged is None
    assert len(asked) == before


def test_invariant_4_a_fork_switches_minds_from_its_tick_on_and_pays_for_these(tmp_path, whole, asked) -> None:
    same = go(tmp_path / "same", going=fork_course(whole[1], 3))
    assert same["trace_hashes"] == whole[0]["trace_hashes"]
    assert asked == []
    fork = go(tmp_path / "fork", going=fork_course(whole[1], 3, ["minds.citizen=rules", "minds.officer=model"]))
    assert fork["trace_hashes"][:3] == whole[0]["trace_hashes"][:3]
    assert fork["trace_hashes"][3] != whole[0]["trace_hashes"][3]
    assert {tick for _, tick, _ in asked} == {3, 4, 5, 6, 7}, "the past is the parent's, by the minds that it had"
    late = read_table(tmp_path / "fork", "asks").to_pandas()
    late = late[late.tick >= 3]
    assert set(late[late.agent < 14].model_role) == {"rules"}
    assert set(late[late.agent >= 14].model_role.fillna("")) == {""}


def test_control_a_fork_without_the_minds_of_its_past_leaves_it(tmp_path, whole, asked, monkeypatch) -> None:
    monkeypatch.setattr("populace.runs.courses.plain_minds", lambda settings: {})
    going = fork_course(whole[1], 3, ["minds.citizen=rules", "model.temperature=0.1"])
    with pytest.raises(Exception, match="tick 0"):
        go(tmp_path / "fork", going=going)


def test_rules_answer_alike_as_a_mind_and_as_the_model_of_a_run(tmp_path) -> None:
    by_model = go(tmp_path / "model", scenario=MIXED, model__kind="rules", minds={"officer": "model"})
    by_mind = go(tmp_path / "mind", scenario=MIXED, minds={"citizen": "rules"})
    assert by_mind["trace_hashes"] == by_model["trace_hashes"], "the same facts, draws and content keys"
    assert by_mind["trace_hashes"] != go(tmp_path / "other", scenario=MIXED)["trace_hashes"]


def test_a_mind_for_one_purpose_and_another_model_for_a_type(tmp_path) -> None:
    go(
        tmp_path, scenario=MIXED, minds={"Citizen": {"vote": "rules"}, "officer": {"": "other"}},
        model__roles={"other": {"kind": "scripted", "name": "other"}},
    )  # fmt: skip
    assert set(by_mind(tmp_path)) == {
        ("citizen", "vote", "rules"), ("citizen", "opinion", None), ("officer", "vote", "other"),
        ("officer", "opinion", "other"),
    }  # fmt: skip


def test_a_pilot_of_a_mixed_run_asks_the_same_minds() -> None:
    from populace.data.societies import find_society

    settings = settings_of(minds={"citizen": {"vote": "rules"}})
    pilot = play(find_society(MIXED), settings, 6, 2, scripted=True)
    used = {(turn.agent < 4, name) for turn in pilot.turns for name in turn.used}
    assert used == {
        (True, "vote (rules)"), (True, "opinion"), (False, "vote (rules)"), (False, "opinion (rules)")
    }  # fmt: skip


def test_minds_by_purpose_and_of_asks_that_name_a_role() -> None:
    minds = {"": "rules", "judge": "model", "vote": "other"}
    assert mind_of(minds, "anything", "") == "rules"
    assert mind_of(minds, "anything", "judge") == "model", "what names a model is asked of that"
    assert mind_of(minds, "vote", "judge") == "other", "a mind for a purpose holds for all asks of it"
    assert mind_of(minds, "judge", "") == "model"


class Mixed(Agent):
    mind = {"vote": "rules", "say": "model"}


class Own(Agent):
    mind: str = "calm"


def test_what_classes_say_and_what_is_given_resolves_once_and_for_all() -> None:
    classes: dict[str, type[Agent]] = {"a": Mixed, "b": Own, "c": mixed.Officer}
    for given, found in (
        ({}, {"a": {"vote": "rules", "say": "model"}, "c": {"": "rules"}}),
        ({"a": "x", "Officer": "model"}, {"a": {"vote": "x", "say": "x", "": "x"}, "c": {"": "model"}}),
        ({"a": {"say": "rules"}}, {"a": {"vote": "rules", "say": "rules"}, "c": {"": "rules"}}),
        ({"b": "rules"}, {"a": {"vote": "rules", "say": "model"}, "b": {"": "rules"}, "c": {"": "rules"}}),
    ):
        assert resolve_minds(classes, given) == found
        assert resolve_minds(classes, found) == found


def test_settings_that_were_worked_out_stay_as_they_are() -> None:
    settings = with_minds(settings_of(minds={"citizen": {"vote": "rules"}}), mixed.society.classes)
    assert with_minds(settings, mixed.society.classes) == settings
    assert revise_settings(settings, ["minds.officer=model"]).minds["officer"] == "model"
    given = load_settings(None, [switched("citizen=rules"), switched("citizen.vote=model"), switched("officer=model")])
    assert given.minds == {"citizen": {"": "rules", "vote": "model"}, "officer": {"": "model"}}


@pytest.mark.parametrize(
    ("minds", "message"),
    [
        ({"citzen": "rules"}, r"minds\.citzen: there is no such type .* citizen, officer\. Is 'minds\.citizen' meant"),
        ({"citizen": "rule"}, r"minds\.citizen = 'rule': there is no such mind; there are model, rules"),
        ({"citizen": {"vote": "judge"}}, r"minds\.citizen\.vote = 'judge': .*\[model\.roles\.judge\]"),
    ],
)
def test_what_is_no_mind_is_named(tmp_path, minds, message) -> None:
    with pytest.raises(SettingsError, match=message):
        go(tmp_path, scenario=MIXED, minds=minds)


def test_a_role_called_rules_that_is_another_model_is_refused(tmp_path) -> None:
    with pytest.raises(SettingsError, match=r"model\.roles\.rules: the minds name the society's rules"):
        go(tmp_path, scenario=MIXED, model__roles={"rules": {"kind": "scripted"}})


def test_a_class_whose_mind_is_none_is_refused() -> None:
    class Wrong(Agent):
        mind = 3  # type: ignore[assignment]

    with pytest.raises(ScenarioError, match=r"Wrong\.mind = 3: it has to be a mind"):
        resolve_minds({"agent": Wrong}, {})


def test_a_society_without_rules_has_no_rule_mind(tmp_path) -> None:
    scenario = tmp_path / "mine.py"
    scenario.write_text(Path(MIXED).read_text().replace('rules={"vote": vote, "opinion": opinion},', ""))
    with pytest.raises(ScenarioError, match="the society has no rules that could answer"):
        go(tmp_path / "run", scenario=str(scenario))


@pytest.mark.parametrize("text", ["citizen", "=rules", "citizen.=rules", "citizen="])
def test_what_is_no_switch_is_refused(text) -> None:
    with pytest.raises(SettingsError, match="write it as TYPE=MIND"):
        switched(text)


def test_control_an_ask_that_goes_by_no_mind_asks_the_model(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(context, "mind_of", lambda *_: "model")
    go(tmp_path, scenario=MIXED)
    assert {role for _, _, role in by_mind(tmp_path)} == {None}


def test_a_purpose_that_looks_misspelt_is_told_of_as_the_run_begins() -> None:
    classes, rules, some = {"citizen": Agent, "officer": Agent}, ("vote", "interview"), {"officer": {"x": "model"}}
    minds = {"citizen": {"": "model", "vot": "rules", "vote": "rules", "survey": "judge"}}
    assert purpose_notes(classes, minds, rules, ("survey",)) == [
        "minds.citizen.vot = 'rules': the purpose 'vot' has no rule, and rules are to answer it. Is 'vote' meant?"
    ]
    assert "nothing here names. Known are: interview, vote." in purpose_notes(classes, some, rules, ())[0]
    assert purpose_notes(classes, some, (), ()) == [], "where nothing is known nothing is misspelt"


def test_a_misspelt_purpose_is_noted_before_the_first_tick(tmp_path) -> None:
    heard: list[tuple[str, int]] = []

    class Hearing:
        ticks = 0

        def begin(self, *_: object) -> None: ...
        def pulse(self, _: object) -> None: ...
        def end(self, *_: object) -> None: ...

        def note(self, text: str) -> None:
            heard.append((text, self.ticks))

        def tick(self, _: object) -> None:
            self.ticks += 1

    run_local(tmp_path / "run", MIXED, [Hearing()], ticks=1, minds={"officer": {"patrul": "rules"}})
    assert [
        tick for text, tick in heard if "minds.officer.patrul = 'rules': the purpose 'patrul' has no rule" in text
    ] == [0]
