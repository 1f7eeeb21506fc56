"""The map: where agents stand, and the ties among them as they were at a tick."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from populace.page.layout import laid_out
from populace.page.rows import Rows
from populace.page.town import Places, read_places

MOST_SHOWN: Final = 30_000
"""Edges that are drawn; of more a sample is, the same each time."""
_CONTACT_ROWS: Final = 2_000_000
PLANES: Final = (("x", "y"), ("lon", "lat"), ("longitude", "latitude"))
"""Pairs of public fields that say where an agent is."""

Kind = Literal["city", "places", "network", "contacts", "none"]


class Ties(msgspec.Struct, frozen=True):
    """Edges as arrays of agents' ids, and the tick from which (`since`) until before which (`until`) each is there."""

    source: NDArray[np.int32]
    target: NDArray[np.int32]
    since: NDArray[np.int32]
    until: NDArray[np.int32]

    def at(self, tick: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The edges at a tick."""
        there = (self.since <= tick) & (tick < self.until)
        return self.source[there], self.target[there]


class Map(msgspec.Struct, frozen=True):
    """What is drawn: `places` of shape (agents, 2), from -1 to 1, and the ties. `kind` says what both come from."""

    kind: Kind
    places: NDArray[np.float32]
    ties: Ties
    changes: bool = False
    """Whether ties come or go after the run's beginning."""
    town: Places | None = None
    """The places of a city: where agents are is in `populace.page.town` then, and `places` holds nothing."""

    def shown(self, tick: int) -> NDArray[np.int32]:
        """The edges to draw at a tick, of shape (n, 2)."""
        source, target = self.ties.at(tick)
        if len(source) > MOST_SHOWN:
            kept = np.linspace(0, len(source) - 1, MOST_SHOWN).astype(np.intp)
            source, target = source[kept], target[kept]
        return np.column_stack((source, target)).astype(np.int32)


_FOREVER: Final = np.iinfo(np.int32).max
NO_TIES: Final = Ties(*(np.empty(0, np.int32) for _ in range(4)))


def make_map(folder: Path, agents: int, fields: Sequence[str]) -> Map:
    """A run's map. Networks are laid out in a process of their own, which takes seconds where they are large."""
    ties, kind = read_ties(folder), "network"
    if not len(ties.source):
        ties, kind = contacts(folder), "contacts"
    there = (ties.source < agents) & (ties.target < agents)
    ties = Ties(ties.source[there], ties.target[there], ties.since[there], ties.until[there])
    changes = bool((ties.since > 0).any() or (ties.until < _FOREVER).any())
    if (town := read_places(folder)) is not None:
        return Map("city", np.zeros((agents, 2), np.float32), ties, changes, town)
    if plane_of(fields):
        return Map("places", np.zeros((agents, 2), np.float32), ties, changes)
    if not len(ties.source):
        kind = "none"
    return Map(kind, laid_out(agents, ties.source, ties.target), ties, changes)  # type: ignore[arg-type]


def plane_of(fields: Sequence[str]) -> tuple[str, str] | None:
    """The public fields that say where an agent is; None where there are none."""
    return next((plane for plane in PLANES if set(plane) <= set(fields)), None)


def read_ties(folder: Path) -> Ties:
    """The edges of a run's networks: as it began, and as agents changed them since.

    What levers cut, and what goes with agents who leave, is not on the disk by edge and is left as it was.
    """
    rows = Rows(folder, "ties")
    tables = [rows.read(group, ("part", "source", "target")) for group in rows.groups]
    source = np.concatenate([table.column("source").to_numpy() for table in tables] or [np.empty(0, np.int32)])
    target = np.concatenate([table.column("target").to_numpy() for table in tables] or [np.empty(0, np.int32)])
    parts = {part for table in tables for part in pc.unique(table.column("part")).to_pylist()} or {"network"}
    since, until = np.zeros(len(source), np.int32), np.full(len(source), _FOREVER, np.int32)
    changed = _changes(folder, parts)
    if not changed:
        return Ties(source, target, since, until)
    touched = {(one, other) for _, _, one, other in changed}
    ends = np.column_stack((source, target)).tolist()
    open_at = {tuple(pair): at for at, pair in enumerate(ends) if tuple(pair) in touched}
    more: list[list[int]] = []
    opened: dict[tuple[int, int], int] = {}
    for tick, made, one, other in changed:
        pair = (one, other)
        if made:
            opened[pair] = len(more)
            more.append([one, other, tick + 1, _FOREVER])
        elif pair in opened:
            more[opened.pop(pair)][3] = tick + 1
        elif pair in open_at:
            until[open_at.pop(pair)] = tick + 1
    new = np.array(more, np.int32).reshape(-1, 4)
    return Ties(
        np.concatenate((source, new[:, 0])),
        np.concatenate((target, new[:, 1])),
        np.concatenate((since, new[:, 2])),
        np.concatenate((until, new[:, 3])),
    )


class _Target(msgspec.Struct):
    target: int


def _changes(folder: Path, parts: set[str]) -> list[tuple[int, bool, int, int]]:
    """What agents did to their ties: the tick, whether an edge was made, and its ends."""
    rows = Rows(folder, "actions")
    kinds = [f"{part}.{verb}" for part in sorted(parts) for verb in ("follow", "unfollow")]
    decode = msgspec.json.Decoder(_Target).decode
    found = []
    for group in rows.groups:
        known = rows.range_of(group, "kind")
        if known is not None and not any(known[0] <= kind <= known[1] for kind in kinds):
            continue
        table = rows.read(group, ("kind", "fate"))
        mine = pc.and_(pc.is_in(table.column("kind"), _texts(kinds)), pc.equal(table.column("fate"), "applied"))
        at = np.flatnonzero(mine.to_numpy())
        if not len(at):
            continue
        taken = rows.read(group, ("tick", "agent", "kind", "args")).take(at).to_pydict()
        for tick, agent, kind, args in zip(*(taken[name] for name in ("tick", "agent", "kind", "args")), strict=True):
            try:
                found.append((tick, not kind.endswith(".unfollow"), agent, decode(args).target))
            except msgspec.MsgspecError:
                continue
    return found


def contacts(folder: Path) -> Ties:
    """Who wrote to whom, where no network is on the disk: an edge from the first message on; of the newest ones."""
    rows, read = Rows(folder, "messages"), 0
    parts = []
    for group in reversed(rows.groups):
        if read >= _CONTACT_ROWS:
            break
        table = rows.read(group, ("tick_sent", "sender", "receiver"))
        parts.append(np.column_stack([table.column(name).to_numpy() for name in ("sender", "receiver", "tick_sent")]))
        read += group.rows
    if not parts:
        return NO_TIES
    all_of = np.concatenate(parts[::-1])
    all_of = all_of[(all_of[:, 0] >= 0) & (all_of[:, 1] >= 0) & (all_of[:, 0] != all_of[:, 1])]
    low, high = all_of[:, :2].min(axis=1).astype(np.int64), all_of[:, :2].max(axis=1).astype(np.int64)
    _, first = np.unique(low << 32 | high, return_index=True)
    kept = all_of[np.sort(first)].astype(np.int32)
    return Ties(kept[:, 0], kept[:, 1], kept[:, 2], np.full(len(kept), _FOREVER, np.int32))


def _texts(texts: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.array(list(texts), pa.string())
