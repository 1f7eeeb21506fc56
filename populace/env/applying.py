"""How a tick's actions come to the parts: part after part, in batches of consecutive ones of a kind.

Actions that stand apart come first or last, all of a kind at once: where two kinds take turns in the fair order, each
run of one is a batch of a few, and what a batch costs is most of what an action costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.core.text import shown_value
from populace.env.acts import Acting
from populace.env.guarding import guard
from populace.env.part import FIRST, LAST, Batch, Part

Places = NDArray[np.intp]


class Applied(msgspec.Struct):
    """What a tick's actions came to: the messages of their handlers, and why actions were refused, by place."""

    actions: Acting
    emissions: list[tuple[int, Any]]
    reasons: dict[int, str]


class Taken(NamedTuple):
    """Actions of one kind that a part takes at once, and their places; whether they stand apart (`Part.apart`)."""

    kind: str
    places: Places
    batch: Batch
    apart: bool = False


def batches(parts: Mapping[str, Part], tick: int, known: frozenset[str], actions: Acting) -> Iterator[Taken]:
    """Part after part, its actions in batches of consecutive ones of a kind, between those that stand apart.

    `parts` are the world's by name, and `known` the kinds that they take; others are left out.
    """
    number = {name: at for at, name in enumerate(parts)}
    of_kind = [number[kind.partition(".")[0]] if kind in known else len(number) for kind in actions.kinds]
    order = actions.order
    of = np.array(of_kind, np.intp)[actions.codes[order]] if len(of_kind) > 1 else None
    for at in sorted({*of_kind} - {len(number)}):
        part, own = list(parts.values())[at], order if of is None else order[of == at]
        if type(part).apart is Part.apart:
            yield from _in_order(actions, own)
        else:
            yield from _with_apart(part, tick, actions, own)


def _in_order(actions: Acting, own: Places) -> Iterator[Taken]:
    for places, batch in actions.runs(own):
        yield Taken(actions.kind_of(int(places[0])), places, batch)


def _with_apart(part: Part, tick: int, actions: Acting, own: Places) -> Iterator[Taken]:
    """The actions of a part at these places, in order but for those that stand apart."""
    codes = actions.codes[own]
    kinds: list[int] = np.unique(codes).tolist()
    if len(kinds) < 2:
        yield from _in_order(actions, own)
        return
    rows = {actions.kinds[code]: np.flatnonzero(codes == code) for code in kinds}
    acts = {kind.partition(".")[2]: actions.batch(own[at]) for kind, at in rows.items()}
    for batch, at in zip(acts.values(), rows.values(), strict=True):
        batch.at = at
    aside: dict[int, list[Taken]] = {FIRST: [], LAST: []}
    left, whole = np.ones(len(own), np.bool_), dict(rows)
    for name, told in sorted(_told(part, tick, acts).items()):
        kind = f"{part.name}.{name}"
        stand = rows[kind]
        for when, some in aside.items():
            mask = told == when
            if mask.any():
                left[stand[mask]] = False
                whole.pop(kind, None)
                places = own[stand[mask]]
                some.append(Taken(kind, places, acts[name] if mask.all() else actions.batch(places), apart=True))
    yield from aside[FIRST]
    if len(whole) == 1 and int(left.sum()) == len(stand := next(iter(whole.values()))):  # all of one kind is left
        kind = next(iter(whole))
        yield Taken(kind, own[stand], acts[kind.partition(".")[2]])
    else:
        yield from _in_order(actions, own[left])
    yield from aside[LAST]


def _told(part: Part, tick: int, acts: Mapping[str, Batch]) -> dict[str, NDArray[Any]]:
    """What a part says of these actions, by their name: FIRST, LAST or 0 for each. Raises ScenarioError."""
    where = f"part '{part.name}', apart"
    found: Any = guard(where, part.apart, tick, acts)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise ScenarioError(f"{where}: gives masks by the name of the action, not {shown_value(found)}")
    told: dict[str, NDArray[Any]] = {}
    for name, given in guard(where, dict, found).items():
        mask = guard(where, np.asarray, given)
        fits = mask.dtype in (np.bool_, np.int8) and name in acts and mask.shape == (len(acts[name]),)
        if not fits or not np.isin(mask, (FIRST, 0, LAST)).all():
            raise ScenarioError(f"{where}: gives a mask over a batch by its kind, not {name!r} {shown_value(given)}")
        told[name] = mask
    return told


class OfAction(NamedTuple):
    """Whose actions a batch holds, in words when they are wanted."""

    kind: str
    batch: Batch

    def __str__(self) -> str:
        return f"action '{self.kind}', {named(self.batch.agents.tolist())}"


def not_given(kind: str, error: BaseException | None, batch: Batch) -> str:
    """Which arguments an action came with, where its handler looked for another."""
    if not isinstance(error, KeyError) or not isinstance(error.args[0] if error.args else None, str):
        return ""
    lacking = next((args for args in batch.args if not set(error.args) & set(args)), None)
    return "" if lacking is None else f". ctx.act({kind!r}) was given: {', '.join(lacking) or 'no arguments'}"


def named(agents: Sequence[int]) -> str:
    """These agents in words: the first of them by id."""
    shown = ", ".join(str(agent) for agent in agents[:5])
    return f"agent {shown}" if len(agents) == 1 else f"agents {shown}{', ...' if len(agents) > 5 else ''}"
