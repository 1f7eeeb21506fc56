"""Rows for the tables a run leaves, made from what a shard has at a tick's end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.records import Answer, Ask
from populace.core.roster import Roster
from populace.core.table_columns import Coded, Joined, joined, repeated, stacked
from populace.core.tables import TABLES, Column, TableRows
from populace.env import World
from populace.env.acts import Acting
from populace.env.guarding import guard
from populace.env.part import Part
from populace.kernel.bus import Frame, Mail, Outgoing
from populace.kernel.rounds import Held

NEVER: Final = -1
"""Stands in `tick_read` for a message that no turn read."""

_ASKS: Final = [(one, *one.source.partition(".")[::2]) for one in TABLES["asks"].columns if one.source]
_INTEGERS: Final = {"int32": np.int32, "int64": np.int64}
_CHUNK: Final = 256
"""How many asks are read before the next: all of their columns, while the processor's cache holds them."""
_FATES: Final = ("delivered", "refused:inbox_full", "refused:retired", "refused:unknown_recipient", "refused:blocked")


class Unmade(Mapping[str, TableRows]):
    """Rows of tables by name: those that are `made`, and those that are made when they are wanted, once, by `makers`.

    What they were made from is let go of then. They may be made in a thread, while a tick goes on that knows nothing of
    them.
    """

    def __init__(self, made: dict[str, TableRows], makers: dict[str, Callable[[], TableRows]]) -> None:
        self._made = made
        self._makers = makers
        self._names = (*made, *makers)

    def __getitem__(self, table: str) -> TableRows:
        if (make := self._makers.get(table)) is not None:
            self._made[table] = make()
            self._makers.pop(table, None)
        return self._made[table]

    def __contains__(self, table: object) -> bool:
        return table in self._names  # whoever asks has none made

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def message_rows(mail: Mail, tick: int, unknown: Outgoing, blocked: Outgoing) -> TableRows:
    """The messages that reached this shard's inboxes in `tick` or were refused there, as they came in their frames.

    Then those refused at the sender: with an `unknown` recipient, and `blocked` by levers.
    """
    count, turned_away = len(mail.sender), [len(unknown.sender), len(blocked.sender)]
    fates = np.zeros(count + sum(turned_away), np.uint8)
    fates[mail.refused], fates[mail.retired] = 1, 2
    fates[count:] = np.repeat(np.array([3, 4], np.uint8), turned_away)
    body = Joined(mail.body, mail.stops)
    if sum(turned_away):
        body = stacked([body, joined(unknown.bodies), joined(blocked.bodies)])
    sent = np.full(len(fates), mail.tick, np.int32)
    sent[count:] = np.repeat(np.array([unknown.tick, blocked.tick], np.int32), turned_away)
    return {
        "tick_sent": sent,
        "tick_read": np.where(fates == 0, np.int32(tick), np.int32(NEVER)),
        "sender": np.concatenate((mail.sender, unknown.sender, blocked.sender)),
        "receiver": np.concatenate((mail.receiver, unknown.receiver, blocked.receiver)),
        "nth": np.concatenate((mail.nth, unknown.nth, blocked.nth)),
        "body": body,
        "fate": Coded(_FATES, fates),
    }


def join(one: TableRows, other: TableRows) -> TableRows:
    """Two batches with the same columns as one."""
    return {name: stacked([column, other[name]]) for name, column in one.items()}


def expired_rows(frames: Sequence[Frame]) -> TableRows:
    """Messages that nobody will read, since no tick follows."""
    parts = [
        {
            "tick_sent": np.full(len(frame), frame.tick, np.int32),
            "tick_read": np.full(len(frame), NEVER, np.int32),
            "sender": frame.sender,
            "receiver": frame.receiver,
            "nth": frame.nth,
            "body": Joined(frame.body, frame.offsets[1:]),
            "fate": repeated("expired", len(frame)),
        }
        for frame in frames
    ]
    return {name: stacked([part[name] for part in parts]) for name in parts[0]} if parts else {}


