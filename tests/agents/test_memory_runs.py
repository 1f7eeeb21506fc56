"""Memories as part of a run: exact over shards, resume, replay and fork; what is asked, and what abstentions leave."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support import rememberers
from support.misbehaving import Misbehaving
from support.running import run_local

from populace.agents.mind import ranking
from populace.agents.mind.reflecting import Insights, Questions
from populace.core.records import Abstained
from populace.mind import Memory, memory_rules
from populace.runs.courses import replay_course
from populace.runs.replay import replay_run
from populace.testing import InvariantBroken, check_society


@pytest.mark.parametrize("model", ["scripted", "rules"])
def test_a_society_that_goes_by_its_memories_is_one_run(model):
    checked = check_society("tests/support/rememberers.py", model=model, shards=(1, 3))
    assert checked.asks > 7 * 8


def test_control_a_memory_kept_elsewhere_is_seen(tmp_path):
    source = Path(rememberers.__file__).read_text(encoding="utf-8")
    elsewhere = source.replace("class Rememberer(", "KEPT: dict = {}\n\n\nclass Rememberer(").replace(
        "        draw = ctx.draw(",
        "        self.memory = KEPT.setdefault(ctx.id, Memory(max_entries=9))\n        draw = ctx.draw(",
        1,
    )
    assert elsewhere.count("KEPT") == 2
    path = tmp_path / "elsewhere.py"
    path.write_text(elsewhere, encoding="utf-8")
    with pytest.raises(InvariantBroken, match="resume"):
        check_society(str(path), model="rules", shards=(1,))


@pytest.fixture
def embedded(tmp_path):
    """A finished run whose memories were embedded by a server, and that server, which has forgotten who asked."""
    with Misbehaving(models=("talker", "embedder")) as server:
        roles = {"embed": {"name": "embedder"}}
        model = {"model__kind": "openai", "model__name": "talker", "model__roles": roles}
        run = tmp_path / "run"
        manifest = run_local(run, str(rememberers.__file__), endpoint__base_url=server.base_url, **model)
        assert manifest["asks"]["by_role"]["embed"]["memory_embed"]["calls"] == 7 * 8
        assert server.billed.calls > 0
        server.billed.calls = 0
        yield run, server


def test_what_is_recalled_by_embeddings_is_replayed_without_a_call(embedded, tmp_path):
    run, server = embedded
    assert replay_run(replay_course(run, shards=2), run, tmp_path / "again").diverged is None
    assert server.billed.calls == 0


def test_control_vectors_kept_otherwise_recall_otherwise_and_are_found_out(embedded, tmp_path, monkeypatch):
    right = ranking.quantise
    monkeypatch.setattr(ranking, "quantise", lambda vectors: right(np.abs(vectors)))
    run, server = embedded
    assert replay_run(replay_course(run), run, tmp_path / "again").diverged is not None
    assert server.billed.calls == 0


class Answering:
    """A context whose answers are given."""

    def __init__(self, answers=(), vectors=()):
        self.tick, self.asked, self.answers, self.vectors = 5, [], list(answers), list(vectors)

    async def ask(self, prompt, answer=str, *, purpose, facts, model_role):
        self.asked.append((purpose, facts))
        return self.answers.pop(0)

    async def embed(self, texts, *, purpose, model_role):
        self.asked.append((purpose, list(texts)))
        return self.vectors.pop(0)


def noted() -> Memory:
    memory = Memory()
    for tick, text in enumerate(["Ada sang", "Ben fell", "Cleo left for good"]):
        memory.note(tick, text, 3.0 * (tick + 1))
    return memory


def test_reflection_notes_insights_and_begins_a_new_sum():
    memory = noted()
    assert memory.reflection_due(18.0)
    ctx = Answering(
        [Questions(["Who left?", "Who sang?"]), Insights(["I miss Cleo", " "], 40.0), Insights(["I miss Cleo"], 1)]
    )
    assert asyncio.run(memory.reflect(ctx, who="You are Dan.", questions=2)) == ["I miss Cleo"]
    assert [purpose for purpose, _ in ctx.asked] == ["memory_questions", "memory_insights", "memory_insights"]
    assert "Cleo left for good" in str(ctx.asked[1])
    assert memory.unreflected == 0.0
    (one,) = memory.retrieve(6, kinds=["reflection"])
    assert (one.text, one.importance) == ("I miss Cleo", 10.0)


def test_an_abstention_leaves_the_sum_as_it_was():
    memory, gone = noted(), Abstained("none")
    assert asyncio.run(memory.reflect(Answering([gone]))) is gone
    assert asyncio.run(memory.reflect(Answering([Questions(["Who?"]), gone]))) is gone
    assert asyncio.run(memory.summarise(Answering([gone]))) is gone
    assert (memory.unreflected, len(memory)) == (18.0, 3)


def test_a_summary_takes_the_place_of_the_oldest():
    memory = noted()
    assert asyncio.run(memory.summarise(Answering(["Ada sang and Ben fell"]), 2)) == "Ada sang and Ben fell"
    assert memory.texts == ["Cleo left for good", "Ada sang and Ben fell"]
    assert memory.importances() == [9.0, 6.0]
    assert asyncio.run(memory.summarise(Answering(), 2)) == ""


def test_each_memory_is_embedded_once_and_the_text_index_stands_in():
    memory = noted()
    memory.recency_weight = memory.importance_weight = 0.0
    ctx = Answering(
        vectors=[np.eye(4, dtype=np.float32)[[1, 0, 1, 2]], np.eye(4, dtype=np.float32)[[3, 3]], Abstained("off")]
    )
    assert asyncio.run(memory.recall(ctx, "who fell?", 1))[0].text == "Ben fell"
    memory.note(5, "Dan came")
    assert asyncio.run(memory.recall(ctx, "who came?", 1))[0].text == "Dan came"
    assert [len(texts) for _, texts in ctx.asked] == [4, 2]
    assert asyncio.run(memory.recall(ctx, "Ada", 1))[0].text == "Ada sang"
    other = Answering(vectors=[np.ones((1, 9), np.float32)])
    assert asyncio.run(memory.recall(other, "Cleo", 1))[0].text == "Cleo left for good"


def test_importance_is_asked_for_and_clipped():
    answer = SimpleNamespace(importance=float("nan"))
    assert asyncio.run(noted().rate(Answering([answer]), "tea")) == 1.0


def test_the_rules_answer_from_the_texts():
    rules = memory_rules()
    asked = rules["memory_questions"]({"memories": ["Ada sang loudly"], "questions": 1}, None)
    assert asked == Questions(["What about loudly?"])
    found = [{"text": "a", "importance": 1.0}, {"text": "What stays with me: b", "importance": 2.0}]
    assert rules["memory_insights"]({"memories": found}, None) == Insights(["What stays with me: b"], 2.0)
    assert rules["memory_summary"]({"memories": list("abcd")}, None) == "a / b / c / d"
