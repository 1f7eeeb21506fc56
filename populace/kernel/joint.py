"""The asks that agents of a shard put together with those of others: columnar types', and archetypes of turns. Pure.

Both are claimed from the world, which says which shard asks; whoever asks tells what it was answered.
"""

from __future__ import annotations

from collections.abc import Sequence

from populace.core.claims import Claim
from populace.core.draws import WORLD
from populace.core.records import Answer
from populace.kernel.columnar import ColumnarTypes
from populace.kernel.events import Answered, AskModel, ClaimAsks, Claimed, Effect, HeardAnswers, TellAnswers
from populace.kernel.tick import Tick


def to_claim(claims: list[Claim]) -> list[Effect]:
    """The effect of claims; none of none."""
    return [ClaimAsks(claims)] if claims else []


def share(columnar: ColumnarTypes, tick: Tick, event: Claimed | HeardAnswers) -> list[Effect]:
    """Go on with asks of which the world tells who puts them, or how they ended."""
    if isinstance(event, HeardAnswers):
        return _heard(columnar, tick, event.answers)
    asks = columnar.claimed(event.mine, event.of) + tick.archetypes.claimed(event.mine, event.of)
    tick.counts.asked += len(asks)
    put: list[Effect] = [AskModel(asks)] if asks else []
    return put + _heard(columnar, tick, columnar.take_early() + tick.archetypes.take_early())


def _heard(columnar: ColumnarTypes, tick: Tick, answers: Sequence[Answer]) -> list[Effect]:
    if not answers:
        return []
    claims = to_claim(columnar.answer(answers, heard=True)[1])
    _, going = tick.archetypes.answer(answers, heard=True)
    return claims + (tick.go_on_with(going) if going else [])


def answered(columnar: ColumnarTypes, tick: Tick, answers: Sequence[Answer]) -> list[Effect]:
    """Take answers: those to what this shard asks for agents on all shards count here, and all are told."""
    joint = [one for one in answers if one.agent < WORLD and one.tick == tick.number]
    own = [one for one in answers if one.agent >= WORLD]
    known, claims = columnar.answer(joint, heard=False)
    more, going = tick.archetypes.answer(joint, heard=False)
    known += more
    tick.counts.settle(known)
    effects: list[Effect] = [TellAnswers([answer for answer, _ in known])] if known else []
    effects += to_claim(claims)
    if going:
        effects += tick.go_on_with(going)
    return effects + (tick.handle(Answered(own)) if own else [])
