"""What a memory asks the model for: importance, reflections, summaries, embeddings; and rules that answer these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from populace.agents.mind.ranking import words_of
from populace.core.records import Abstained

if TYPE_CHECKING:
    from populace.agents.context import Context
    from populace.agents.mind.memory import Memory, Recalled


class Importance(msgspec.Struct):
    """How important a memory is, 1 (mundane, brushing teeth) to 10 (a turning point)."""

    importance: float


class Questions(msgspec.Struct):
    """The most salient questions that one may answer from memories."""

    questions: list[str]


class Insights(msgspec.Struct):
    """What follows from memories, a sentence each, and how important that is (1 to 10)."""

    insights: list[str]
    importance: float


_RATE: Final = (
    "On a scale of 1 to 10, where 1 is purely mundane (brushing teeth, making the bed) and 10 is extremely poignant (a "
    "break-up, a college acceptance), how important is this memory?\n\n{memory}"
)
_QUESTIONS: Final = (
    "{who}\n\nWhat happened lately:\n{memories}\n\nGiven only this, what are the {questions} most salient high-level "
    "questions we can answer about it?"
)
_INSIGHTS: Final = (
    "{who}\n\nMemories:\n{memories}\n\nThe question: {question}\n\nWhat {insights} high-level insights can you infer "
    "from these memories?"
)
_MIND: Final = "What stays with me: "
_SUMMARY: Final = "Sum up these memories, oldest first, in a few sentences:\n{memories}"


async def rate(ctx: Context, text: str, model_role: str) -> float | Abstained:
    """See `Memory.rate`."""
    answer = await ctx.ask(
        _RATE, Importance, facts={"memory": text}, purpose="memory_importance", model_role=model_role
    )
    return answer if isinstance(answer, Abstained) else _clipped(answer.importance)


async def recall(memory: Memory, ctx: Context, query: str, k: int, model_role: str) -> list[Recalled]:
    """See `Memory.recall`."""
    if not memory.texts:
        return []
    missing = memory.without_vectors()
    texts = [query, *(memory.texts[at] for at in missing)]
    vectors = await ctx.embed(texts, purpose="memory_embed", model_role=model_role)
    if isinstance(vectors, Abstained) or (memory.dimension and vectors.shape[1] != memory.dimension):
        return memory.retrieve(ctx.tick, query, k)
    if missing:
        memory.put_vectors(missing, vectors[1:])
    return memory.retrieve(ctx.tick, query, k, vector=vectors[0])


async def reflect(
    memory: Memory, ctx: Context, who: str, questions: int, insights: int, recent: int, model_role: str
) -> list[str] | Abstained:
    """See `Memory.reflect`."""
    lately = memory.recent(recent)
    if not lately:
        return []
    asked = await ctx.ask(
        _QUESTIONS, Questions, purpose="memory_questions", model_role=model_role,
        facts={"who": who, "memories": lately, "questions": questions},
    )  # fmt: skip
    if isinstance(asked, Abstained):
        return asked
    noted: list[str] = []
    for question in asked.questions[:questions]:
        found = memory.retrieve(ctx.tick, question, 20)
        answer = await ctx.ask(
            _INSIGHTS, Insights, purpose="memory_insights", model_role=model_role,
            facts={
                "who": who, "question": question, "insights": insights,
                "memories": [{"text": one.text, "importance": one.importance} for one in found],
            },
        )  # fmt: skip
        if isinstance(answer, Abstained):
            return answer
        for text in answer.insights[:insights]:
            if text.strip() and text not in memory.texts:
                memory.note(ctx.tick, text, _clipped(answer.importance), kind="reflection")
                noted.append(text)
    memory.unreflected = 0.0
    return noted


async def summarise(memory: Memory, ctx: Context, oldest: int, model_role: str) -> str | Abstained:
    """See `Memory.summarise`."""
    events = memory.events(oldest)
    if len(events) < 2:
        return ""
    texts = [memory.texts[at] for at in events]
    answer: str | Abstained = await ctx.ask(
        _SUMMARY, str, facts={"memories": texts}, purpose="memory_summary", model_role=model_role
    )
    if isinstance(answer, Abstained):
        return answer
    if not answer.strip():
        return ""
    importances = memory.importances()
    importance = max(importances[at] for at in events)
    memory.drop(events)
    memory.note(ctx.tick, answer, importance, kind="summary")
    return answer


def _clipped(importance: float) -> float:
    return min(max(float(importance), 1.0), 10.0) if importance == importance else 1.0


def memory_rules() -> Mapping[str, Callable[[Mapping[str, Any], Any], Any]]:
    """Rules for what a memory asks, `Society(rules={..., **memory_rules()})`: they pick from the text and add nothing.

    A memory is as important as it has words, a word a tenth of a point over 1; the questions name the longest words;
    an insight is the most important memory again; a summary is the first and the last two. They stand in for a
    model so that a society runs without one, and are no theory of remembering.
    """
    return {
        "memory_importance": lambda facts, _: Importance(_clipped(1.0 + len(words_of(facts["memory"])) / 10.0)),
        "memory_questions": lambda facts, _: Questions(_longest(facts["memories"], facts["questions"])),
        "memory_insights": lambda facts, _: _insight(facts["memories"]),
        "memory_summary": lambda facts, _: " / ".join(dict.fromkeys([*facts["memories"][:2], *facts["memories"][-2:]])),
    }


def _longest(texts: list[str], n: int) -> list[str]:
    words = sorted({word for text in texts for word in words_of(text)}, key=lambda word: (-len(word), word))
    return [f"What about {word}?" for word in words[:n]]


def _insight(found: list[Mapping[str, Any]]) -> Insights:
    top = max(found, key=lambda one: one["importance"])
    text = top["text"].removeprefix(_MIND)
    return Insights([_MIND + text], top["importance"])
