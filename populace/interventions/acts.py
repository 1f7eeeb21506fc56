"""What levers do, resolved: each with its ticks, whom it concerns, and what the trace covers of it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.draws import WORLD
from populace.core.trace import DIGEST_BYTES
from populace.interventions.groups import SHOWN_CHARS, Ids, Members, written
from populace.interventions.levers import BlockLever, ChangeLever, SendLever, SetLever, label_of

_pack: Final = msgspec.msgpack.Encoder().encode
_NOBODY: Final[Ids] = np.empty(0, np.int32)


class Act:
    """A lever, resolved. `seal` covers what it does and to whom, for the trace; `what` says it to a person."""

    def __init__(self, index: int, lever: Any, kind: str, spec: Any, *groups: Ids | None) -> None:
        self.index = index
        self.at: int = lever.at
        self.until: int | None = lever.until
        self.label = label_of(lever, index)
        self.members = Members(_NOBODY)
        said = written(spec)
        self.what = f"{kind} {said.decode()}"[:SHOWN_CHARS]
        parts = (kind, said, *(None if one is None else one.astype("<i4").tobytes() for one in groups))
        self.seal = blake2b(_pack(parts), digest_size=DIGEST_BYTES).digest()

    def holds(self, tick: int) -> bool:
        """Whether the tick is one of those from `at` to before `until`."""
        return self.at <= tick and (self.until is None or tick < self.until)

    def is_over(self, tick: int) -> bool:
        """Whether nothing in this tick or later has to do with it."""
        return self.at < tick


class HeldAct(Act):
    """What holds for a while."""

    def is_over(self, tick: int) -> bool:
        """See `Act.is_over`; the tick of its end is one that has to do with it."""
        return self.until is not None and self.until < tick


class SetAct(HeldAct):
    """Parameters that hold for a while; `values` by key, as their parameters' types.

    Those of `matching` are lists of ids, of those who meet the lever's trigger.
    """

    def __init__(self, index: int, lever: SetLever, values: dict[str, Any], matching: Ids) -> None:
        self.matching = frozenset(lever.of_matching())
        super().__init__(index, lever, "set", lever.set, *([matching] if self.matching else []))
        self.values = values


class SendAct(Act):
    """A message, packed, to a group."""

    def __init__(self, index: int, lever: SendLever, to: Ids, body: bytes) -> None:
        super().__init__(index, lever, "send", lever.send.body, to)
        self.to = to
        self.body = body


class BlockAct(HeldAct):
    """Messages refused, from a group, to all or to another group."""

    def __init__(self, index: int, lever: BlockLever, sender: Ids, receiver: Ids | None) -> None:
        super().__init__(index, lever, "block", None, sender, receiver)
        self.what = "block"
        self._sender = _Some(sender)
        self._receiver = None if receiver is None else _Some(receiver)

    def covers(self, sender: Ids, receiver: Ids) -> NDArray[np.bool_]:
        """Which of these messages it refuses; of agents born after it was made, none."""
        hit = self._sender.has(sender) & (receiver != WORLD)
        return np.asarray(hit if self._receiver is None else hit & self._receiver.has(receiver))


class ChangeAct(Act):
    """Fields of a group's agents; `makers`, by field, give the value of the member at a place, a new one each time."""

    def __init__(self, index: int, lever: ChangeLever, members: Ids, makers: dict[str, Callable[[int], Any]]) -> None:
        super().__init__(index, lever, "change", (lever.change.fields, lever.change.each), members)
        self.what = f"change {written({**lever.change.fields, **lever.change.each}).decode()}"[:SHOWN_CHARS]
        self.changed = members
        self.makers = makers


class _Some:
    """Some agents: a mask where they are a large part of all, else their ids, so that few cost little room."""

    def __init__(self, ids: Ids) -> None:
        self._size = int(ids.max(initial=-1)) + 1
        self._mask: NDArray[np.bool_] | None = None
        self._sorted = ids
        if len(ids) * 16 >= self._size:
            self._mask = np.zeros(self._size + 1, np.bool_)
            self._mask[ids] = True
        else:
            self._sorted = np.sort(ids)

    def has(self, ids: Ids) -> NDArray[np.bool_]:
        """Which of these are among them; of the world (-1), which is nobody, not."""
        near = np.where((ids >= 0) & (ids < self._size), ids, self._size)
        if self._mask is not None:
            return self._mask[near]
        places = np.searchsorted(self._sorted, near)
        return np.asarray(np.append(self._sorted, -2)[places] == ids)
