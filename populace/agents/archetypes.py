"""Asks of columnar types: one for each distinct set of facts among the agents that ask, answers spread over them.

Agents with equal facts would be shown equal prompts; they are an *archetype*, and share one ask. Where the answer is a
`Choice` with probabilities, each agent draws its own label from them; any other answer is shared.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.agents.answers import Chosen, compile_answer
from populace.agents.context import Context, Draft, Scope
from populace.core.claims import too_many
from populace.core.draws import words
from populace.core.errors import BadAsk
from populace.core.records import Abstained, Ask

_UNIT: Final = 2.0**-53
_TABLE: Final = 1 << 20
"""Codes below this are made dense with a table in place of a sort."""
_NTH_BITS: Final = 20
_pack: Final = msgspec.msgpack.Encoder().encode

Rows = NDArray[np.intp]


def identity(of: str, purpose: str, again: int, key: bytes, facts: str) -> tuple[int, int]:
    """What an archetype's ask is called in its tick, (agent, nth): a hash of what it asks, whoever asks it.

    The agent is below -1, so it is nobody's id; both together hold 61 bits, which a journal has room for.
    """
    mark = blake2b(_pack((of, purpose, again, key, facts)), digest_size=8, person=b"populace.arch1").digest()
    number = int.from_bytes(mark, "little") >> 3
    return -2 - (number >> _NTH_BITS), number & ((1 << _NTH_BITS) - 1)


def grouped(columns: Sequence[NDArray[Any] | list[Any]], size: int) -> tuple[NDArray[np.int64], Rows]:
    """Which of the distinct rows of these columns each row is, from 0; and where each of them stands first."""
    codes, n = np.zeros(size, np.int64), 1
    for column in columns:
        own, kinds = _codes(column)
        if n * kinds > 2**62:
            codes, first = _dense(codes, n)
            n = len(first)
        codes, n = codes * kinds + own, n * kinds
        if n > _TABLE:
            codes, first = _dense(codes, n)
            n = len(first)
    return _dense(codes, n)


def _codes(column: NDArray[Any] | list[Any]) -> tuple[NDArray[np.int64], int]:
    """A number for each value, equal for equal ones, and how many numbers there may be."""
    if isinstance(column, list):
        known: dict[bytes, int] = {}
        codes = np.fromiter((known.setdefault(_pack(one), len(known)) for one in column), np.int64, len(column))
        return codes, max(1, len(known))
    if not len(column):
        return np.zeros(0, np.int64), 1
    if column.dtype.kind == "b":
        return column.astype(np.int64), 2
    if column.dtype.kind == "i":
        low, high = int(column.min()), int(column.max())
        if high - low < _TABLE:
            return column.astype(np.int64) - low, high - low + 1
    values, codes = np.unique(column, return_inverse=True)
    return codes.astype(np.int64), len(values)


def _dense(codes: NDArray[np.int64], n: int) -> tuple[NDArray[np.int64], Rows]:
    """The same codes without gaps, and where each stands first."""
    if n > _TABLE:
        _, first, found = np.unique(codes, return_index=True, return_inverse=True)
        return found.astype(np.int64), first
    places = np.full(n, len(codes), np.intp)
    places[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    there = places < len(codes)
    return (np.cumsum(there) - 1)[codes], places[there]


class Answers:
    """What agents in columns were answered; arrays have a value for each of `ctx.ids`.

    `given` holds what each archetype was answered, of the type that was asked for or `Abstained`, and `archetype`
    (int64) which of them an agent has, -1 for one that was not asked. `asked` and `abstained` are masks.

    Of a `Choice`, `labels` are its labels and `codes` (int64) the place among them of what each agent chose, -1 for
    none. Where the model gave probabilities, each agent draws its own label from them, by (seed, agent, tick, purpose).
    """

    def __init__(
        self,
        given: list[Any],
        archetype: NDArray[np.int64],
        labels: tuple[str, ...],
        draws: Callable[[Rows], NDArray[np.uint64]],
    ) -> None:
        self.given = given
        self.archetype = archetype
        self.labels = labels
        self.asked: NDArray[np.bool_] = archetype >= 0
        silent = np.array([isinstance(one, Abstained) for one in given] + [False], np.bool_)
        self.abstained: NDArray[np.bool_] = silent[archetype]
        self.codes: NDArray[np.int64] = _chosen(given, archetype, labels, draws)

    def chose(self, label: str) -> NDArray[np.bool_]:
        """Who chose this label of a `Choice`. Raises ValueError for one that it does not have."""
        if label not in self.labels:
            raise ValueError(f"answers.chose({label!r}): the labels are {', '.join(self.labels) or 'none: no Choice'}")
        return np.asarray(self.codes == self.labels.index(label))

    def column(self, read: str | Callable[[Any], Any], missing: Any = np.nan) -> NDArray[Any]:
        """A number of each agent's answer: the field called `read`, or what `read` gives of the answer.

        Who was not asked, or has no answer, has `missing`. It is read once for each archetype.
        """
        get: Callable[[Any], Any] = (lambda answer: getattr(answer, read)) if isinstance(read, str) else read
        values = [missing if isinstance(one, Abstained) else get(one) for one in self.given]
        column = np.array([*values, missing])
        if column.dtype.kind not in "biuf" or column.ndim != 1:
            raise TypeError(f"answers.column: it has to give numbers, and gives {column.dtype}")
        return column[self.archetype]

    @property
    def values(self) -> list[Any]:
        """Each agent's answer, or `Abstained`; None for one that was not asked. Of a `Choice` see `codes`."""
        every = [*self.given, None]
        return [every[at] for at in self.archetype.tolist()]

    @property
    def reasons(self) -> list[str]:
        """Why each agent has no answer, in one word; '' for one that has, or was not asked."""
        every = [*(one.reason if isinstance(one, Abstained) else "" for one in self.given), ""]
        return [every[at] for at in self.archetype.tolist()]


