"""What passes between an agent, the kernel and the model, as plain data.

`Ask` and `Look` are effects: a turn awaits them, and the kernel answers. `Answer` is what the model stack gives
back for an ask, before the agent's type is read from its text. All of them encode to MessagePack as they stand.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Iterable
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec

from populace.core.traffic import Traffic

Settled: TypeAlias = Literal["answered", "cached", "replayed", "surrogate", "abstained"]
"""How an ask ends; every ask ends in exactly one of these ways. A `surrogate` answers in the model's place."""

Reading: TypeAlias = Literal["", "extracted", "coerced"]
"""How an answer was read as its type: as it stood (''), out of a longer text, or with a label of another case or a
number written as text put right (`model.lenient`)."""

Reason: TypeAlias = Literal["refusal", "schema", "deadline", "error", "budget", "interrupted", "unrecorded"]
"""Why an ask has no answer, the word by which abstentions are counted.

- `refusal`: the model, or a filter before it, declined.
- `schema`: it answered, and what it said could not be read as the type that was asked for.
- `deadline`: no answer came in time.
- `error`: a technical failure: of the endpoint, of the way to it, of a scripted answer function.
- `budget`: the run reached a ceiling, so the ask was not put.
- `interrupted`: the run was ending, so the ask was not put, or its answer not waited for.
- `unrecorded`: a replay has no answer to it on record.

The first four say something about the model and its endpoint; the others (`UNPUT`) only how the run ended.
"""

REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
UNPUT: Final[frozenset[str]] = frozenset({"budget", "interrupted", "unrecorded"})
"""Reasons of asks that no model had its chance to answer: they say nothing about it."""

