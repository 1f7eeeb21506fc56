"""The columnar types of a shard: their agents as columns, their turns of a tick, and what these come to. Pure.

A turn of a coroutine agent has a digest of its own; the turns of a columnar type have one for all of them, a sum over
rows (`env.digest`): a row for each agent with its public fields, each message and each action. Sums of shards add up to
the same on any number of shards, at the price of some 40 ns an agent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.agents.agent import Agent
from populace.agents.columnar_context import ColumnarContext, Letters, Sent
from populace.agents.context import Scope
from populace.agents.population import make_column, make_columns
from populace.core.claims import Claim
from populace.core.errors import CheckpointDamaged
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


class ColumnarTypes:
    """The columnar types of a shard, by name. A tick is opened, its turns are taken, and it is committed.

    What they hold changes at the commit, and by levers and births at the tick's edge; until the next tick is opened,
    `state(before=True)` gives what they held before.
    """

    def __init__(self, types: Mapping[str, Type], roster: Roster) -> None:
        self.types = types
        self._roster = roster
        places = [roster.names.index(name) for name in types]
        self._is_columnar = np.isin(np.arange(len(roster.names)), places)
        self._before: dict[str, tuple[Int32, Columns]] = {}
        self._due: dict[str, Int32] = {}
        self._scope: Scope | None = None
        self._mail: Mail | None = None
        self._turns: dict[str, Turns] = {}
        self._unclaimed: dict[Identity, str] = {}
        """Asks of which nobody has said who puts them, with the type."""
        self._elsewhere: dict[Identity, str] = {}
        """Those that another shard has put, and that wait for its answer."""
        self._own: dict[Identity, str] = {}
        self._early: list[Answer] = []
        """Answers of other shards that came before it was said who asks."""

    def __bool__(self) -> bool:
        return bool(self.types)

    @property
    def ended(self) -> bool:
        """Whether all turns of the open tick have been taken."""
        return self._scope is None and all(turns.columns is not None for turns in self._turns.values())

    @property
    def sharing(self) -> bool:
        """Whether turns wait for answers to what another shard asks."""
        return bool(self._elsewhere)

    @property
    def due(self) -> Int32:
        """Those who take a turn in the open tick, sorted."""
        if len(self._due) == 1:
            return next(iter(self._due.values()))
        return np.sort(np.concatenate([_NONE, *self._due.values()]))

    @property
    def turns_due(self) -> int:
        """How many take a turn in the open tick."""
        return sum(map(len, self._due.values()))

    def among(self, ids: Int32) -> NDArray[np.bool_]:
        """Which of these agents are of a columnar type."""
        return self._is_columnar[self._roster.types_of(ids)]

    def keep_before(self) -> None:
        """Keep what they hold now as what they held before the tick; columns are never changed in place."""
        self._before = {name: (one.ids, dict(one.columns)) for name, one in self.types.items()}

    def spawn(self, name: str, ids: Int32, columns: Mapping[str, Sequence[Any]]) -> None:
        """Newborns of a type, whose ids follow all others'."""
        one = self.types[name]
        made = make_columns(one.kind, columns, ids.tolist(), "spawn: agent {id}")
        one.ids = np.concatenate((one.ids, ids))
        one.columns = {field: np.concatenate((one.columns[field], made[field])) for field in one.types}

    def row(self, id: int) -> Agent | None:  # noqa: A002
        """One agent as one of its class, with the values of its columns; None for one who is not there."""
        for one in self.types.values():
            at = int(one.ids.searchsorted(id))
            if at < len(one.ids) and one.ids[at] == id:
                return one.kind(**{name: column[at].item() for name, column in one.columns.items()})
        return None

    def retire(self) -> None:
        """Keep those only who live."""
        for one in self.types.values():
            lives = self._roster.lives(one.ids)
            if not lives.all():
                one.ids = one.ids[lives]
                one.columns = {name: column[lives] for name, column in one.columns.items()}

    def change(self, ids: Int32, name: str, values: Sequence[Any]) -> None:
        """A lever gives a field of these agents other values. Raises ScenarioError, naming who, for what cannot be."""
        types = self._roster.types_of(ids)
        for of, one in self.types.items():
            rows = np.flatnonzero(types == self._roster.names.index(of))
            if not len(rows):
                continue
            column = one.columns[name].copy()
            mine = [values[row] for row in rows.tolist()]
            made = make_column(one.kind, name, mine, ids[rows].tolist(), "agent {id}, as a lever changes it,")
            column[np.searchsorted(one.ids, ids[rows])] = made
            one.columns[name] = column

    def open(self, scope: Scope, mail: Mail, timers: Int32) -> None:
        """Open a tick: who is due in it. `timers` are those whose timers fire, who live."""
        called = np.concatenate((mail.receivers, timers))
        types = self._roster.types_of(called)
        self._scope, self._mail, self._turns = scope, mail, {}
        for name, one in self.types.items():
            active = one.activation.due(scope.seed, scope.tick, one.ids)
            if active.all():
                self._due[name] = one.ids
            else:
                mine = called[types == self._roster.names.index(name)]
                self._due[name] = np.union1d(one.ids[active], mine).astype(np.int32)

    def take(self, seen: Mapping[str, Any]) -> list[Claim]:
        """Take the turns of all types; `seen` are columns aligned with `due`. Gives what they want asked first.

        Raises ScenarioError, naming class and place, for `turns` that fail; then nothing has changed.
        """
        scope, mail = self._scope, self._mail
        if scope is None or mail is None:
            return []
        everyone, claims = self.due, list[Claim]()
        for name, one in self.types.items():
            due = self._due[name]
            if not len(due):
                continue
            shown = seen
            if seen and len(due) < len(everyone):
                rows = np.searchsorted(everyone, due)
                shown = {key: _rows_of(column, rows) for key, column in seen.items()}
            ctx = ColumnarContext(scope, due, shown, _letters(mail, due), name)
            turns = self._turns[name] = Turns(name, one, ctx)
            claims += turns.begin()
        self._scope = None
        return self._claim(claims)

    def _claim(self, claims: list[Claim]) -> list[Claim]:
        self._unclaimed.update(((one.agent, one.nth), one.type) for one in claims)
        return claims

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
                read, more = self._turns[name].answer(answer)
                known.append((read, ask.purpose))
                claims += more
        return known, self._claim(claims)

    def drop(self) -> None:
        """End the turns that wait; nothing is committed."""
        for turns in self._turns.values():
            turns.close()
        self._turns, self._scope = {}, None
        self._unclaimed, self._elsewhere, self._own, self._early = {}, {}, {}, []

    def commit(self, tick: int) -> Taken:
        """What the turns came to; from here on agents hold what these left them."""
        whole: dict[str, Whole] = {}
        sums: dict[str, tuple[int, bytes]] = {}
        sent: list[Sent] = []
        wakes: list[tuple[int, Int32]] = []
        for name, one in self.types.items():
            turns = self._turns.get(name)
            if turns is None:
                sums[name] = 0, bytes(DIGEST_BYTES)
                continue
            ctx, columns = turns.ctx, turns.columns
            assert columns is not None
            sums[name] = len(ctx.ids), _digest(name, one, ctx, columns)
            agents, fields = _changed(one, ctx.ids, columns)
            whole[name] = Whole(agents, fields, ctx.acts)
            sent += ctx.sent
            wakes += ctx.wakes
            rows = one.rows_of(ctx.ids)
            if rows is None:
                one.columns = columns
            else:
                for field, values in columns.items():
                    held = one.columns[field].copy()
                    held[rows] = values
                    one.columns[field] = held
        acted = sum(len(act) for one in whole.values() for act in one.acts)
        self._turns, self._mail = {}, None
        return Taken(sum(n for n, _ in sums.values()), whole, sums, _gather(tick, sent), wakes, acted)

    def state(self, *, before: bool = False) -> dict[str, dict[str, NDArray[Any]]]:
        """The columns by type, with the agents' ids as 'id'; with `before` as they were before the tick opened last."""
        now = self._before if before else {name: (one.ids, one.columns) for name, one in self.types.items()}
        return {name: {"id": ids, **columns} for name, (ids, columns) in now.items()}

    def restore(self, state: Mapping[str, Mapping[str, NDArray[Any]]], own: Mapping[str, Int32]) -> None:
        """Take of a state what belongs to the agents of this shard, `own` by type. Raises CheckpointDamaged."""
        for name, one in self.types.items():
            given = state.get(name, {})
            if sorted(given) != sorted(("id", *one.types)):
                raise CheckpointDamaged(
                    f"the checkpoint has the columns {sorted(given) or 'none'} of '{name}', and the society has "
                    f"{sorted(one.types)}. Resume with the society that the run was begun with."
                )
            ids = np.asarray(given["id"], np.int32)
            rows = np.searchsorted(ids, own[name])
            if len(own[name]) and not (len(ids) and np.array_equal(ids[np.minimum(rows, len(ids) - 1)], own[name])):
                raise CheckpointDamaged(f"the checkpoint lacks agents of '{name}'")
            one.ids = own[name]
            one.columns = {field: np.array(given[field])[rows] for field in one.types}
        self._before, self._due = {}, {}
        self.drop()


