"""The asks that agents of a shard put together with those of others: columnar types', and archetypes of turns. Pure.

Both are claimed from the world, which says which shard asks; whoever asks tells what it was answered. Each is an ask of
one tick, and is shared with nobody of another.
"""

from __future__ import annotations

from collections.abc import Sequence

from populace.core.claims import Claim
from populace.core.records import Answer
from populace.kernel.events import Answered, AskModel, ClaimAsks, Claimed, Effect, HeardAnswers, TellAnswers
from populace.kernel.tick import Tick

Joint = Claimed | HeardAnswers | Answered


def to_claim(claims: list[Claim], tick: int) -> list[Effect]:
    """The effect of claims; none of none."""
    return [ClaimAsks(claims, tick)] if claims else []


def by_tick(event: Joint) -> dict[int, Joint]:
    """What has come, by the tick to which it belongs."""
    if isinstance(event, Claimed):
        return {event.tick: event}
    found: dict[int, list[Answer]] = {}
    for one in event.answers:
        found.setdefault(one.tick, []).append(one)
    return {tick: type(event)(answers) for tick, answers in found.items()}


def go_on_with(tick: Tick, event: Joint) -> list[Effect]:
    """Go on with asks of a tick: the world tells who puts them, or how they ended, or the model has answered."""
    if isinstance(event, Claimed):
        return _claimed(tick, event)
    return _heard(tick, event.answers) if isinstance(event, HeardAnswers) else _answered(tick, event.answers)


def _claimed(tick: Tick, event: Claimed) -> list[Effect]:
    asks = tick.columns.claimed(event.mine, event.of) + tick.archetypes.claimed(event.mine, event.of)
    tick.counts.asked += len(asks)
    put: list[Effect] = [AskModel(asks)] if asks else []
    return put + _heard(tick, tick.columns.take_early() + tick.archetypes.take_early())


def _heard(tick: Tick, answers: Sequence[Answer]) -> list[Effect]:
    if not answers:
        return []
    claims = to_claim(tick.columns.answer(answers, heard=True)[1], tick.number)
    _, going = tick.archetypes.answer(answers, heard=True)
    return claims + (tick.go_on_with(going) if going else [])


def _answered(tick: Tick, answers: Sequence[Answer]) -> list[Effect]:
    """Answers to what this shard asks for agents on all shards count here, and all are told."""
    known, claims = tick.columns.answer(answers, heard=False)
    more, going = tick.archetypes.answer(answers, heard=False)
    known += more
    tick.counts.settle(known)
    effects: list[Effect] = [TellAnswers([answer for answer, _ in known])] if known else []
    effects += to_claim(claims, tick.number)
    return effects + (tick.go_on_with(going) if going else [])
