"""A tick's actions as they come to the world: out of shards' frames into columns, and into their fair order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import msgpack
import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.draws import Draws
from populace.env.acts import Acting, Singles
from populace.kernel.bus import Frame, Mail
from populace.kernel.order import fair_places

_decode: Final = msgspec.msgpack.Decoder(list[tuple[str, dict[str, Any]]]).decode
_NO_LIMIT: Final = 2**31


def taken_singly(frames: Sequence[Frame]) -> Singles:
    """The actions in the frames to the world, each `(kind, args)`, in the order (agent, nth)."""
    mail = Mail(frames, _NO_LIMIT)
    rows = mail.order
    # One array of all: its bodies stand one after another as they are.
    given = _decode(b"\xdd" + len(rows).to_bytes(4, "big") + mail.body)
    given = list(map(given.__getitem__, rows.tolist()))
    known: dict[str, int] = {}
    codes = np.array([known.setdefault(kind, len(known)) for kind, _ in given], np.int32)
    before = np.array([1 + len(msgpack.packb(kind)) for kind in known], np.int64)
    starts, body = (mail.starts[rows] + before[codes]).tolist(), mail.body
    packed = [body[start:stop] for start, stop in zip(starts, mail.stops[rows].tolist(), strict=True)]
    return Singles(mail.sender[rows], mail.nth[rows], list(known), codes, list(map(itemgetter(1), given)), packed)


def fairly(draw: Draws, actions: Acting) -> NDArray[np.intp]:
    """The places of a tick's actions by part and, on each, in the fair order; `draw` are the world's of the tick."""
    of = [kind.partition(".")[0] for kind in actions.kinds]
    names = sorted(set(of))
    parts = np.array([names.index(name) for name in of], np.int32)[actions.codes]
    return fair_places(draw, names, parts, actions.agents, actions.nth)


def refusals(actions: Acting, reasons: Mapping[int, str]) -> list[tuple[int, int, str]]:
    """Agent, nth and reason of the actions that were refused, sorted; `reasons` are by place."""
    places = np.fromiter(reasons, np.intp, len(reasons))
    return sorted(zip(actions.agents[places].tolist(), actions.nth[places].tolist(), reasons.values(), strict=True))