def join_columns(parts: Sequence[Mapping[str, Mapping[str, NDArray[Any]]]]) -> dict[str, dict[str, NDArray[Any]]]:
    """The columns of all shards together, in the order of ids."""
    joined: dict[str, dict[str, NDArray[Any]]] = {}
    for name in parts[0] if parts else ():
        order = np.argsort(np.concatenate([part[name]["id"] for part in parts]))
        joined[name] = {field: np.concatenate([part[name][field] for part in parts])[order] for field in parts[0][name]}
    return joined


def merge(one: Outgoing, other: Outgoing) -> Outgoing:
    """What coroutine agents and columnar ones sent, in the order (sender, nth)."""
    if not len(other.sender):
        return one
    sender, receiver, nth = (
        np.concatenate((getattr(one, name), getattr(other, name))) for name in ("sender", "receiver", "nth")
    )
    return _in_order(Outgoing(one.tick, sender, receiver, nth, one.bodies + other.bodies))


def _in_order(out: Outgoing) -> Outgoing:
    order = np.lexsort((out.nth, out.sender))
    if (np.diff(order) > 0).all():
        return out
    bodies = [out.bodies[at] for at in order.tolist()]
    return Outgoing(out.tick, out.sender[order], out.receiver[order], out.nth[order], bodies)


def _gather(tick: int, sent: Sequence[Sent]) -> Outgoing:
    if not sent:
        return Outgoing(tick, _NONE, _NONE, _NONE, [])
    sender, receiver, nth = (
        np.concatenate([getattr(one, name) for one in sent]) for name in ("sender", "receiver", "nth")
    )
    return _in_order(Outgoing(tick, sender, receiver, nth, [body for one in sent for body in one.packed()]))


def _letters(mail: Mail, due: Int32) -> Letters:
    """The mail of these agents."""
    order = mail.order
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