def ask_rows(asks: Sequence[Ask], answers: Sequence[Answer]) -> TableRows:
    """These asks, given in the order (agent, nth) with how each ended, with prompt and answer (None: it abstained)."""
    assert len(asks) == len(answers)
    rows: dict[str, Any] = {column.name: [] for column, *_ in _ASKS}
    read = [(rows[column.name].extend, attrgetter(name), side) for column, side, name in _ASKS]
    for first in range(0, len(asks), _CHUNK):
        given: dict[str, Sequence[Any]] = {
            "ask": asks[first : first + _CHUNK],
            "answer": answers[first : first + _CHUNK],
        }
        for take, attribute, side in read:
            take(map(attribute, given[side]))
    if "abstained" in rows["settled"]:
        said = zip(rows["settled"], rows["answer"], strict=True)
        rows["answer"] = [None if settled == "abstained" else text for settled, text in said]
    for column, *_ in _ASKS:
        rows[column.name] = _closest(column, rows[column.name])
    rows["for_type"], rows["stands_for"] = repeated("", len(asks)), repeated(-1, len(asks))
    return rows


def _closest(column: Column, values: list[Any]) -> Any:
    """A column's values as what says them at the least cost."""
    if values and values[-1] == values[0] and column.type != "float64" and values.count(values[0]) == len(values):
        return repeated(values[0], len(values))
    if column.type in _INTEGERS:
        with suppress(OverflowError, TypeError):  # whoever writes them says which they are
            return np.array(values, _INTEGERS[column.type])
    return values


def action_rows(tick: int, actions: Acting, reasons: Mapping[int, str]) -> TableRows:
    """The actions that reached the world in `tick`, in the order (agent, nth), and what became of each.

    `reasons` of those that were refused are by place.
    """
    order = actions.in_order()
    known = {reason: 1 + at for at, reason in enumerate(dict.fromkeys(reasons.values()))}
    fates = np.zeros(len(actions), np.int32)
    fates[np.fromiter(reasons, np.intp, len(reasons))] = [known[reason] for reason in reasons.values()]
    return {
        "tick": np.full(len(actions), tick, np.int32),
        "agent": actions.agents[order],
        "nth": actions.nth[order],
        "kind": Coded(actions.kinds, actions.codes[order]),
        "args": actions.packed(order),
        "fate": Coded(["applied", *(f"refused:{reason}" for reason in known)], fates[order]),
    }


def turnover_rows(tick: int, born: NDArray[np.int32], left: NDArray[np.int32], roster: Roster) -> TableRows:
    """Who is born and who has left as `tick` begins."""
    agents = np.concatenate((born, left))
    return {
        "tick": np.full(len(agents), tick, np.int32),
        "agent": agents,
        "type": Coded(roster.names, roster.types_of(agents)),
        "what": Coded(("born", "left"), np.repeat(np.array([0, 1], np.uint8), [len(born), len(left)])),
    }


def part_rows(world: World, wanted: Collection[str], *, opening: bool = False) -> dict[str, TableRows]:
    """What the parts of a world give of these tables, as it stands at the edge of its tick."""
    found: dict[str, TableRows] = {}
    for part in world.parts.values() if wanted else ():
        if type(part).table_rows is Part.table_rows:
            continue
        for table, columns in guard(f"part '{part.name}', table_rows", part.table_rows, opening).items():
            count = len(next(iter(columns.values())))
            if table in wanted and count:
                tick, name = np.array(world.tick, np.int32), np.array(part.name, object)
                rows = {"tick": np.broadcast_to(tick, count), "part": np.broadcast_to(name, count), **columns}
                found[table] = join(found[table], rows) if table in found else rows
    return found


def round_rows(tick: int, held: Sequence[Held]) -> TableRows:
    """What was said and heard in a tick's rounds, in the order (agent, nth)."""
    agent, nth, part, group, number, said, heard = map(list, zip(*sorted(held), strict=True))
    return {
        "tick": [tick] * len(held), "agent": agent, "nth": nth, "part": part, "group": group, "round": number,
        "said": said, "heard": heard,
    }  # fmt: skip
