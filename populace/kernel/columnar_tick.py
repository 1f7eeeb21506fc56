"""The turns that the columnar types of a shard take in a tick, and what these come to. Pure.

A turn of a coroutine agent has a digest of its own; the turns of a columnar type have one for all of them, a sum over
rows (`env.digest`): a row for each agent with its public fields, each message and each action. Sums of shards add up to
the same on any number of shards, at the price of some 40 ns an agent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.agents.columnar_context import ColumnarContext, Letters, Sent
from populace.agents.context import Scope
from populace.core.claims import Claim
from populace.core.errors import ScenarioError, TransportError
from populace.core.records import Answer, Ask
from populace.core.roster import Roster
from populace.core.trace import DIGEST_BYTES
from populace.env.acts import Acts
from populace.env.digest import RowDigests
from populace.kernel.bus import Mail, Outgoing
from populace.kernel.column_turns import Columns, Identity, Turns, Type

Int32 = NDArray[np.int32]
_NONE: Final = np.empty(0, np.int32)
_encode: Final = msgspec.msgpack.Encoder().encode
_NTH: Final = np.int64(2**32)

KeepTo = Callable[[Int32, Int32], None]
"""Raises OutsideInfluence for senders and receivers of messages beyond what a society declares."""


class Whole(msgspec.Struct, frozen=True):
    """What the turns of a columnar type came to on a shard: its actions, and the public fields that changed.

    `fields` has columns of `agents` (int32, sorted).
    """

    agents: Int32
    fields: dict[str, NDArray[Any]]
    acts: list[Acts]


class Taken(msgspec.Struct, frozen=True):
    """The turns of all columnar types of a shard in a tick.

    `sums` has, by type, how many turns there were, and their digest, 16 bytes; `sent` are their messages, in the order
    (sender, nth); `wakes` are ticks with those who want to be due then; `acted` counts actions.
    """

    turns: int
    whole: dict[str, Whole]
    sums: dict[str, tuple[int, bytes]]
    sent: Outgoing
    wakes: list[tuple[int, Int32]]
    acted: int


class Came(msgspec.Struct, frozen=True):
    """What the turns of one columnar type came to: `sent` are its messages, in the order (sender, nth)."""

    turns: int
    digest: bytes
    whole: Whole | None
    sent: Outgoing
    wakes: list[tuple[int, Int32]]

    def shown(self, mask: NDArray[np.bool_] | None) -> list[tuple[int, dict[str, Any]]]:
        """The public fields that changed of those agents that `mask`, a value for each there is, has."""
        if mask is None or self.whole is None or not len(self.whole.agents):
            return []
        rows = np.flatnonzero(mask[self.whole.agents])
        columns = [column[rows].tolist() for column in self.whole.fields.values()]
        fields = [dict(zip(self.whole.fields, values, strict=True)) for values in zip(*columns, strict=True)]
        return list(zip(self.whole.agents[rows].tolist(), fields, strict=True))


class ColumnarTick:
    """The turns of columnar types in a tick. What they hold changes as the turns of their type have ended.

    Turns of a type may begin before the tick is open (`begin_early`, see `kernel.ahead_columns`): what they raise is
    raised once it is, since nobody knows before that it will be.
    """

    def __init__(self, types: Mapping[str, Type], roster: Roster, scope: Scope, keep_to: KeepTo | None = None) -> None:
        self._types = types
        self._roster = roster
        self._scope = scope
        self._keep_to = keep_to
        self._due: dict[str, Int32] = {}
        self._mail: Mail | None = None
        self._letters: dict[str, Letters] = {}
        """By type that began early, with what mail."""
        self._turns: dict[str, Turns] = {}
        self._came: dict[str, Came] = {}
        self._fresh: list[str] = []
        self._failed: ScenarioError | None = None
        self._unclaimed: dict[Identity, str] = {}
        """Asks of which nobody has said who puts them, with the type."""
        self._elsewhere: dict[Identity, str] = {}
        """Those that another shard has put, and that wait for its answer."""
        self._own: dict[Identity, str] = {}
        self._early: list[Answer] = []
        """Answers of other shards that came before it was said who asks."""

    def __bool__(self) -> bool:
        return bool(self._types)

    @property
    def ended(self) -> bool:
        """Whether all turns of the tick have been taken."""
        return len(self._came) == len(self._types)

    @property
    def sharing(self) -> bool:
        """Whether turns wait for answers to what another shard asks."""
        return bool(self._elsewhere)

    @property
    def due(self) -> Int32:
        """Those who take a turn in the tick, sorted, once it is open."""
        if len(self._due) == 1:
            return next(iter(self._due.values()))
        return np.sort(np.concatenate([_NONE, *self._due.values()]))

    @property
    def turns_due(self) -> int:
        """How many take a turn in the tick."""
        return sum(map(len, self._due.values()))

    def open(self, mail: Mail, timers: Int32) -> None:
        """The tick opens, with this mail; `timers` are those whose timers fire, who live.

        Raises TransportError where turns have begun otherwise than they would now, and what they raised.
        """
        called = np.concatenate((mail.receivers, timers))
        types = self._roster.types_of(called)
        self._mail = mail
        for name, one in self._types.items():
            due = one.due(self._scope, called[types == self._roster.names.index(name)])
            if name in self._due:
                self._check(name, due, mail)
            self._due[name] = due
        if self._failed is not None:
            raise self._failed

    def _check(self, name: str, due: Int32, mail: Mail) -> None:
        if not np.array_equal(due, self._due[name]) or not alike(self._letters[name], _letters(mail, due)):
            raise TransportError(
                f"tick {self._scope.tick}: the turns of '{name}' began before it could be known what they were to "
                "read. That is a bug in populace: please report it. The run can go on with "
                "`--set limits.ticks_ahead=0`."
            )

    def take(self, seen: Mapping[str, Any]) -> list[Claim]:
        """Take the turns of the types that have not begun; `seen` are columns aligned with `due`.

        Gives what they want asked first. Raises ScenarioError, naming class and place, for `turns` that fail.
        """
        mail, claims = self._mail, list[Claim]()
        if mail is None:
            return []
        everyone = self.due
        for name, due in self._due.items():
            if name in self._turns or name in self._came:
                continue
            shown = seen
            if seen and len(due) < len(everyone):
                rows = np.searchsorted(everyone, due)
                shown = {key: _rows_of(column, rows) for key, column in seen.items()}
            claims += self._begin(name, due, shown, _letters(mail, due) if len(due) else None)
        return claims

    def begin_early(self, name: str, called: Int32, mail: Mail) -> list[Claim]:
        """Begin the turns of a type before the tick is open, with its mail; gives what is to be asked.

        Those of its agents that are `called` have mail, or a timer fires. That this is what they would be given once it
        is open, is checked then.
        """
        due = self._due[name] = self._types[name].due(self._scope, called)
        letters = self._letters[name] = _letters(mail, due)
        try:
            return self._begin(name, due, {}, letters)
        except ScenarioError as error:
            self._failed = error
            return []

    def _begin(self, name: str, due: Int32, shown: Mapping[str, Any], letters: Letters | None) -> list[Claim]:
        if letters is None or not len(due):
            self._came[name] = Came(0, bytes(DIGEST_BYTES), None, _gather(self._scope.tick, []), [])
            self._fresh.append(name)
            return []
        ctx = ColumnarContext(self._scope, due, shown, letters, name, self._keep_to)
        turns = self._turns[name] = Turns(name, self._types[name], ctx)
        return self._went_on(name, turns.begin())

    def _went_on(self, name: str, claims: list[Claim]) -> list[Claim]:
        """The turns of a type have gone on, and want this asked."""
        self._unclaimed.update(((one.agent, one.nth), one.type) for one in claims)
        turns = self._turns[name]
        if turns.columns is not None:
            del self._turns[name]
            self._came[name] = self._put_down(name, self._types[name], turns.ctx, turns.columns)
            self._fresh.append(name)
        return claims

    def _put_down(self, name: str, one: Type, ctx: ColumnarContext, columns: Columns) -> Came:
        digest = _digest(name, one, ctx, columns)
        agents, fields = _changed(one, ctx.ids, columns)
        one.put(self._scope.tick, ctx.ids, columns)
        whole = Whole(agents, fields, ctx.acts)
        return Came(len(ctx.ids), digest, whole, _gather(self._scope.tick, ctx.sent), ctx.wakes)

    def take_ended(self) -> list[tuple[str, Came]]:
        """The types whose turns have ended since the last time, and what these came to."""
        fresh, self._fresh = self._fresh, []
        return [(name, self._came[name]) for name in fresh]

    def claimed(self, mine: Sequence[Identity], of: Sequence[Identity]) -> list[Ask]:
        """Of what was claimed, `of`, all is asked elsewhere but for `mine`; gives these. Twice changes nothing."""
        asks: list[Ask] = []
        for identity in of:
            name = self._unclaimed.pop(identity, None)
            if name is None:
                continue
            if identity not in mine:
                self._elsewhere[identity] = name
                continue
            self._own[identity] = name
            ask = self._turns[name].wanted(*identity)
            assert ask is not None
            asks.append(ask)
        return asks

    def take_early(self) -> list[Answer]:
        """Answers that were heard before it was said who asks."""
        early, self._early = self._early, []
        return early

    def answer(self, answers: Sequence[Answer], *, heard: bool) -> tuple[list[tuple[Answer, str]], list[Claim]]:
        """Answers to what this shard asked, or with `heard` to what another did.

        Gives those that were waited for, as they count, each with its purpose, and what is to be asked then.
        """
        known: list[tuple[Answer, str]] = []
        claims: list[Claim] = []
        waiting = self._elsewhere if heard else self._own
        if heard:
            self._early += [one for one in answers if (one.agent, one.nth) in self._unclaimed]
        for answer in answers:
            name = waiting.pop((answer.agent, answer.nth), None)
            if name is not None:
                ask = self._turns[name].wanted(answer.agent, answer.nth)
                assert ask is not None
                read, more = self._answered(name, answer)
                known.append((read, ask.purpose))
                claims += more
        return known, claims

    def _answered(self, name: str, answer: Answer) -> tuple[Answer, list[Claim]]:
        turns = self._turns[name]
        read = turns.take(answer)
        try:
            return read, self._went_on(name, turns.go_on())
        except ScenarioError as error:
            if self._mail is not None:
                raise
            self._failed = error
            return read, []

    def drop(self) -> None:
        """End the turns that wait; nothing is committed."""
        for turns in self._turns.values():
            turns.close()
        self._turns, self._mail = {}, None
        self._unclaimed, self._elsewhere, self._own, self._early = {}, {}, {}, []

    def commit(self) -> Taken:
        """What all turns came to, once they have ended."""
        every = [(name, self._came[name]) for name in self._types]
        whole = {name: came.whole for name, came in every if came.whole is not None}
        acted = sum(len(act) for one in whole.values() for act in one.acts)
        sent = _together(self._scope.tick, [came.sent for _, came in every if len(came.sent.sender)])
        return Taken(
            sum(came.turns for _, came in every),
            whole,
            {name: (came.turns, came.digest) for name, came in every},
            sent,
            [wake for _, came in every for wake in came.wakes],
            acted,
        )


def alike(one: Letters, other: Letters) -> bool:
    """Whether two inboxes of columnar agents are the same, to their bytes."""
    same = np.array_equal(one.receiver, other.receiver) and np.array_equal(one.sender, other.sender)
    return same and one.packed() == other.packed()


def _together(tick: int, sent: Sequence[Outgoing]) -> Outgoing:
    if len(sent) < 2:
        return sent[0] if sent else _gather(tick, [])
    return _in_order(Outgoing(tick, *_joined(sent), [body for one in sent for body in one.bodies]))


def merge(one: Outgoing, other: Outgoing) -> Outgoing:
    """What coroutine agents and columnar ones sent, in the order (sender, nth)."""
    return _together(one.tick, [one, other]) if len(other.sender) else one


def _in_order(out: Outgoing) -> Outgoing:
    order = np.lexsort((out.nth, out.sender))
    if (np.diff(order) > 0).all():
        return out
    bodies = [out.bodies[at] for at in order.tolist()]
    return Outgoing(out.tick, out.sender[order], out.receiver[order], out.nth[order], bodies)


def _gather(tick: int, sent: Sequence[Sent]) -> Outgoing:
    if not sent:
        return Outgoing(tick, _NONE, _NONE, _NONE, [])
    return _in_order(Outgoing(tick, *_joined(sent), [body for one in sent for body in one.packed()]))


def _joined(sent: Sequence[Outgoing] | Sequence[Sent]) -> tuple[Int32, Int32, Int32]:
    """Senders, receivers and numbers of messages, one after another."""
    sender, receiver, nth = (
        np.concatenate([getattr(one, name) for one in sent]) for name in ("sender", "receiver", "nth")
    )
    return sender, receiver, nth


def _letters(mail: Mail, due: Int32) -> Letters:
    """The mail of these agents."""
    order = mail.order if len(due) else mail.order[:0]
    receiver = mail.receiver[order]
    if len(order):
        at = np.minimum(np.searchsorted(due, receiver), len(due) - 1)
        mine = due[at] == receiver
        if not mine.all():
            order, receiver = order[mine], receiver[mine]
    return Letters(due, receiver, mail.sender[order], lambda: mail.bodies(order))


def _changed(one: Type, ids: Int32, columns: Columns) -> tuple[Int32, Columns]:
    """Who of these has other public fields than before, and those fields."""
    rows = one.rows_of(ids)
    changed = np.zeros(len(ids), np.bool_)
    for name in one.public:
        was = one.columns[name] if rows is None else one.columns[name][rows]
        changed |= was.view(np.uint8 if was.dtype == bool else np.int64) != columns[name].view(
            np.uint8 if was.dtype == bool else np.int64
        )
    if not changed.any():
        return _NONE, {}
    return ids[changed], {name: columns[name][changed] for name in one.public}


def _digest(name: str, one: Type, ctx: ColumnarContext, columns: Columns) -> bytes:
    """16 bytes over the turns of a type: a sum of rows, those of agents, of messages and of actions."""
    if one.public:
        total = np.zeros(2, np.uint64)
        _add(total, f"turns\0{name}", ctx.ids, {field: columns[field] for field in one.public})
    else:
        total = one.took_turns(name, ctx.ids)
    for ask in ctx.asked:
        rows = np.flatnonzero(ask.archetype >= 0)
        marks = np.array([(one.agent << 20) | one.nth for one in ask.asks], np.int64)[ask.archetype[rows]]
        _add(total, "asked", ctx.ids[rows], {"ask": marks})
    for act in ctx.acts:
        same = _encode(sorted(act.same.items())).hex()
        _add(total, f"acts\0{act.kind}\0{same}", _numbered(act.agents, act.nth), act.columns)
    for sent in ctx.sent:
        index = _numbered(sent.sender, sent.nth)
        if isinstance(sent.body, bytes):
            _add(total, f"sent\0{sent.body.hex()}", index, {"to": sent.receiver})
        elif isinstance(sent.body, np.ndarray):
            _add(total, f"sent\0{sent.body.dtype.kind}", index, {"to": sent.receiver, "body": sent.body})
        else:
            bodies = np.array([body.hex() for body in sent.body], object)
            _add(total, "sent", index, {"to": sent.receiver, "body": bodies})
    return total.astype("<u8").tobytes()


def _numbered(agents: Int32, nth: Int32) -> NDArray[np.int64]:
    """What a row of messages or actions is called: whose, and which of its."""
    index: NDArray[np.int64] = nth * _NTH
    index += agents
    return index


def _add(total: NDArray[np.uint64], table: str, index: NDArray[Any], columns: Mapping[str, NDArray[Any]]) -> None:
    names = sorted(columns)
    digests = RowDigests(table, *names)
    digests.add(index, *(columns[name] for name in names))
    total += np.frombuffer(digests.digest(), "<u8")


def _rows_of(column: Any, rows: NDArray[np.intp]) -> Any:
    return column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows.tolist()]
