"""Surveys and interviews of runs: no trace in them, the agents of the right tick, paid for once; with controls."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.attempts import Stopper
from support.respondents import MOODS
from support.running import settings_of

import populace
from populace.cluster import local, probing
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import Interrupted, ScenarioError, SettingsError, StorageError
from populace.core.records import Abstained
from populace.data.societies import find_society
from populace.kernel.blocks import Rows
from populace.runs import probing as after
from populace.runs.courses import resume_course
from populace.store.checkpoint.generations import latest
from populace.store.folder import Store
from populace.store.lock import held
from populace.store.manifest import read_manifest
from populace.store.probes import probes_of, spent_on
from populace.testing import FakeEndpoint

FILE = str(Path(__file__).parent.parent / "support" / "respondents.py")
TICKS = 6
RULES = {"model": "rules", "quiet": True, "seed": 3, "ticks": TICKS}
WAVES = {"at": [0, 2, 4, 6], "sample": 0.5, "shuffle": True}


@pytest.fixture(scope="module")
def moods(tmp_path_factory) -> str:
    """An instrument in a file."""
    from populace.agents.probes.declared import plain

    made = plain(MOODS)
    lines = [f"{name} = {made[name]!r}" for name in ("name", "title", "source", "status", "instruction")]
    for item in made["items"]:
        lines += ["[[items]]", *(f"{name} = {item[name]!r}" for name in ("name", "text"))]
        lines.append(f"labels = {list(item['labels'].values())!r}\nlow = 0")
    lines += ["[[scales]]", *(f"{name} = {value!r}" for name, value in made["scales"][0].items())]
    path = tmp_path_factory.mktemp("instruments") / "moods.toml"
    path.write_text("\n".join(lines))
    return str(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run without probes; tests ask copies of it, or leave what they asked in it."""
    return populace.run(FILE, out=tmp_path_factory.mktemp("finished") / "run", **RULES).folder


def files_of(folder: Path) -> dict[str, str]:
    """The run's own files by their content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "probes" not in path.parts
    }


def played(out: Path, monkeypatch, surveys: list[dict[str, Any]], shards: int = 1) -> dict[str, Any]:
    """A run with a checkpoint at every edge: its hashes, its tables, and the states that were saved."""
    states = []
    save = Store.save

    def kept(self, *given) -> None:
        save(self, *given)
        saved = latest(self.checkpoints)
        states.append(
            {
                name: dict(sorted(rows.changed.items())) if isinstance(rows, Rows) else rows
                for name, rows in saved.blocks.items()
            }
        )

    with monkeypatch.context() as patch:
        patch.setattr(Store, "save", kept)
        run = populace.run(
            FILE, out=out, shards=shards, settings={"surveys": surveys, "checkpoint.every_ticks": 1}, **RULES
        )
    for state in states:
        state["facts"] = {**state["facts"], "wall_s": 0.0, "positions": []}
        state["facts"]["total"]["latency_s"] = 0.0
    tables = {path.name: run.table(path.stem, "arrow") for path in sorted(run.folder.glob("*.parquet"))}
    return {
        "hashes": (run.manifest["trace_hashes"], run.manifest["world_hashes"]),
        "tables": {name: table.to_pylist() for name, table in tables.items()},
        "states": [
            {name: msgspec.msgpack.encode(block, enc_hook=lambda array: array.tolist()) for name, block in one.items()}
            for one in states
        ],
        "run": run,
    }


def rows(survey: Any) -> list[dict[str, Any]]:
    """A survey's table as plain rows."""
    return survey.table("arrow").to_pylist()


