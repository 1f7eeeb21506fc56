"""How a tick's actions come to the parts: part after part, in batches of consecutive ones of a kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.env.acts import Acting
from populace.env.part import Action, Batch


class Applied(msgspec.Struct):
    """What a tick's actions came to: the messages of their handlers, and why actions were refused, by place."""

    actions: Sequence[Action]
    emissions: list[tuple[int, Any]]
    reasons: dict[int, str]


def batches(
    parts: Iterable[str], known: frozenset[str], actions: Sequence[Action], reasons: dict[int, str]
) -> Iterator[tuple[str, Sequence[int] | NDArray[np.intp], Batch]]:
    """Part after part, its actions in batches of consecutive ones of a kind, with their places.

    `parts` are the names of the world's parts, and `known` the kinds that they take. Puts down the `reasons` of others.
    """
    if isinstance(actions, Acting):
        reasons.update(dict.fromkeys(actions.unknown(known), "unknown_action"))
        by_name: dict[str, list[tuple[str, NDArray[np.intp], Batch]]] = {}
        for batched in actions.batches(known):
            by_name.setdefault(batched[0].partition(".")[0], []).append(batched)
        for name in parts:
            yield from by_name.get(name, ())
        return
    by_part: dict[str, list[int]] = {name: [] for name in parts}
    for at, one in enumerate(actions):
        if one.kind in known:
            by_part[one.kind.partition(".")[0]].append(at)
        else:
            reasons[at] = "unknown_action"
    for places in by_part.values():
        own = [actions[at] for at in places]
        agents, args = np.array([one.agent for one in own], np.int32), [one.args for one in own]
        kinds = [one.kind for one in own]
        for begin, end in _runs(kinds):
            yield kinds[begin], places[begin:end], Batch(agents[begin:end], args[begin:end])


def _runs(kinds: Sequence[str]) -> Iterable[tuple[int, int]]:
    """Where each run of actions of one kind begins and ends."""
    begin = 0
    for at, kind in enumerate(kinds):
        if kind != kinds[begin]:
            yield begin, at
            begin = at
    if kinds:
        yield begin, len(kinds)


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