def _chosen(
    given: Sequence[Any],
    archetype: NDArray[np.int64],
    labels: tuple[str, ...],
    draws: Callable[[Rows], NDArray[np.uint64]],
) -> NDArray[np.int64]:
    """The label that each agent has: its archetype's, or drawn from its archetype's probabilities."""
    shared = np.full(len(given) + 1, -1, np.int64)
    steps = np.zeros((len(given) + 1, max(1, len(labels))))
    for at, one in enumerate(given) if labels else ():
        if isinstance(one, Chosen):
            shared[at] = labels.index(one.label)
            told = one.probabilities or {}
            steps[at] = np.cumsum([max(0.0, told.get(label, 0.0)) for label in labels])
    codes = shared[archetype]
    drawn = np.flatnonzero(steps[archetype, -1] > 0.0)
    if len(drawn):
        own = steps[archetype[drawn]]
        mark = (draws(drawn) >> np.uint64(11)).astype(np.float64) * _UNIT * own[:, -1]
        codes[drawn] = (mark[:, None] >= own[:, :-1]).sum(axis=1)
    return codes


class ArchetypeAsk:
    """An effect of a columnar type: what its agents ask, an ask for each archetype, and how answers are spread.

    `asks` have the identities of their archetypes, and `again` says of each how often its agents had asked for the
    purpose before in the tick. `archetype` says which ask is whose, a value for each of `ids`, -1 for none.
    """

    def __init__(
        self, asks: list[Ask], again: list[int], archetype: NDArray[np.int64], ids: NDArray[np.int32], seed: int,
        most: int, labels: tuple[str, ...],
    ) -> None:  # fmt: skip
        self.asks = asks
        self.again = again
        self.archetype = archetype
        self.most = most
        self._ids = ids
        self._seed = seed
        self._labels = labels

    @property
    def counts(self) -> list[int]:
        """For how many agents each ask stands here."""
        found: list[int] = np.bincount(self.archetype[self.archetype >= 0], minlength=len(self.asks)).tolist()
        return found

    def __await__(self) -> Generator[ArchetypeAsk, Any, Answers]:
        """Hand the asks to the kernel; the values sent back are the typed answers or `Abstained`, in their order."""
        given = (yield self) if self.asks else []
        return Answers(given, self.archetype, self._labels, self._words)

    def _words(self, rows: Rows) -> NDArray[np.uint64]:
        """64 random bits for each of these rows, of the agent's own stream for the purpose."""
        found = np.zeros(len(rows), np.uint64)
        every, of = sorted(set(self.again)), np.array(self.again)
        for times in every:
            mine = slice(None) if len(every) == 1 else of[self.archetype[rows]] == times
            purpose = f"populace.ask/{self.asks[0].purpose}/{times}"
            found[mine] = words(self._seed, self.asks[0].tick, purpose, self._ids[rows[mine]])
        return found


def archetype_ask(
    scope: Scope,
    of: str,
    ids: NDArray[np.int32],
    rows: Rows,
    facts: Mapping[str, NDArray[Any] | list[Any]],
    same: Mapping[str, Any] | None,
    again: NDArray[np.int32],
    most: int,
    prompt: str | None,
    answer: Any,
    **options: Any,
) -> ArchetypeAsk:
    """What agents `rows` of `ids`, of the type `of`, ask: `facts` are columns for these rows, `same` those of all.

    `again` says how often each has asked for the purpose before. Raises BadAsk as `Context.ask` does, and for more
    archetypes than `most`.
    """
    archetype = np.full(len(ids), -1, np.int64)
    if not len(rows):
        spec = compile_answer(answer)
        return ArchetypeAsk([], [], archetype, ids, scope.seed, most, spec.labels)
    inverse, first = grouped([again, *facts.values()], len(rows))
    if len(first) > most:
        raise BadAsk(too_many(of, options["purpose"], most))
    columns = {name: _plain(column, first) for name, column in facts.items()}
    context = Context(int(ids[rows[0]]), scope.tick, scope, Draft())
    asks: list[Ask] = []
    times: list[int] = again[first].tolist()
    for at, nth_time in enumerate(times):
        told = None if same is None else {**same, **{name: column[at] for name, column in columns.items()}}
        ask: Any = context.ask(prompt, answer, facts=told, **options)
        ask.agent, ask.nth = identity(of, ask.purpose, nth_time, ask.key, ask.facts)
        asks.append(ask)
    archetype[rows] = inverse
    return ArchetypeAsk(asks, times, archetype, ids, scope.seed, most, asks[0].spec.labels)


def _plain(column: NDArray[Any] | list[Any], rows: Rows) -> list[Any]:
    values: list[Any] = [column[row] for row in rows.tolist()] if isinstance(column, list) else column[rows].tolist()
    return values