def differ(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [what for what in ("hashes", "tables", "states") if one[what] != other[what]]


@pytest.mark.parametrize("shards", [1, 3])
def test_a_survey_leaves_no_trace_in_hashes_tables_and_saved_states(tmp_path, monkeypatch, moods, shards):
    bare = played(tmp_path / "bare", monkeypatch, [])
    asked = played(tmp_path / "asked", monkeypatch, [{"instrument": moods, **WAVES}], shards)
    assert len(bare["states"]) == TICKS, "a state at every edge is compared"
    assert differ(bare, asked) == []
    assert asked["run"].survey("moods").waves == [0, 2, 4, 6]


def test_control_a_probe_that_gets_at_the_agent_itself_is_caught(tmp_path, monkeypatch, moods):
    """What is asked is the agent and not a copy, and this one is changed by being asked."""
    bare = played(tmp_path / "bare", monkeypatch, [])
    hosts: list[Any] = []
    peek = LocalTransport.peek

    async def leaking(self, agents):
        hosts[:] = self.hosts
        return await peek(self, agents)

    monkeypatch.setattr(LocalTransport, "peek", leaking)
    monkeypatch.setattr(
        probing.Prober, "_agent", lambda _self, _at, one: hosts[one % len(hosts)].shard.agents[one // len(hosts)]
    )
    asked = played(tmp_path / "asked", monkeypatch, [{"instrument": moods, "at": [2], "sample": [1]}])
    assert differ(bare, asked) == ["hashes", "tables", "states"]


def test_control_a_probe_that_takes_agents_from_the_next_checkpoint_is_caught(tmp_path, monkeypatch, moods):
    """Looking by the way of a checkpoint marks agents as saved: the next checkpoint lacks them, and no hash tells."""
    bare = played(tmp_path / "bare", monkeypatch, [])
    peek = local.peek

    def exporting(shard, ids):
        shard.export(whole=False)
        return peek(shard, ids)

    monkeypatch.setattr(local, "peek", exporting)
    asked = played(tmp_path / "asked", monkeypatch, [{"instrument": moods, **WAVES}])
    assert differ(bare, asked) == ["states"]


def test_a_survey_afterwards_is_the_survey_during_the_run_and_touches_no_file_of_it(tmp_path, monkeypatch, moods):
    during = played(tmp_path / "during", monkeypatch, [{"instrument": moods, **WAVES}], shards=2)["run"]
    bare = played(tmp_path / "bare", monkeypatch, [])["run"]
    before = files_of(bare.folder)
    found = populace.survey(bare, moods, WAVES["at"], sample=0.5, shuffle=True, quiet=True)
    assert files_of(bare.folder) == before
    assert rows(found) == rows(during.survey("moods"))
    one = found.table()
    assert len(one) == 4 * 6 * 2
    assert set(one.order.map(tuple)) == {
        tuple(MOODS.items[0].labels.values()),
        tuple(MOODS.items[0].labels.values())[::-1],
    }
    asked = one.agent.unique().tolist()
    at_two = populace.survey(bare, moods, 2, sample=asked, name="plain", quiet=True).table()
    assert at_two.answer.tolist() == one[one.tick == 2].answer.tolist(), (
        "the order of options is no matter to this rule"
    )


def test_the_agents_are_those_of_the_tick(finished, moods):
    """The rule says the mood, which the table of agents holds at every tick."""
    run = populace.load(finished)
    survey = populace.survey(run, moods, [0, 1, 3, TICKS], name="all", weight="weight", quiet=True)
    panel = run.panel("mood")
    for wave, tick in enumerate(survey.waves):
        expected = panel.loc[tick].to_numpy()
        assert survey.answers(wave)[:, 0].tolist() == expected.tolist(), tick
        assert survey.scores(wave)["gladness"].tolist() == (2 * expected).tolist()
        weights = survey.weights(wave)
        assert weights.tolist() == [1.0 + at for at in range(12)]
        assert survey.means(wave)["gladness"] == pytest.approx(2 * (expected * weights).sum() / weights.sum())
    assert not np.array_equal(survey.answers(0), survey.answers(3)), "else any tick would do"
    text = survey.text()
    assert "all, wave 0 before tick 0: 12 agents" in text
    assert "gladness  mean " in text


def test_from_a_checkpoint_the_agents_are_the_same(tmp_path, finished, moods, monkeypatch):
    """A run that ended early keeps its checkpoints: what is recomputed begins at the nearest."""
    assert stopped(tmp_path / "run", at=4, surveys=[]) is None
    begun = []
    real = LocalTransport.restore

    async def restore(self, state):
        begun.append(state.tick)
        return await real(self, state)

    monkeypatch.setattr(LocalTransport, "restore", restore)
    found = populace.survey(tmp_path / "run", moods, [1, 2, 4], name="all", quiet=True)
    assert begun == [2, 4], "of two checkpoints kept, at ticks 2 and 4"
    monkeypatch.setattr(after, "_nearest", lambda *_: None)
    populace.survey(tmp_path / "run", moods, [1, 2, 4], name="again", quiet=True)
    assert rows(found) == rows(populace.load(tmp_path / "run").survey("again"))
    whole = populace.survey(finished, moods, [1, 2, 4], name="whole", quiet=True)
    assert whole.table().answer.tolist() == found.table().answer.tolist()


def test_from_a_state_that_a_finished_run_kept_too(tmp_path, finished, moods, monkeypatch):
    begun = []
    real = LocalTransport.restore

    async def restore(self, state):
        begun.append(state.tick)
        return await real(self, state)

    run = populace.run(FILE, out=tmp_path / "run", settings={"checkpoint.kept_at": [3, 5]}, **RULES)
    monkeypatch.setattr(LocalTransport, "restore", restore)
    found = populace.survey(run, moods, [2, 4, 5], name="kept", quiet=True)
    assert begun == [3, 5]
    other = populace.survey(finished, moods, [2, 4, 5], name="kept", quiet=True)
    assert found.table().answer.tolist() == other.table().answer.tolist()


def test_a_mind_of_rules_answers_probes_by_rules_and_a_survey_may_go_by_another(tmp_path, moods):
    text = (
        Path(FILE)
        .read_text()
        .replace("    mood: Public[int] = 1\n", '    mind = {"survey": "rules"}\n    mood: Public[int] = 1\n')
    )
    (tmp_path / "minded.py").write_text(text)
    run = populace.run(tmp_path / "minded.py", out=tmp_path / "run", **{**RULES, "model": "scripted"})
    survey = populace.survey(run, moods, 2, quiet=True)
    assert survey.answers()[:, 0].tolist() == run.panel("mood").loc[2].tolist(), "the rule says the mood"
    drawn = populace.survey(run, moods, 2, name="drawn", settings={"minds": {"Respondent": "model"}}, quiet=True)
    assert drawn.answers().tolist() != survey.answers().tolist()


def stopped(out: Path, at: int | None, surveys: list[dict[str, Any]], going: Any = None) -> dict[str, Any] | None:
    """A run that is stopped as a tick ends, or goes on to its end."""
    stopper = Stopper(at or -1)
    options = {"model__kind": "rules", "seed": 3, "ticks": TICKS, "checkpoint__every_ticks": 2}
    settings = settings_of(**options, surveys=surveys) if going is None else going.settings
    coordinator = Coordinator(
        find_society(FILE), settings, LocalTransport(), out, (stopper,), None if going is None else going.course
    )
    stopper.coordinator = coordinator
    try:
        return asyncio.run(coordinator.run())
    except Interrupted:
        return None


def test_what_was_asked_is_asked_of_no_model_again(finished, moods, monkeypatch):
    first = populace.survey(finished, moods, [2, 2], name="twice", shuffle=True, quiet=True)
    assert first.tally.spent.calls == first.tally.asks == 2 * 12 * 2
    one = populace.interview(finished, 3, 4, quiet=True)
    said = [one.ask("How are you?"), one.ask("Since when?")]
    assert said[0].startswith("0 before; my mood is ")
    assert said[1].startswith("1 before; my mood is ")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was asked")

    monkeypatch.setattr(probing, "build_gateway", refuse)
    again = populace.survey(finished, moods, [2, 2], name="twice", shuffle=True, quiet=True)
    assert again.tally.spent.calls == 0
    assert rows(again) == rows(first)
    other = populace.interview(finished, 3, 4, quiet=True)
    assert [other.ask("How are you?"), other.ask("Since when?")] == said
    assert after.answer(finished, 3, 4, "Since when?", [("How are you?", said[0])]) == said[1]
    with pytest.raises(AssertionError, match="a model was asked"):
        after.answer(finished, 3, 4, "Since when?", [("How are you?", "otherwise")])
    with pytest.raises(AssertionError, match="a model was asked"):
        populace.survey(finished, moods, 3, name="twice", shuffle=True, quiet=True)


def test_who_asks_at_once_is_waited_for(finished):
    """Two conversations by one page: the second finds the folder of probes taken, and goes on once it is free."""
    came, over = threading.Event(), threading.Event()

    def keep() -> None:
        with held(probes_of(finished)):
            came.set()
            over.wait(240)

    keeper = threading.Thread(target=keep)
    keeper.start()
    came.wait(240)
    waited = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        over.set()
        keeper.join(240)
        await real(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probing.asyncio, "sleep", sleep)
        said = after.answer(finished, 2, 4, "Is anybody there?")
    assert waited
    assert said.startswith("0 before")
    with held(probes_of(finished)), pytest.MonkeyPatch.context() as patch:
        patch.setattr(probing, "_PATIENCE_S", 0.0)
        with pytest.raises(StorageError, match="is at work in it"):
            after.answer(finished, 2, 4, "And now?")


def test_an_interview_leaves_the_run_as_it_was_and_its_words_are_the_agents(finished):
    before = files_of(finished)
    mood = populace.load(finished).panel("mood").loc[4, 5]
    one = populace.interview(finished, 5, 4, quiet=True)
    assert one.ask("How are you? ") == f"0 before; my mood is {mood}: How are you?"
    assert one.transcript == [("How are you?", f"0 before; my mood is {mood}: How are you?")]
    assert files_of(finished) == before
    with pytest.raises(SettingsError, match="says something"):
        one.ask("  ")


def test_a_run_that_ended_amid_its_waves_goes_on_and_pays_for_each_answer_once(tmp_path, moods):
    surveys = [{"instrument": moods, **WAVES}]
    assert stopped(tmp_path / "cut", 3, surveys) is None
    assert populace.load(tmp_path / "cut").survey("moods").waves == [0, 2]
    assert stopped(tmp_path / "cut", None, surveys, resume_course(tmp_path / "cut")) is not None
    assert stopped(tmp_path / "whole", None, surveys) is not None
    one, other = (populace.load(tmp_path / name) for name in ("cut", "whole"))
    assert one.manifest["trace_hash"] == other.manifest["trace_hash"]
    assert rows(one.survey("moods")) == rows(other.survey("moods"))
    for run in (one, other):
        spent = spent_on(probes_of(run.folder), run.manifest["run"])
        assert spent.calls == 4 * 6 * 2
        assert set(spent.purposes) == {"survey"}
        assert "survey" not in run.manifest["asks"]["by_purpose"], "the run's own books know nothing of it"


def test_a_fork_takes_over_what_its_parents_probes_answered(tmp_path, moods):
    settings = {"surveys": [{"instrument": moods, **WAVES}]}
    parent = populace.run(FILE, out=tmp_path / "parent", settings=settings, **RULES)
    child = populace.fork(
        parent, 3, levers=["change={group='all', fields={mood=0}}"], out=tmp_path / "child", quiet=True
    )
    spent = spent_on(probes_of(child.folder), read_manifest(child.folder)["run"])
    assert spent.calls <= 2 * 6 * 2, "the waves before ticks 4 and 6 at most"
    assert spent.calls > 0
    one, other = parent.survey("moods"), child.survey("moods")
    for wave in (0, 1):
        assert one.answers(wave).tolist() == other.answers(wave).tolist()
    assert one.answers(3).tolist() != other.answers(3).tolist()


def test_a_probe_that_fails_ends_no_run(tmp_path, moods, monkeypatch):
    """Who asks has lost its journal's disk: the run goes on, and says what was not asked."""
    bare = played(tmp_path / "bare", monkeypatch, [])

    def full(*_: Any, **__: Any) -> None:
        raise StorageError("no space is left")

    notes = Stopper(-1)
    with monkeypatch.context() as patch:
        patch.setattr(probing, "open_journal", full)
        coordinator = Coordinator(
            find_society(FILE),
            settings_of(model__kind="rules", seed=3, ticks=TICKS, surveys=[{"instrument": moods, "at": [2]}]),
            LocalTransport(),
            tmp_path / "run",
            (notes,),
        )
        manifest = asyncio.run(coordinator.run())
    assert manifest["trace_hashes"] == bare["hashes"][0]
    assert any("survey 'moods' before tick 2" in one and "no space is left" in one for one in notes.notes), notes.notes
    assert populace.load(tmp_path / "run").surveys == []
    populace.survey(tmp_path / "run", moods, 2, quiet=True)
    assert populace.load(tmp_path / "run").surveys == ["moods"]


def test_every_kind_of_question_is_asked_of_rules_and_of_the_scripted_model(tmp_path):
    from support.respondents import EVERY

    run = populace.run(FILE, out=tmp_path / "run", **RULES)
    found = populace.survey(run, EVERY, 2, shuffle=True, quiet=True).table()
    assert found.abstained.isna().all()
    first = found[found.item == "dish"]
    assert (first.label == first.order.str[0]).all(), "the rule takes the first that it is shown"
    assert first.label.nunique() == 3
    assert (first.answer == first.label.map({"soup": 1, "rice": 2, "stew": 3})).all()
    drawn = populace.survey(run, EVERY, 2, name="drawn", model="scripted", quiet=True).table()
    assert drawn.abstained.isna().all()
    assert set(drawn.item) == {one.name for one in EVERY.items}
    assert drawn[drawn.item == "order"].label.nunique() > 3
    whole = populace.survey(run, EVERY, 2, name="whole", model="scripted", together=True, quiet=True)
    assert whole.tally.asks == 12
    assert whole.table().abstained.isna().all()
    assert run.surveys == ["drawn", "every", "whole"]
    assert "dish: " in whole.text()


def test_a_model_at_an_endpoint_is_told_of_the_agent_and_answers_by_the_kind_of_question(finished):
    from support.respondents import EVERY

    with FakeEndpoint() as endpoint:
        how = {"model": "openai", "settings": endpoint.settings, "sample": [1, 5], "quiet": True}
        for together in (False, True):
            asked = populace.survey(finished, EVERY, 4, name=f"by-model-{together}", together=together, **how)
            assert asked.table().abstained.isna().all()
        bodies = [one.body for one in endpoint.seen if one.body is not None and "messages" in one.body]
        mood = populace.load(finished).panel("mood").loc[4, 5]
        told = [body["messages"][-1]["content"] for body in bodies]
        assert sum(f"What is known of you:\nmood: {mood}\n" in text for text in told) >= len(EVERY.items)
        assert all("tick 3 went" in text for text in told), "of its memory, too"
        talk = populace.interview(finished, 5, 4, model="openai", settings=endpoint.settings, quiet=True)
        talk.ask("First?")
        talk.ask("Second?")
        said = [(one["role"], one["content"]) for one in endpoint.seen[-1].body["messages"]]
    assert said[1:] == [("user", "First?"), ("assistant", talk.transcript[0][1]), ("user", "Second?")]
    assert f"mood: {mood}" in said[0][1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"instrument": "cesdd"}, "Is 'cesd' meant"),
        ({"instrument": "bfi10"}, "have no text"),
        ({"at_tick": TICKS + 1}, f"--at-tick {TICKS + 1}.*from 0 to {TICKS}"),
        ({"at_tick": -1}, "from 0"),
        ({"sample": [1, 400, -2]}, "sample names agents -2, 400, and before tick"),
        ({"weight": "wait"}, "no field of Respondent.*weight"),
        ({"type": "firm"}, "no type of agents 'firm'"),
        ({"model": "gpt"}, "gpt"),
    ],
)
def test_what_cannot_be_asked_is_refused(finished, given, said):
    with pytest.raises((SettingsError, ScenarioError), match=said):
        populace.survey(finished, **{"instrument": "cesd10", "at_tick": 2, "quiet": True} | given)


