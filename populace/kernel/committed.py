"""What the turns of a tick come to: put down a stride at a time as they end, in order once all have ended. Pure.

A turn is let go of when it is put down. So what it made is read while the processor's cache still holds it, and a tick
of many turns keeps their digests, messages and rows rather than the turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise
from operator import attrgetter, itemgetter
from typing import Any, Final, TypeVar, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.records import Answer, Ask
from populace.core.rounds import Contribution, Heard
from populace.core.trace import DIGEST_BYTES
from populace.kernel.public_fields import FieldsByType, PublicFields
from populace.kernel.turn import Failure, Turn, said_of

STRIDE: Final = 256
"""How many turns are begun, and how many are put down, at a time."""
ANSWERED: Final = 32
"""How many are put down at a time of turns that had to wait: while others still do, so that few are left at the end."""

_encode: Final = msgspec.msgpack.Encoder().encode
_begun: Final = blake2b(digest_size=DIGEST_BYTES).copy
_by_id: Final = attrgetter("id")
_T = TypeVar("_T")


class Committed(msgspec.Struct, frozen=True):
    """What the turns of a tick came to, in the order of their agents.

    `agents` is int32 and `digests` has 16 bytes for each, BLAKE2b over what its turn committed. `fields` are the
    public fields of `agents` by type, `sent` holds (sender, receivers, bodies) of those that sent or acted, `wakes`
    (tick, agent); `asked` counts what was asked, and `contributed` what was contributed to rounds. `asks` and `answers`
    are for the table, where it is recorded.
    """

    agents: NDArray[np.int32]
    digests: bytes
    fields: dict[str, dict[str, list[Any]]]
    sent: list[tuple[int, list[int], list[bytes]]]
    wakes: list[tuple[int, int]]
    failures: list[Failure]
    asked: int
    contributed: int
    asks: list[Ask]
    answers: list[Answer]


class Ended:
    """Takes the turns of a tick as they end. `fields` reads public fields; `keep_asks` says that a table wants them."""

    def __init__(self, fields: PublicFields | FieldsByType, *, keep_asks: bool) -> None:
        self._fields = fields
        self._keep_asks = keep_asks
        self._turns: list[Turn] = []
        self._ids: list[int] = []
        self._digests: list[bytes] = []
        self._reported: dict[str, tuple[list[int], dict[str, list[Any]]]] = {}
        self._sent: list[tuple[int, list[int], list[bytes]]] = []
        self._wakes: list[tuple[int, int]] = []
        self._failures: list[Failure] = []
        self._asked = self._contributed = 0
        self._asks: list[Ask] = []
        self._answers: list[Answer] = []
        self._fresh: list[Turn] | None = None

    def __len__(self) -> int:
        return len(self._ids) + len(self._turns)

    def add(self, turn: Turn) -> None:
        """A turn has ended."""
        self._turns.append(turn)

    def put_down(self, least: int) -> None:
        """Put down the turns that have ended, where there are at least so many."""
        if len(self._turns) >= least:
            self._put_down()

    @property
    def any_fresh(self) -> bool:
        """Whether any turn has ended since the last `take`."""
        return bool(self._turns or self._fresh)

    def take(self) -> list[Turn]:
        """Put down all that have ended, and give those that have since the last time; from the first call on."""
        if self._fresh is None:
            self._fresh = []
        if self._turns:
            self._put_down()
        fresh, self._fresh = self._fresh, []
        return fresh

    def _put_down(self) -> None:
        turns = sorted(self._turns, key=_by_id) if len(self._turns) > 1 else self._turns
        self._turns = []
        if self._fresh is not None:
            self._fresh += turns
        ids = [turn.id for turn in turns]
        reported, rows = self._fields.report(turns)
        self._ids += ids
        for name, (mine, fields) in reported.items():
            kept = self._reported.get(name)
            if kept is None:
                self._reported[name] = (mine, fields)
                continue
            kept[0].extend(mine)
            for field, values in fields.items():
                kept[1][field] += values
        sent, wakes = self._sent, self._wakes
        came: list[Any] = []
        for turn, row in zip(turns, rows, strict=True):
            said: Any = ()
            if turn.asks is not None:
                asks, answers = turn.asks, cast("list[Answer]", turn.answers)
                said = said_of(asks, answers)
                if turn.joined:  # those stand with the world, once for all
                    own = [at for at, ask in enumerate(asks) if ask.again < 0]
                    asks, answers = [asks[at] for at in own], [answers[at] for at in own]
                self._asked += len(asks)
                if self._keep_asks:
                    self._asks += asks
                    self._answers += answers
            committed: Any
            if turn.failure is not None:
                self._failures.append(turn.failure)
                committed = (turn.id, turn.failure.error, said, row)
            else:
                committed = (turn.id, turn.to, turn.bodies, said, row)
                if turn.to:
                    sent.append((turn.id, turn.to, turn.bodies))
                if turn.wakes is not None:
                    wakes += [(tick, turn.id) for tick in turn.wakes]
            if turn.exchanged is not None:
                self._contributed += len(turn.exchanged)
                committed = (*committed, list(map(_exchanged, turn.exchanged)))
            came.append(committed)
        for packed in map(_encode, came):
            hashed = _begun()
            hashed.update(packed)
            self._digests.append(hashed.digest())

    def commit(self) -> Committed:
        """What all of them came to."""
        self._put_down()
        ids, digests, reported = self._ids, self._digests, self._reported
        if any(former > later for former, later in pairwise(ids)):
            order = sorted(range(len(ids)), key=ids.__getitem__)
            ids, digests = _in_order(ids, order), _in_order(digests, order)
            for name, (mine, fields) in reported.items():
                order = sorted(range(len(mine)), key=mine.__getitem__)
                reported[name] = mine, {field: _in_order(values, order) for field, values in fields.items()}
            self._sent.sort(key=itemgetter(0))
            self._wakes.sort(key=itemgetter(1))
            self._failures.sort(key=attrgetter("agent"))
            order = sorted(range(len(self._asks)), key=[ask.agent for ask in self._asks].__getitem__)
            self._asks, self._answers = _in_order(self._asks, order), _in_order(self._answers, order)
        return Committed(
            np.array(ids, np.int32), b"".join(digests), {name: fields for name, (_, fields) in reported.items()},
            self._sent, self._wakes, self._failures, self._asked, self._contributed, self._asks, self._answers,
        )  # fmt: skip


def _in_order(values: Sequence[_T], order: Sequence[int]) -> list[_T]:
    return [values[at] for at in order]


def _exchanged(one: tuple[Contribution, Heard]) -> tuple[str, str | int | None, bytes, str, bytes, str]:
    """What stands in the trace of a contribution and of what came of it."""
    said, heard = one
    return said.part, said.group, said.body, heard.fate, heard.body, heard.reason
