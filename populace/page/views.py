"""What may be asked of a run: a view a name, with what it takes, and plain data or columns that it gives.

Each view answers at once from what is on the disk or ready. What takes longer is made ready in the background, and
until then the answer is `Preparing`. Another view is another line of `VIEWS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from populace.page import messages, minds, overview, person, posts, surveys
from populace.page.network import plane_of
from populace.page.panels import Panel
from populace.page.shelf import NotThere
from populace.page.town import SCALE, Places, Town, field_of, labels_of
from populace.page.watched import Watched

Number = Annotated[int, Meta(ge=0, le=2**53)]
Agent = Annotated[int, Meta(ge=-1, le=2**31)]
Name = Annotated[str, Meta(max_length=300)]
Some = Annotated[int, Meta(ge=1, le=200)]
_FRAME_BYTES: Final = 2**20
_NAMED: Final = 300
"""Of a city of more places than this, none is named on the map."""
_NAME_LETTERS: Final = 40
MISSING: Final = 255
"""Stands for no value in a frame; 0 to 254 are from the field's least to its greatest value, or its labels."""


class Preparing(msgspec.Struct, frozen=True):
    """It is not ready yet: ask again in a moment. `share` says how far it is, from 0 to 1, as far as that is known."""

    share: float = 0.0
    ready: bool = False


class Columns(NamedTuple):
    """Numbers as they lie in memory, little-endian, and what they are, which travels in a header."""

    data: bytes
    about: dict[str, Any]


class OfRun(msgspec.Struct, frozen=True):
    """A view of the whole run takes nothing else."""


class OfField(msgspec.Struct, frozen=True):
    """A public field."""

    field: Name


class OfFrames(msgspec.Struct, frozen=True):
    """A public field at `count` ticks from `start` on; `exact` for float32 in place of a byte a value."""

    field: Name
    start: Number = 0
    count: Annotated[int, Meta(ge=1, le=1000)] = 1
    exact: bool = False


class OfTicks(msgspec.Struct, frozen=True):
    """`count` ticks from `start` on."""

    start: Number = 0
    count: Annotated[int, Meta(ge=1, le=1000)] = 1


class AtTick(msgspec.Struct, frozen=True):
    """A tick."""

    tick: Number = 0


class Searched(msgspec.Struct, frozen=True):
    """A text, an agent, two; where to go on."""

    text: Name = ""
    agent: Agent | None = None
    other: Agent | None = None
    before: Number | None = None
    want: Some = 40


class OfAgent(msgspec.Struct, frozen=True):
    """An agent."""

    agent: Number
    before: Number | None = None
    want: Some = 20


class OfSeries(msgspec.Struct, frozen=True):
    """A field of an agent."""

    agent: Number
    field: Name


class OfRow(msgspec.Struct, frozen=True):
    """A row of a table."""

    table: Name
    row: Number


class Listing(msgspec.Struct, frozen=True):
    """Posts of a part (the first one, unless it is named) that hold a text."""

    part: Name = ""
    text: Name = ""
    agent: Agent | None = None
    by: Annotated[str, Meta(pattern="^(size|time)$")] = "size"
    start: Number = 0
    want: Some = 30


class OfPost(msgspec.Struct, frozen=True):
    """A post of a part."""

    part: Name
    post: Number


class OfSurvey(msgspec.Struct, frozen=True):
    """A survey's rows."""

    name: Name = ""
    start: Number = 0
    want: Some = 100


def _overview(run: Watched, _: OfRun) -> Any:
    return overview.overview(run.folder, run.name, run.history)


def _map(run: Watched, _: OfRun) -> Any:
    drawn = run.map()
    if drawn is None:
        return Preparing()
    fields, town = run.fields, drawn.town
    return {
        "ready": True, "kind": drawn.kind, "agents": len(drawn.places), "edges": len(drawn.ties.source),
        "fields": fields if town is None else [field_of(town), *fields],
        "plane": plane_of(fields) if town is None else None, "changes": drawn.changes,
        "town": None if town is None else _about_town(town), "keeps_town": run.keeps_town,
    }  # fmt: skip