def test_an_agent_that_is_not_there_and_a_survey_that_was_not_asked_are_named(finished, moods):
    with pytest.raises(SettingsError, match=r"no agent 99 before tick 2: ids go from 0 to 11"):
        populace.interview(finished, 99, 2, quiet=True)
    populace.survey(finished, moods, 2, name="named", quiet=True)
    with pytest.raises(SettingsError, match=r"no survey is called 'nmed'.*named"):
        populace.load(finished).survey("nmed")
    with pytest.raises(SettingsError, match=r"another instrument.*--name named-2"):
        populace.survey(finished, "trust", 2, name="named", quiet=True)
    with pytest.raises(SettingsError, match="has no wave 7"):
        populace.load(finished).survey("named").scores(7)


def test_rules_that_answer_no_survey_say_so_before_anything_runs(tmp_path, moods):
    text = (
        Path(FILE)
        .read_text()
        .replace('    "survey": survey_rule,\n', "")
        .replace('    "interview": interview_rule,\n', "")
    )
    (tmp_path / "mute.py").write_text(text)
    with pytest.raises(ScenarioError, match=r"no rule answers the purpose 'survey'.*rules for: mood"):
        populace.run(
            tmp_path / "mute.py", out=tmp_path / "a", settings={"surveys": [{"instrument": moods, "at": [1]}]}, **RULES
        )
    assert not (tmp_path / "a").exists()
    run = populace.run(tmp_path / "mute.py", out=tmp_path / "b", **RULES)
    with pytest.raises(ScenarioError, match="no rule answers the purpose 'interview'"):
        populace.interview(run, 1, 1, quiet=True)
    assert not isinstance(populace.interview(run, 1, 1, model="scripted", quiet=True).ask("Well?"), Abstained)


