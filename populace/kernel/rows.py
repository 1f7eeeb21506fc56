"""Rows for the tables a run leaves, made from what a shard has at a tick's end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.records import Answer, Ask
from populace.core.roster import Roster
from populace.core.tables import TABLES, TableRows
from populace.env import World
from populace.env.acts import Acting
from populace.env.guarding import guard
from populace.env.part import Part
from populace.kernel.bus import Frame, Mail, Outgoing
from populace.kernel.rounds import Held

NEVER: Final = -1
"""Stands in `tick_read` for a message that no turn read."""

_ASKS: Final = [(column.name, *column.source.split(".")) for column in TABLES["asks"].columns if column.source]


def message_rows(mail: Mail, tick: int, unknown: TableRows) -> TableRows:
    """The messages that reached this shard's inboxes in `tick`, were refused there, or had no recipient."""
    rows = np.concatenate((mail.order, mail.refused, mail.retired)).astype(np.intp)
    delivered, full, retired = len(mail.order), len(mail.refused), len(mail.retired)
    refused = full + retired
    return {
        "tick_sent": np.concatenate((np.full(len(rows), mail.tick, np.int32), unknown["tick_sent"])),
        "tick_read": np.concatenate(
            (np.full(delivered, tick, np.int32), np.full(refused, NEVER, np.int32), unknown["tick_read"])
        ),
        "sender": np.concatenate((mail.sender[rows], unknown["sender"])),
        "receiver": np.concatenate((mail.receiver[rows], unknown["receiver"])),
        "nth": np.concatenate((mail.nth[rows], unknown["nth"])),
        "body": mail.bodies(rows) + unknown["body"],
        "fate": ["delivered"] * delivered
        + ["refused:inbox_full"] * full
        + ["refused:retired"] * retired
        + unknown["fate"],
    }


def unknown_rows(out: Outgoing) -> TableRows:
    """Messages refused at the sender, since their recipient does not exist."""
    return _fated(out, "refused:unknown_recipient")


def blocked_rows(out: Outgoing) -> TableRows:
    """Messages refused at the sender by a lever."""
    return _fated(out, "refused:blocked")


def join(one: TableRows, other: TableRows) -> TableRows:
    """Two batches with the same columns as one."""
    return {
        name: np.concatenate((column, other[name])) if isinstance(column, np.ndarray) else column + other[name]
        for name, column in one.items()
    }


def expired_rows(frames: Sequence[Frame]) -> TableRows:
    """Messages that nobody will read, since no tick follows."""
    parts = [
        _fated(
            Outgoing(frame.tick, frame.sender, frame.receiver, frame.nth, frame.bodies()),
            "expired",
        )
        for frame in frames
    ]
    if not parts:
        return {}
    return {
        name: [value for part in parts for value in part[name]]
        if isinstance(parts[0][name], list)
        else np.concatenate([part[name] for part in parts])
        for name in parts[0]
    }


def ask_rows(asks: Sequence[Ask], answers: Sequence[Answer]) -> TableRows:
    """These asks, given in the order (agent, nth) with how each ended, with prompt and answer (None: it abstained)."""
    assert len(asks) == len(answers)
    given: dict[str, Sequence[Any]] = {"ask": asks, "answer": answers}
    rows = {column: list(map(attrgetter(name), given[side])) for column, side, name in _ASKS}
    rows["answer"] = [
        None if settled == "abstained" else text for settled, text in zip(rows["settled"], rows["answer"], strict=True)
    ]
    rows["for_type"], rows["stands_for"] = [""] * len(asks), [-1] * len(asks)
    return rows


def action_rows(tick: int, actions: Acting, reasons: Mapping[int, str]) -> TableRows:
    """The actions that reached the world in `tick`, in the order (agent, nth), and what became of each.

    `reasons` of those that were refused are by place.
    """
    order = actions.in_order()
    fates = np.full(len(actions), "applied", object)
    fates[np.fromiter(reasons, np.intp, len(reasons))] = [f"refused:{reason}" for reason in reasons.values()]
    return {
        "tick": np.full(len(actions), tick, np.int32),
        "agent": actions.agents[order],
        "nth": actions.nth[order],
        "kind": np.array(actions.kinds, object)[actions.codes[order]].tolist(),
        "args": actions.packed(order),
        "fate": fates[order].tolist(),
    }


def turnover_rows(tick: int, born: NDArray[np.int32], left: NDArray[np.int32], roster: Roster) -> TableRows:
    """Who is born and who has left as `tick` begins."""
    agents = np.concatenate((born, left))
    return {
        "tick": np.full(len(agents), tick, np.int32),
        "agent": agents,
        "type": [roster.names[at] for at in roster.types_of(agents).tolist()],
        "what": ["born"] * len(born) + ["left"] * len(left),
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


def _fated(out: Outgoing, fate: str) -> TableRows:
    n = len(out.sender)
    return {
        "tick_sent": np.full(n, out.tick, np.int32),
        "tick_read": np.full(n, NEVER, np.int32),
        "sender": out.sender,
        "receiver": out.receiver,
        "nth": out.nth,
        "body": out.bodies,
        "fate": [fate] * n,
    }