def _places(run: Watched, _: OfRun) -> Any:
    drawn = run.map()
    return Preparing() if drawn is None else Columns(drawn.places.astype("<f4").tobytes(), {})


def _edges(run: Watched, at: AtTick) -> Any:
    drawn = run.map()
    if drawn is None:
        return Preparing()
    shown, there = drawn.shown(at.tick), len(drawn.ties.at(at.tick)[0])
    return Columns(shown.astype("<i4").tobytes(), {"of": there})


def _town(run: Watched, _: OfRun) -> Any:
    drawn = run.map()
    if drawn is None:
        return Preparing()
    if drawn.town is None:
        raise NotThere("this run has no city on record")
    xy = np.rint(np.column_stack((drawn.town.x, drawn.town.y)) * SCALE).astype("<i2")
    return Columns(xy.tobytes() + drawn.town.kind.tobytes(), {"places": len(xy)})


def _about_town(town: Places) -> dict[str, Any]:
    few = len(town.names) <= _NAMED
    return {
        "part": town.part, "places": len(town.x), "kinds": town.kinds, "labels": labels_of(town), "scale": SCALE,
        "block": town.block, "street": town.street,
        "names": [one[:_NAME_LETTERS] for one in town.names] if few and any(town.names) else [],
    }  # fmt: skip


