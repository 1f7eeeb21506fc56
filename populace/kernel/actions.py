"""A tick's actions as they come to the world: out of shards' frames into columns, and into their fair order. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgpack
import numpy as np

from populace.core.draws import Draws
from populace.env.acts import Acting, Singles
from populace.env.packed import PackedArgs, which_start
from populace.kernel.bus import Frame, Mail
from populace.kernel.order import fair_places

_NO_LIMIT: Final = 2**31
_HEAD_BYTES: Final = 4096
"""No kind of an action takes as many."""


def taken_singly(frames: Sequence[Frame]) -> Singles:
    """The actions in the frames to the world, each `(kind, args)`, in the order (agent, nth)."""
    mail = Mail(frames, _NO_LIMIT)
    rows, body = mail.order, mail.body
    data, at, stops = np.frombuffer(body, np.uint8), mail.starts[rows], mail.stops[rows]
    kinds: list[str] = []
    codes, args = np.zeros(len(rows), np.int32), at.copy()
    left = np.arange(len(rows))
    while len(left):
        start = int(at[left[0]])
        kind, prefix = _kind_at(body, start)
        here = which_start(data, at[left], stops[left], np.frombuffer(prefix, np.uint8))
        here[0] = True
        codes[left[here]] = len(kinds)
        args[left[here]] += len(prefix)
        kinds.append(kind)
        left = left[~here]
    return Singles(mail.sender[rows], mail.nth[rows], kinds, codes, PackedArgs(body, args, stops))


def _kind_at(body: bytes, start: int) -> tuple[str, bytes]:
    """The kind of the action `(kind, args)` that is packed there, and all that stands before its arguments."""
    reader = msgpack.Unpacker(max_buffer_size=0)
    reader.feed(body[start : start + _HEAD_BYTES])
    reader.read_array_header()
    kind: str = reader.unpack()
    return kind, body[start : start + reader.tell()]


def put_in_order(draw: Draws, actions: Acting, unordered: frozenset[str] = frozenset()) -> None:
    """Have a tick's actions act by part and, on each, in the fair order; `draw` are the world's of the tick.

    A part on which there are actions of one kind only, which is one of `unordered`, has them in the order (agent, nth).
    """
    if len(actions.kinds) == 1 and actions.kinds[0] in unordered and (actions.agents[1:] > actions.agents[:-1]).all():
        return
    of = [kind.partition(".")[0] for kind in actions.kinds]
    names = sorted(set(of))
    plain = frozenset(name for name, kind in zip(of, actions.kinds, strict=True) if kind in unordered) - {
        name for name, kinds in Counter(of).items() if kinds > 1
    }
    parts = np.array([names.index(name) for name in of], np.int32)[actions.codes]
    actions.order = fair_places(draw, names, parts, actions.agents, actions.nth, plain)


def refusals(actions: Acting, reasons: Mapping[int, str]) -> list[tuple[int, int, str]]:
    """Agent, nth and reason of the actions that were refused, sorted; `reasons` are by place."""
    places = np.fromiter(reasons, np.intp, len(reasons))
    return sorted(zip(actions.agents[places].tolist(), actions.nth[places].tolist(), reasons.values(), strict=True))