LATENCY_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper edges, in seconds, of the buckets in which model latency is counted (the last bucket is +Inf)."""


DEFAULT_ROLE: Final = "default"
"""The model role of asks that name none, in words; `Ask.model_role` is '' for it."""
EMBED_ROLE: Final = "embed"
"""The model role that `ctx.embed` asks."""
ROLE_NAME: Final = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"
"""What a model role may be called, as a pattern."""


class Message(msgspec.Struct, frozen=True):
    """A message as its receiver reads it.

    `sender` is an agent's id, or -1 for the world and for levers; `tick` is the tick it was sent in; `body` is
    what was sent, as plain data (None, bool, int, float, str, bytes, list, dict).
    """

    sender: int
    tick: int
    body: Any


class Abstained(msgspec.Struct, frozen=True):
    """What an agent gets when its ask has no usable answer; never a default in its place.

    `reason` is the word that it is counted by; `detail` says more to a person.
    """

    reason: Reason
    detail: str = ""


class Ask(msgspec.Struct, gc=False):
    """An effect: one question to the model.

    Its identity is (run's seed, `agent`, `tick`, `nth`); `key` is the content key, BLAKE2b-128 over model,
    messages, parameters and schema (`populace.agents.answers.content_key`), in which neither agent nor arm stands.
    `messages` are (role, content) pairs; `spec` is the compiled answer type. `facts` is what the prompt was made of, as
    JSON text of an object; '' where it was given as it stands. `model_role` says which model is asked, '' for the
    default one; what stands in the key is that model, and not the role. `again` is -1 for an ask of the agent's own;
    for one that it puts together with all who ask the same, how often it had so asked for the purpose in the tick. With
    `surrogate` one may answer in the model's place.
    """

    agent: int
    tick: int
    nth: int
    purpose: str
    messages: tuple[tuple[str, str], ...]
    spec: Any
    max_tokens: int
    temperature: float
    key: bytes
    facts: str = ""
    model_role: str = ""
    again: int = -1
    surrogate: bool = False
    _read: tuple[str, Any] | None = None

    def __await__(self) -> Generator[Ask, Any, Any]:
        """Hand the ask to the kernel; the value sent back is the typed answer or `Abstained`."""
        return (yield self)

    def read(self, text: str) -> Any:
        """The text as the type asked for, and kept for `take`.

        Raises what the type's reader raises: ValueError, or anything where the type is a user's own.
        """
        value = self.spec.read(text)
        self._read = (text, value)
        return value

    def take(self, text: str) -> Any:
        """The text as the type asked for: what `read` last gave for it, or else read now. Raises as `read` does."""
        kept, self._read = self._read, None
        return kept[1] if kept is not None and kept[0] == text else self.spec.read(text)


def place_in_tick(ask: Ask) -> tuple[bool, int, int]:
    """What sorts the asks of a tick: those of agents, and those of the world, which come of them, at the end."""
    return ask.agent < 0, ask.agent, ask.nth


def who(agent: int) -> str:
    """An asker, as it is told of: an agent by its id, the world, or agents of a type together."""
    return f"agent {agent}" if agent >= 0 else "the world" if agent == -1 else "agents together"


class AskAll(msgspec.Struct):
    """An effect of a part of the world: several questions at once, each `Ask` one of its own."""

    asks: list[Ask]

    def __await__(self) -> Generator[AskAll, Any, list[Any]]:
        """Hand the asks over; the value sent back has the typed answer or `Abstained` of each, in their order."""
        return (yield self) if self.asks else []


class Look(msgspec.Struct):
    """An effect: one read-only question to the world's snapshot, as of the start of the tick."""

    agent: int
    query: str
    args: dict[str, Any]

    def __await__(self) -> Generator[Look, Any, Any]:
        """Hand the look to the kernel; the value sent back is the part's answer, as plain data."""
        return (yield self)


class Answer(msgspec.Struct, omit_defaults=True, gc=False):
    """How an ask ended. `text` is what the model said (JSON where a schema was asked for), '' on abstention.

    `reason` is a `Reason` where the ask abstained, else ''; a journal of an older run may hold another word.
    `calls` counts billed model calls, repairs and retries among them. `latency_s` is wall time and stands in no
    hash. `cost_usd` is 0.0 where no price is known. `estimated_tokens` and `estimated_usd` are the parts of tokens and
    cost that are estimates from the texts' lengths, since the endpoint said nothing of what it used that can be true.

    `reasoning` is what the model thought before it answered, where the endpoint tells; no turn sees it and it stands
    in no hash. `cut` says that a text ended at its ask's `max_tokens`. `left_out` names what
    the ask holds and the endpoint does not take (temperature, seed, json_schema), with a comma between them.
    `purpose` and `model_role` are the ask's, in a journal, so that what was paid for is told by them however its run
    ends; '' in journals of older runs, and for the default role.
    """

    agent: int
    tick: int
    nth: int
    settled: Settled
    text: str = ""
    reason: str = ""
    detail: str = ""
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    latency_s: float = 0.0
    reasoning: str = ""
    cut: bool = False
    reading: Reading = ""
    estimated_tokens: int = 0
    estimated_usd: float = 0.0
    left_out: str = ""
    purpose: str = ""
    model_role: str = ""


class Position(msgspec.Struct, frozen=True):
    """A place in a journal, plain data for a checkpoint: all that stands before it has been written.

    `offset` is in bytes; `chain` is the checksum there; `records` counts this attempt's answers before it.
    """

    shard: int
    attempt: int
    segment: int
    offset: int
    chain: int
    records: int


class Purpose(msgspec.Struct):
    """What the asks of one purpose came to; `abstained` counts those without an answer, by reason."""

    asks: int = 0
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    abstained: dict[str, int] = {}

    def bill(self, answer: Answer) -> None:
        """Count what an answer cost, and not how it ended."""
        self.calls += answer.calls
        self.tokens_in += answer.tokens_in
        self.tokens_out += answer.tokens_out
        self.cost_usd += answer.cost_usd

    def add(self, other: Purpose) -> None:
        """Add another count to this one."""
        for field in _PURPOSE_SUMS:
            setattr(self, field, getattr(self, field) + getattr(other, field))
        for reason, n in other.abstained.items():
            self.abstained[reason] = self.abstained.get(reason, 0) + n

    def take(self, other: Purpose) -> None:
        """Take from this count what is a part of it."""
        for field in _PURPOSE_SUMS:
            setattr(self, field, max(0, getattr(self, field) - getattr(other, field)))
        left = {reason: n - other.abstained.get(reason, 0) for reason, n in self.abstained.items()}
        self.abstained = {reason: n for reason, n in left.items() if n > 0}


class Counts(msgspec.Struct):
    """What happened, added up: over a shard's tick, a tick, or a run.

    All are integers but `cost_usd`, `latency_s`, `surprise` and `expected`. Two sides count independently, so that a
    loss shows: senders count `sent` and receivers count the fates; turns count `asked` and the model stack's answers
    count how each ended; turns count what they `said` in rounds, and the world how many `rounds` it held, and what
    was `heard` in them or, by reason, `unheard`. `latency_s` is the sum of what `latency` counts in buckets: wall
    time, so it stands in no hash. `saved_calls` and `saved_usd` are what the calls behind replayed answers had cost
    the run that made them. `cut`, `extracted` and `coerced` count answers by `Answer.cut` and `Answer.reading`,
    `left_out` asks by what was left out of them, and `estimated_tokens` and `estimated_usd` are the sums of theirs.
    `roles` holds what `purposes` does for asks of each model role but the default one, by purpose. `born` and `left`
    count agents. `surrogate` counts answers of surrogates, `audits` the asks that the model answered beside one,
    `surprise` and `expected` are sums over these (`agents.surrogate.audit`), and `alarms` counts how often trust was
    withdrawn. `traffic` is what went to the model and the journal, where it is counted.
    """

    turns: int = 0
    turns_failed: int = 0
    sent: int = 0
    delivered: int = 0
    expired: int = 0
    refused: dict[str, int] = {}
    acted: int = 0
    applied: int = 0
    acts_refused: dict[str, int] = {}
    said: int = 0
    heard: int = 0
    unheard: dict[str, int] = {}
    rounds: int = 0
    asked: int = 0
    answered: int = 0
    cached: int = 0
    replayed: int = 0
    surrogate: int = 0
    audits: int = 0
    alarms: int = 0
    surprise: float = 0.0
    expected: float = 0.0
    abstained: dict[str, int] = {}
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    purposes: dict[str, Purpose] = {}
    latency: list[int] = []
    latency_s: float = 0.0
    saved_calls: int = 0
    saved_usd: float = 0.0
    cut: int = 0
    extracted: int = 0
    coerced: int = 0
    left_out: dict[str, int] = {}
    estimated_tokens: int = 0
    estimated_usd: float = 0.0
    roles: dict[str, dict[str, Purpose]] = {}
    born: int = 0
    left: int = 0
    traffic: Traffic | None = None

    def add(self, other: Counts) -> None:
        """Add another count to this one."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, theirs in (
            (self.refused, other.refused),
            (self.abstained, other.abstained),
            (self.acts_refused, other.acts_refused),
            (self.unheard, other.unheard),
            (self.left_out, other.left_out),
        ):
            for reason, n in theirs.items():
                mine[reason] = mine.get(reason, 0) + n
        _add_purposes(self.purposes, other.purposes)
        for role, purposes in other.roles.items():
            _add_purposes(self.roles.setdefault(role, {}), purposes)
        if other.latency:
            mine_latency = self.latency or [0] * (len(LATENCY_BUCKETS_S) + 1)
            self.latency = [a + b for a, b in zip(mine_latency, other.latency, strict=True)]
        if other.traffic is not None:
            if self.traffic is None:
                self.traffic = Traffic()
            self.traffic.add(other.traffic)

    def settle(self, answers: Iterable[tuple[Answer, str]]) -> None:
        """Count answers, each beside the purpose of its ask."""
        answered = calls = tokens_in = tokens_out = 0
        cost_usd, latency_s, purposes = self.cost_usd, self.latency_s, self.purposes
        for answer, purpose in answers:
            settled, billed = answer.settled, answer.calls
            if settled == "answered":
                answered += 1
            elif settled == "cached":
                self.cached += 1
            elif settled == "replayed":
                self.replayed += 1
            elif settled == "surrogate":
                self.surrogate += 1
            else:
                self.abstained[answer.reason] = self.abstained.get(answer.reason, 0) + 1
            total = purposes.get(purpose)
            if total is None:
                total = purposes[purpose] = Purpose()
            total.asks += 1
            if settled == "abstained":
                total.abstained[answer.reason] = total.abstained.get(answer.reason, 0) + 1
            used_in, used_out, cost = answer.tokens_in, answer.tokens_out, answer.cost_usd
            calls += billed
            tokens_in += used_in
            tokens_out += used_out
            cost_usd += cost
            total.calls += billed
            total.tokens_in += used_in
            total.tokens_out += used_out
            total.cost_usd += cost
            if billed:
                if not self.latency:
                    self.latency = [0] * (len(LATENCY_BUCKETS_S) + 1)
                took_s = answer.latency_s
                self.latency[bisect_left(LATENCY_BUCKETS_S, took_s)] += 1
                latency_s += took_s
            if answer.cut or answer.reading or answer.left_out or answer.estimated_tokens or answer.estimated_usd:
                self._settle_seldom(answer)
            if answer.model_role:
                total = self._of_role(answer.model_role, purpose)
                total.asks += 1
                if settled == "abstained":
                    total.abstained[answer.reason] = total.abstained.get(answer.reason, 0) + 1
                total.bill(answer)
        self.answered += answered
        self.calls += calls
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.cost_usd, self.latency_s = cost_usd, latency_s

    def _settle_seldom(self, answer: Answer) -> None:
        """Count what most answers have none of."""
        self.cut += answer.cut
        self.extracted += answer.reading == "extracted"
        self.coerced += answer.reading == "coerced"
        if answer.left_out:
            for name in answer.left_out.split(", "):
                self.left_out[name] = self.left_out.get(name, 0) + 1
        self.estimated_tokens += answer.estimated_tokens
        self.estimated_usd += answer.estimated_usd

    def bill(self, answer: Answer, purpose: str) -> None:
        """Count what an answer cost, and not how it ended."""
        self.calls += answer.calls
        self.tokens_in += answer.tokens_in
        self.tokens_out += answer.tokens_out
        self.cost_usd += answer.cost_usd
        self.purposes.setdefault(purpose, Purpose()).bill(answer)
        if answer.model_role:
            self._of_role(answer.model_role, purpose).bill(answer)
        self.estimated_tokens += answer.estimated_tokens
        self.estimated_usd += answer.estimated_usd

    def spend(self) -> Counts:
        """The calls, tokens and money in these counts, by purpose and role too, and nothing else."""
        roles = {role: spent for role, purposes in self.roles.items() if (spent := _spent(purposes))}
        return Counts(
            calls=self.calls, tokens_in=self.tokens_in, tokens_out=self.tokens_out, cost_usd=self.cost_usd,
            purposes=_spent(self.purposes), estimated_tokens=self.estimated_tokens, estimated_usd=self.estimated_usd,
            roles=roles,
        )  # fmt: skip

    def beyond(self, counted: Counts) -> Counts:
        """What these counts were billed more than `counted`, by purpose and role too; nothing without more calls."""
        if self.calls <= counted.calls:
            return Counts()
        more = Counts()
        for name in _BILLED:
            setattr(more, name, max(0, getattr(self, name) - getattr(counted, name)))
        more.purposes = _beyond(self.purposes, counted.purposes)
        for role, purposes in self.roles.items():
            if found := _beyond(purposes, counted.roles.get(role, {})):
                more.roles[role] = found
        return more

    def _of_role(self, role: str, purpose: str) -> Purpose:
        return self.roles.setdefault(role, {}).setdefault(purpose, Purpose())

    def by_role(self) -> dict[str, dict[str, Purpose]]:
        """What `purposes` holds, by model role, the default one first; empty where no ask named another role."""
        if not self.roles:
            return {}
        rest: dict[str, Purpose] = {}
        for name, whole in self.purposes.items():
            left = Purpose()
            left.add(whole)
            for purposes in self.roles.values():
                if name in purposes:
                    left.take(purposes[name])
            if left.asks or left.calls:
                rest[name] = left
        return {DEFAULT_ROLE: rest, **{role: self.roles[role] for role in sorted(self.roles)}}

    @property
    def interactions(self) -> int:
        """Messages that were delivered and actions that were applied."""
        return self.delivered + self.applied

    def imbalance(self) -> list[str]:
        """What does not add up, as sentences; empty when every ask and every message is accounted for.

        Valid at the end of a run, when what was sent last has been marked expired.
        """
        wrong = []
        settled = self.answered + self.cached + self.replayed + self.surrogate + sum(self.abstained.values())
        if self.asked != settled:
            wrong.append(f"{self.asked} asks were made and {settled} ended")
        fates = self.delivered + self.expired + sum(self.refused.values())
        if self.sent != fates:
            wrong.append(f"{self.sent} messages were sent and {fates} were delivered, expired or refused")
        acted = self.applied + sum(self.acts_refused.values())
        if self.acted != acted:
            wrong.append(f"{self.acted} actions were taken and {acted} were applied or refused")
        taken = self.heard + sum(self.unheard.values())
        if self.said != taken:
            wrong.append(f"{self.said} contributions to rounds were made and {taken} were heard or refused")
        return wrong


def _add_purposes(mine: dict[str, Purpose], theirs: dict[str, Purpose]) -> None:
    for name, purpose in theirs.items():
        mine.setdefault(name, Purpose()).add(purpose)


def _spent(purposes: dict[str, Purpose]) -> dict[str, Purpose]:
    """Calls, tokens and money by purpose, where there are any calls."""
    return {
        name: Purpose(0, one.calls, one.tokens_in, one.tokens_out, one.cost_usd)
        for name, one in purposes.items()
        if one.calls
    }


def _beyond(purposes: dict[str, Purpose], counted: dict[str, Purpose]) -> dict[str, Purpose]:
    """What was billed more than is counted, by purpose."""
    more = {}
    for name, one in purposes.items():
        less = counted.get(name, Purpose())
        if one.calls > less.calls:
            tokens = max(0, one.tokens_in - less.tokens_in), max(0, one.tokens_out - less.tokens_out)
            more[name] = Purpose(0, one.calls - less.calls, *tokens, max(0.0, one.cost_usd - less.cost_usd))
    return more


def _sums(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(field.name for field in msgspec.structs.fields(kind) if field.type in (int, float))


_SUMS: Final = _sums(Counts)
_BILLED: Final = ("calls", "tokens_in", "tokens_out", "cost_usd", "estimated_tokens", "estimated_usd")
_PURPOSE_SUMS: Final = _sums(Purpose)
