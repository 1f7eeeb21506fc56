"""What `turns` of a columnar type is given: who is due, their mail and draws, and what they do, in columns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import msgpack
import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.agents.archetypes import Answers, ArchetypeAsk, archetype_ask
from populace.agents.context import UNKNOWN, Scope
from populace.core.draws import column, integers, words
from populace.core.errors import BadAction, BadAsk, BadMessage
from populace.env.acts import Acts

_pack: Final = msgpack.Packer(autoreset=True).pack
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode
_SCALARS: Final = (bool, int, float, str, type(None))
_INT32_MAX: Final = 2**31 - 1

Int32 = NDArray[np.int32]
Rows = NDArray[np.intp]


class Letters:
    """The messages that columnar agents read in a tick, a row a message: by receiver, in the order of its inbox.

    `receiver` and `sender` are ids (int32; -1 is the world), `row` is the receiver's row in `ctx.ids`.
    """

    def __init__(self, ids: Int32, receiver: Int32, sender: Int32, bodies: Callable[[], list[bytes]]) -> None:
        self.receiver = receiver
        self.sender = sender
        self._ids = ids
        self._packed = bodies
        self._bodies: list[Any] | None = None

    def __len__(self) -> int:
        return len(self.receiver)

    def packed(self) -> list[bytes]:
        """What was sent, as it came."""
        return self._packed()

    @property
    def row(self) -> Rows:
        """Each message's receiver, as its row in `ctx.ids`."""
        return np.searchsorted(self._ids, self.receiver)

    @property
    def bodies(self) -> list[Any]:
        """What was sent, as plain data."""
        if self._bodies is None:
            packed = self._packed()
            self._bodies = _decode(b"\xdd" + len(packed).to_bytes(4, "big") + b"".join(packed))
        return self._bodies

    def numbers(self) -> NDArray[Any]:
        """What was sent, as int64 or float64. Raises TypeError where something is no number."""
        kinds = set(map(type, self.bodies))
        if not kinds <= {bool, int, float}:
            raise TypeError(f"the inbox holds {', '.join(sorted(one.__name__ for one in kinds))} and not only numbers")
        return np.array(self.bodies, np.float64 if float in kinds else np.int64)

    def sums(self) -> NDArray[Any]:
        """For each of `ctx.ids` the sum of the numbers that it was sent, 0 for none: int64, or float64."""
        values = self.numbers()
        found = np.zeros(len(self._ids), values.dtype)
        np.add.at(found, self.row, values)
        return found

    def counts(self) -> NDArray[np.int64]:
        """For each of `ctx.ids`, how many messages it was sent."""
        return np.bincount(self.row, minlength=len(self._ids))


class ColumnStream:
    """Draws of one purpose, a value for each agent: the k-th call gives each its k-th, whoever else draws.

    The first is what `populace.core.draws.column` and `words` give by (seed, tick, purpose, id).
    """

    def __init__(self, seed: int, tick: int, purpose: str, ids: Int32) -> None:
        self._key = seed, tick
        self._purpose = purpose
        self._ids = ids
        self._drawn = 0

    def _next(self) -> str:
        """The purpose of the next draws."""
        purpose = f"{self._purpose}/{self._drawn}" if self._drawn else self._purpose
        self._drawn += 1
        return purpose

    def words(self) -> NDArray[np.uint64]:
        """64 random bits each."""
        return words(*self._key, self._next(), self._ids)

    def random(self) -> NDArray[np.float64]:
        """A float in [0, 1) each."""
        return column(*self._key, self._next(), self._ids)

    def uniform(self, low: Any, high: Any) -> NDArray[np.float64]:
        """A float between `low` and `high` each; these are numbers, or columns."""
        return np.asarray(low + (high - low) * self.random())

    def integer(self, n: Any) -> NDArray[np.int64]:
        """An integer in [0, n) each, for a number or a column of at least 1; alike to within n * 2**-53."""
        if np.min(n) < 1:
            raise ValueError(f"integer(n) needs n of at least 1, got {np.min(n)}")
        if type(n) is int and n < 2**63:
            return integers(*self._key, self._next(), self._ids, n)
        return np.asarray(np.minimum((self.random() * n).astype(np.int64), np.subtract(n, 1)), np.int64)

    def bernoulli(self, p: Any) -> NDArray[np.bool_]:
        """True with probability `p`, a number or a column."""
        return np.asarray(self.random() < p)

    def exponential(self, mean: Any = 1.0) -> NDArray[np.float64]:
        """An exponential deviate with this mean each."""
        return np.asarray(-mean * np.log1p(-self.random()))