@pytest.mark.parametrize(
    ("survey", "said"),
    [
        ({"at": [TICKS + 1]}, f"the run ends after {TICKS} ticks"),
        ({"at": []}, "before which ticks"),
        ({"at": [1], "sample": 2.0}, "as a share"),
        ({"at": [1], "sampel": 2}, "sampel"),
        ({"at": [1], "instrument": "none"}, "no instrument is called 'none'"),
    ],
)
def test_surveys_of_settings_are_checked_before_a_run_begins(tmp_path, moods, survey, said):
    with pytest.raises((SettingsError, ScenarioError), match=said):
        populace.run(FILE, out=tmp_path / "run", settings={"surveys": [{"instrument": moods, **survey}]}, **RULES)
    assert not (tmp_path / "run").exists()


def test_a_smaller_sample_asked_later_takes_nobody_out_of_a_wave(tmp_path, moods):
    run = populace.run(FILE, out=tmp_path / "run", **RULES).folder
    ids = list(range(6))
    first = populace.survey(run, moods, 2, sample=ids, name="wave", quiet=True).table()
    fewer = populace.survey(run, moods, 2, sample=ids[1:3], name="wave", quiet=True).table()
    assert sorted(set(first.agent)) == ids
    assert fewer.equals(first)
    more = populace.survey(run, moods, 2, sample=[7, 0], name="wave", quiet=True).table()
    assert sorted(set(more.agent)) == [*ids, 7]
    assert list(more.agent) == sorted(more.agent), "in the order of agents"
    assert len(more) == 7 * more.item.nunique()