def _whereabouts(run: Watched, of: OfTicks) -> Any:
    town = run.town()
    if town is None:
        return Preparing(run.share("."))
    count = max(1, min(of.count, _FRAME_BYTES // max(1, 4 * town.agents)))
    ticks = range(of.start, min(of.start + count, town.first + town.ticks) or of.start + 1)
    data = b"".join(town.where(tick).astype("<i2").tobytes() for tick in ticks)
    counts = [np.bincount(town.codes(tick), minlength=len(town.labels)).tolist() for tick in ticks]
    about = {
        "start": of.start, "count": len(ticks), "agents": town.agents, "ticks": town.ticks, "counts": counts,
    }  # fmt: skip
    return Columns(data, about)


def _field(run: Watched, of: OfField) -> Any:
    panel = run.panel(of.field)
    return Preparing(run.share(of.field)) if panel is None else _about(panel)


def _about(panel: Panel | Town) -> dict[str, Any]:
    return {
        "ready": True, "field": panel.field, "kind": panel.kind, "labels": panel.labels, "first": panel.first,
        "ticks": panel.ticks, "every": panel.every, "agents": panel.agents,
        "low": _finite(panel.low), "high": _finite(panel.high),
    }  # fmt: skip


def _frames(run: Watched, of: OfFrames) -> Any:
    panel = run.panel(of.field)
    if panel is None:
        return Preparing(run.share(of.field))
    count = max(1, min(of.count, _FRAME_BYTES // max(1, panel.agents * (4 if of.exact else 1))))
    ticks = range(of.start, min(of.start + count, panel.first + panel.ticks) or of.start + 1)
    rows = [panel.row(tick) for tick in ticks]
    coded = [row.astype("<f4") if of.exact else _coded(panel, row) for row in rows]
    return Columns(b"".join(one.tobytes() for one in coded), {"start": of.start, "count": len(rows), **_range(panel)})


def _range(panel: Panel | Town) -> dict[str, Any]:
    return {"low": _finite(panel.low), "high": _finite(panel.high), "agents": panel.agents, "ticks": panel.ticks}


def _coded(panel: Panel | Town, row: NDArray[np.float64]) -> NDArray[np.uint8]:
    low, high = panel.low, panel.high
    span = high - low
    if panel.kind == "text":
        scaled = np.minimum(row, MISSING - 1)
    else:
        scaled = (row - low) * ((MISSING - 1) / span) if span > 0.0 else np.where(np.isnan(row), row, 127.0)
    clipped = np.clip(np.rint(scaled), 0, MISSING - 1)
    return np.where(np.isnan(clipped), MISSING, clipped).astype(np.uint8)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _messages(run: Watched, of: Searched) -> Any:
    return messages.messages(run.folder, text=of.text, agent=of.agent, other=of.other, before=of.before, want=of.want)


def _asks(run: Watched, of: Searched) -> Any:
    return messages.asks(run.folder, agent=of.agent, text=of.text, before=of.before, want=of.want)


def _actions(run: Watched, of: OfAgent) -> Any:
    return messages.actions(run.folder, agent=of.agent, before=of.before, want=of.want)


def _whole(run: Watched, of: OfRow) -> Any:
    return messages.whole(run.folder, of.table, of.row)


def _agent(run: Watched, of: OfAgent) -> Any:
    if of.agent >= run.agents():
        raise NotThere(f"there is no agent {of.agent}: ids go from 0 to {run.agents() - 1}")
    life = person.type_and_life(run.folder, of.agent)
    return {"agent": of.agent, **life, "held": person.held_by(run.folder, of.agent), "fields": run.fields}


def _series(run: Watched, of: OfSeries) -> Any:
    panel = run.panel(of.field)
    if panel is None:
        return Preparing(run.share(of.field))
    if of.agent >= panel.agents:
        raise NotThere(f"there is no agent {of.agent} with the field {of.field}")
    ticks, values = panel.series(of.agent)
    numbers = [_finite(value) for value in values]
    now = panel.text(values[-1]) if values else None
    return {**_about(panel), "ticks": ticks, "values": numbers, "now": now}


def _posts(run: Watched, of: Listing) -> Any:
    feeds = run.feeds()
    if feeds is None:
        return Preparing()
    if not feeds:
        return {"ready": True, "parts": [], "posts": [], "next": None, "of": 0, "part": ""}
    part = of.part or next(iter(feeds))
    if part not in feeds:
        raise NotThere("there is no such feed")
    found = posts.listed(feeds[part], text=of.text, agent=of.agent, by=of.by, start=of.start, want=of.want)
    return {"ready": True, "parts": list(feeds), **found}


def _cascade(run: Watched, of: OfPost) -> Any:
    feeds = run.feeds()
    if feeds is None:
        return Preparing()
    if of.part not in feeds:
        raise NotThere("there is no such feed")
    return {"ready": True, **posts.cascade(feeds[of.part], of.post)}


def _minds(run: Watched, _: OfRun) -> Any:
    return {"minds": [{"name": one.name, "about": one.about} for one in minds.minds_of(run.folder)]}


def _surveys(run: Watched, _: OfRun) -> Any:
    return {"surveys": surveys.surveys(run.folder)}


def _survey(run: Watched, of: OfSurvey) -> Any:
    return surveys.survey(run.folder, of.name, of.start, of.want)


VIEWS: Final[dict[str, tuple[type[Any], Callable[[Watched, Any], Any]]]] = {
    "overview": (OfRun, _overview),
    "map": (OfRun, _map),
    "places": (OfRun, _places),
    "edges": (AtTick, _edges),
    "town": (OfRun, _town),
    "whereabouts": (OfTicks, _whereabouts),
    "field": (OfField, _field),
    "frames": (OfFrames, _frames),
    "messages": (Searched, _messages),
    "asks": (Searched, _asks),
    "actions": (OfAgent, _actions),
    "whole": (OfRow, _whole),
    "agent": (OfAgent, _agent),
    "series": (OfSeries, _series),
    "posts": (Listing, _posts),
    "cascade": (OfPost, _cascade),
    "minds": (OfRun, _minds),
    "surveys": (OfRun, _surveys),
    "survey": (OfSurvey, _survey),
}
"""A view's name in its address, what it takes of it, and what gives it."""