class Sent(msgspec.Struct):
    """Messages of one call: their receivers, and one packed body for all, or numbers, or packed bodies."""

    sender: Int32
    receiver: Int32
    nth: Int32
    body: bytes | NDArray[Any] | list[bytes]

    def packed(self) -> list[bytes]:
        """The bodies, packed."""
        if isinstance(self.body, bytes):
            return [self.body] * len(self.sender)
        return list(map(_encode, self.body.tolist())) if isinstance(self.body, np.ndarray) else self.body


class ColumnarContext:
    """What `turns` is given.

    `ids` are the agents that are due (int32, sorted), a row each; `tick` is the tick's number.

    `inbox` is their mail (`Letters`), `seen` what the world shows them, by 'part.column': an array of int64, float64 or
    bool where it shows numbers, and a list else. Both follow the order of `ids`.

    In `send`, `act` and `wake_at`, `who` says which of the agents are meant: a mask over `ids`, or rows (an agent may
    stand in several, one after another); None is all. A value is one for all, or a column, with a value for each of
    them or for each of `ids`.
    """

    def __init__(
        self,
        scope: Scope,
        ids: Int32,
        seen: Mapping[str, Any],
        inbox: Letters,
        of: str = "",
        keep_to: Callable[[Int32, Int32], None] | None = None,
    ) -> None:
        self.ids = ids
        self.tick = scope.tick
        self.seen = seen
        self.inbox = inbox
        self._scope = scope
        self._streams: dict[str, ColumnStream] = {}
        self._made: NDArray[np.int32] | None = None
        self._first: Rows | None = None
        """Whose first messages or actions are not counted in `_made` yet, since nobody may make another."""
        self._of = of
        self._keep_to = keep_to
        """Raises OutsideInfluence for senders and receivers beyond what the society declares, where it does."""
        self._asked: dict[str, NDArray[np.int32]] = {}
        """By purpose, how often each has asked."""
        self.pending: list[ArchetypeAsk] = []
        self.asked: list[ArchetypeAsk] = []
        self.sent: list[Sent] = []
        self.acts: list[Acts] = []
        self.wakes: list[tuple[int, Int32]] = []

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def parameters(self) -> Any:
        """The society's parameters."""
        return self._scope.parameters

    @property
    def time_s(self) -> float:
        """Simulated seconds since the run's beginning, at the start of this tick."""
        return self.tick * self._scope.tick_seconds

    @property
    def population(self) -> int:
        """How many agents there ever were, of all types: ids go from 0 to one less."""
        return self._scope.population if self._scope.roster is None else self._scope.roster.size

    def draw(self, purpose: str) -> ColumnStream:
        """The agents' draws for a purpose: `ctx.draw("partner").integer(10)` is a column."""
        stream = self._streams.get(purpose)
        if stream is None:
            stream = self._streams[purpose] = ColumnStream(self._scope.seed, self.tick, purpose, self.ids)
        return stream

    def send(self, to: Any, body: Any, who: Any = None) -> None:
        """Send a message to `to` from each agent of `who`; they are read in the next tick.

        `body` is plain data for all, a column of numbers, or a list of plain data with a body each. Raises BadMessage
        as a turn's `ctx.send` does.
        """
        rows = self._rows(who)
        address = self._column("ctx.send: to", to, rows, who, "iu")
        receiver = np.where((address >= 0) & (address <= _INT32_MAX), address, UNKNOWN).astype(np.int32)
        packed: bytes | NDArray[Any] | list[bytes]
        try:
            if isinstance(body, np.ndarray):
                packed = self._column("ctx.send: body", body, rows, who, "biuf")
            elif isinstance(body, list):
                packed = [_pack(one) for one in body]
                if len(packed) != len(receiver):
                    raise BadMessage(f"ctx.send: {len(packed)} bodies for {len(receiver)} messages")
            else:
                packed = _pack(body)
        except (TypeError, ValueError, OverflowError) as error:
            raise BadMessage(f"ctx.send: the body is not plain data: {error}") from None
        longest = max(map(len, packed), default=0) if isinstance(packed, list) else len(packed)
        if not isinstance(packed, np.ndarray) and longest > self._scope.body_bytes:
            raise BadMessage(f"ctx.send: a body takes {longest} bytes and bus.body_bytes is {self._scope.body_bytes}")
        sender, nth = self._number(rows, BadMessage, "ctx.send")
        if self._keep_to is not None:
            self._keep_to(sender, receiver)
        if len(sender):
            self.sent.append(Sent(sender, receiver, nth, packed))

    def act(self, kind: str, /, *, who: Any = None, **args: Any) -> None:
        """Act on the world, for example `ctx.act("bank.give", who=rich, to=partner, amount=1)`, an action an agent.

        Arguments are columns of numbers, or scalars. Raises BadAction as a turn's `ctx.act` does.
        """
        if kind not in self._scope.actions:
            there = ", ".join(sorted(self._scope.actions)) or "none"
            raise BadAction(f"the world has no action {kind!r}; it has {there}")
        rows = self._rows(who)
        columns: dict[str, NDArray[Any]] = {}
        same: dict[str, Any] = {}
        for name, value in args.items():
            if isinstance(value, np.ndarray) and value.ndim:
                columns[name] = self._column(f"ctx.act({kind!r}): {name}", value, rows, who, "biuf")
            else:
                plain = value.item() if isinstance(value, np.generic | np.ndarray) else value
                if not isinstance(plain, _SCALARS):
                    raise BadAction(f"ctx.act({kind!r}): {name} is a column of numbers or a scalar, not {type(value)}")
                same[name] = plain
        if len(_pack((kind, same))) > self._scope.body_bytes:
            raise BadAction(f"ctx.act({kind!r}): takes more than bus.body_bytes, {self._scope.body_bytes}")
        sender, nth = self._number(rows, BadAction, f"ctx.act({kind!r})")
        if len(sender):
            self.acts.append(Acts(kind, sender, nth, columns, same))

    def wake_at(self, tick: int, who: Any = None) -> None:
        """Have agents be due at `tick`, mail or not. Raises ValueError for a tick that is not in the future."""
        if tick <= self.tick:
            raise ValueError(f"ctx.wake_at({tick}): it is tick {self.tick} already")
        rows = self._rows(who)
        self.wakes.append((int(tick), self.ids if rows is None else self.ids[rows]))

    def ask(
        self,
        prompt: str | None = None,
        answer: Any = str,
        *,
        facts: Mapping[str, Any] | None = None,
        who: Any = None,
        most: int = 1_000,
        messages: Iterable[tuple[str, str] | Mapping[str, str]] | None = None,
        system: str = "",
        purpose: str = "ask",
        model_role: str = "",
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> Awaitable[Answers]:
        """Ask the model once for each distinct set of facts: `answers = await ctx.ask("{age}?", facts={"age": band})`.

        A fact is a column of numbers, bools or text, a list with a value for each, or one value for all. Agents whose
        facts are equal share an ask, across shards too; see `Answers` for what each gets. What is asked again in the
        same tick by the same agents is asked anew. More than `most` sets of facts, over all shards, raise BadAsk.

        All else is as in a turn's `ctx.ask`.
        """
        rows = self._rows(who)
        there = np.arange(len(self.ids)) if rows is None else rows
        if len(there) > 1 and (np.diff(there) <= 0).any():
            raise BadAsk("ctx.ask: an agent asks once in a call: who holds a row twice")
        columns: dict[str, NDArray[Any] | list[Any]] = {}
        same: dict[str, Any] = {}
        if facts is not None and not isinstance(facts, Mapping):
            raise BadAsk(f"ctx.ask: facts is a dictionary of facts by name, not a {type(facts).__name__}")
        for name, value in (facts or {}).items():
            if isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim):
                columns[name] = self._fact(name, value, there)
            else:
                same[name] = value.item() if isinstance(value, np.generic | np.ndarray) else value
        asked = self._asked.setdefault(str(purpose), np.zeros(len(self.ids), np.int32))
        ask = archetype_ask(
            self._scope, self._of, self.ids, there, columns, None if facts is None else same, asked[there], most,
            prompt, answer, messages=None if messages is None else list(messages), system=system, purpose=purpose,
            model_role=model_role, max_tokens=max_tokens, temperature=temperature,
        )  # fmt: skip
        asked[there] += 1
        self.pending.append(ask)
        return ask

    def _fact(self, name: str, value: Any, rows: Rows) -> NDArray[Any] | list[Any]:
        """A fact of each of these rows."""
        if len(value) not in (len(rows), len(self.ids)) or (isinstance(value, np.ndarray) and value.ndim != 1):
            raise BadAsk(
                f"ctx.ask: the fact {name} has {len(value):,} values for {len(rows):,} of {len(self.ids):,} agents: "
                "give one for each, or one value (a tuple, for a list) for all"
            )
        spread = len(value) == len(self.ids) != len(rows)
        if isinstance(value, list):
            return [value[row] for row in rows.tolist()] if spread else value
        if value.dtype.kind not in "biufU":
            raise BadAsk(f"ctx.ask: the fact {name} is a column of {value.dtype}: numbers, bools or text are wanted")
        column: NDArray[Any] = value[rows] if spread else value
        return column + 0.0 if column.dtype.kind == "f" else column  # of two zeros, which are equal, one is shown

    def _rows(self, who: Any) -> Rows | None:
        """The rows meant; None for all."""
        if who is None:
            return None
        given = np.asarray(who)
        if given.dtype.kind == "b":
            if given.shape != self.ids.shape:
                raise ValueError(f"who: a mask of {given.shape} for {len(self.ids):,} agents")
            return np.flatnonzero(given)
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            raise ValueError("who: a mask over ctx.ids, or an array of rows")
        if given.size and not (given.min() >= 0 and given.max() < len(self.ids)):
            raise ValueError(f"who: rows go from 0 to {len(self.ids) - 1}")
        if (np.diff(given) < 0).any():
            raise ValueError("who: rows come in their order, an agent's one after another")
        return given.astype(np.intp)

    def _column(self, what: str, value: Any, rows: Rows | None, who: Any, kinds: str) -> NDArray[Any]:
        """A value for each row meant: int64, float64 or bool."""
        given, size = np.asarray(value), len(self.ids) if rows is None else len(rows)
        if given.size and given.dtype.kind not in kinds:
            raise ValueError(f"{what}: a column of numbers, not of {given.dtype}")
        if given.ndim == 0:
            given = np.full(size, given)
        elif (
            rows is not None and given.shape == self.ids.shape and (len(given) != size or np.asarray(who).dtype == bool)
        ):
            given = given[rows]
        if given.shape != (size,):
            raise ValueError(f"{what}: {given.shape} values for {size:,} of {len(self.ids):,} agents")
        if given.dtype.kind == "b":
            return given.astype(np.bool_)  # a copy, as the others are: the author may go on with the column
        if given.dtype.kind == "u" and given.size and int(given.max()) >= 2**63:
            agent = (self.ids if rows is None else self.ids[rows])[int((given >= 2**63).argmax())]
            raise ValueError(f"{what}: a column of numbers of 64 bits, and of agent {agent} it is {given.max()}")
        return given.astype(np.float64 if given.dtype.kind == "f" else np.int64)

    def _number(self, rows: Rows | None, kind: type[Exception], what: str) -> tuple[Int32, Int32]:
        """Senders, and how many messages and actions each of them has made before in this tick."""
        made = self._made
        if made is None:
            made = self._made = np.zeros(len(self.ids), np.int32)
            if rows is not None and (rows[1:] > rows[:-1]).all() and self._scope.sends_per_turn > 0:
                self._first = rows
                return self.ids[rows], np.zeros(len(rows), np.int32)
        elif self._first is not None:
            made[self._first] = 1
            self._first = None
        if rows is None:
            nth = made.copy()
            made += 1
            sender = self.ids
        elif len(rows) < 2 or (rows[1:] > rows[:-1]).all():
            sender, nth = self.ids[rows], made[rows]
            made[rows] += 1
        else:
            edges = np.flatnonzero(np.diff(rows, prepend=-1))
            counts = np.diff(edges, append=len(rows))
            rank = np.arange(len(rows)) - np.repeat(edges, counts)
            nth = made[rows] + rank.astype(np.int32)
            made[rows[edges]] += counts.astype(np.int32)
            sender = self.ids[rows]
        if len(nth) and int(nth.max()) >= self._scope.sends_per_turn:
            raise kind(f"{what}: more than bus.sends_per_turn = {self._scope.sends_per_turn} of one agent in a tick")
        return sender, nth
