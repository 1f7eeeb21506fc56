"""Surrogates as they stand in for the model in a tick of a shard: what they answer, and learn from. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from populace.agents.answers import Chosen
from populace.agents.surrogate.logit import Logit
from populace.agents.surrogate.policy import UNIT, Observed
from populace.agents.surrogate.table import Table
from populace.core.draws import Stream
from populace.core.records import Answer, Ask
from populace.core.roster import Roster

_to_json: Final = msgspec.json.Encoder(order="deterministic").encode
_from_json: Final = msgspec.json.decode


class Standing(msgspec.Struct, frozen=True):
    """What shards are told of surrogates before a tick: the fits that are trusted, by type and purpose.

    `audit` is the share of asks that go to the model all the same.
    """

    audit: float = 0.0
    fits: dict[str, dict[str, Table | Logit]] = {}


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Standing).decode


def pack_standing(standing: Standing) -> bytes:
    """What is told as it travels with an edge; nothing where nothing is trusted."""
    return _encode(standing) if standing.fits else b""


def unpack_standing(packed: bytes) -> Standing:
    """What `pack_standing` packed."""
    return _decode(packed) if packed else Standing()


class Learnt(msgspec.Struct):
    """What a shard's tick has to tell of the asks of one type and purpose.

    How many the surrogate has `answered`, and what the model was asked and answered.
    """

    type: str
    purpose: str
    answered: int = 0
    observed: list[Observed] = []


class StandIns:
    """The surrogates of a shard in a tick."""

    def __init__(self, seed: int, roster: Roster | None, standing: Standing) -> None:
        self._seed = seed
        self._roster = roster
        self._standing = standing
        self._audited: set[tuple[int, int]] = set()
        self._learnt: dict[tuple[str, str], Learnt] = {}

    @property
    def learnt(self) -> list[Learnt]:
        """What there is to tell, by type and purpose."""
        return [self._learnt[key] for key in sorted(self._learnt)]

    def take(self, ask: Ask) -> tuple[Answer, Any] | None:
        """The surrogate's answer and its value; None where the model is to be asked."""
        if not ask.facts:
            return None
        fit = self._standing.fits.get(self._type_of(ask), {}).get(ask.purpose)
        q = None if fit is None else fit.predict(ask.facts)
        if q is None:
            return None
        if self._draw(ask, "audit").random() < self._standing.audit:
            self._audited.add((ask.agent, ask.nth))
            return None
        category = _drawn(q, self._draw(ask, "answer").random())
        text = _to_json(Chosen(category, q)).decode() if ask.spec.kind == "choice" else category
        try:
            value = ask.spec.read(text)
        except Exception:  # noqa: BLE001  # an ask of another type than those that it was fitted to
            return None
        self._of(ask).answered += 1
        return Answer(ask.agent, ask.tick, ask.nth, "surrogate", text, model_role=ask.model_role), value

    def told(self, ask: Ask, answer: Answer, value: Any) -> None:
        """The model has answered an ask that a surrogate might have answered."""
        if answer.settled == "abstained" or not ask.facts:
            return
        audited = (ask.agent, ask.nth) in self._audited
        self._of(ask).observed.append(Observed(ask.agent, ask.nth, ask.facts, shares_of(ask, answer, value), audited))

    def _of(self, ask: Ask) -> Learnt:
        key = self._type_of(ask), ask.purpose
        found = self._learnt.get(key)
        if found is None:
            found = self._learnt[key] = Learnt(*key)
        return found

    def _type_of(self, ask: Ask) -> str:
        return "" if self._roster is None else self._roster.type_of(ask.agent)

    def _draw(self, ask: Ask, what: str) -> Stream:
        return Stream(self._seed, ask.agent, ask.tick, f"populace.surrogate/{what}/{ask.nth}")


def shares_of(ask: Ask, answer: Answer, value: Any) -> dict[str, int]:
    """What an answer says of each category, out of `UNIT`: a label's share, or all of it for one text."""
    if ask.spec.kind == "choice":
        told = {label: p for label, p in (value.probabilities or {}).items() if p > 0.0 and label in ask.spec.labels}
        total = sum(told[label] for label in sorted(told))
        if total <= 0.0:
            return {value.label: UNIT}
        return {label: share for label in sorted(told) if (share := round(told[label] / total * UNIT))}
    if ask.spec.kind == "json":
        return {_to_json(_from_json(answer.text)).decode(): UNIT}
    return {answer.text: UNIT}


def _drawn(q: dict[str, float], mark: float) -> str:
    """The category at this place, 0 to 1, among all."""
    total, last = 0.0, ""
    for category, share in q.items():
        total += share
        last = category if share > 0.0 else last
        if mark < total:
            return category
    return last
