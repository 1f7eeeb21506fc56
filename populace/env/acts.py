"""Actions in columns: those that a columnar type of agents takes as one, beside those that agents take one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.env.part import Action, Batch

Int32 = NDArray[np.int32]


class Acts(msgspec.Struct, frozen=True):
    """Actions of one kind ('part.action') of many agents, a row an action.

    `agents` and `nth` are int32. `columns` are the arguments that differ, int64, float64 or bool each; `same` are those
    that are alike in all rows, scalars.
    """

    kind: str
    agents: Int32
    nth: Int32
    columns: dict[str, NDArray[Any]]
    same: dict[str, Any]

    def __len__(self) -> int:
        return len(self.agents)

    def column(self, name: str) -> NDArray[Any]:
        """An argument's values. Raises KeyError where the actions have none of that name."""
        if name in self.columns:
            return self.columns[name]
        return np.full(len(self.agents), self.same[name])

    def args(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """The arguments of these rows, as an agent would have given them one by one."""
        which = np.asarray(rows, np.intp)
        names, values = list(self.columns), [column[which].tolist() for column in self.columns.values()]
        if not names:
            return [dict(self.same) for _ in rows]
        return [{**dict(zip(names, row, strict=True)), **self.same} for row in zip(*values, strict=True)]


class Acting(Sequence[Action]):
    """A tick's actions: `single` ones first, then those in columns, each at its place.

    `order` are the places in the order in which they act on their part; parts stand one after another.
    """

    def __init__(self, single: Sequence[Action], whole: Sequence[Acts]) -> None:
        self.single = single
        self.whole = whole
        self.kinds: list[str] = []
        self.agents: Int32 = np.concatenate(
            [np.fromiter((one.agent for one in single), np.int32, len(single)), *(one.agents for one in whole)]
        )
        self.nth: Int32 = np.concatenate(
            [np.fromiter((one.nth for one in single), np.int32, len(single)), *(one.nth for one in whole)]
        )
        self.starts = np.cumsum([len(single), *(len(one) for one in whole)])
        self.order: NDArray[np.intp] = np.arange(len(self.agents))
        known: dict[str, int] = {}
        codes = [known.setdefault(one.kind, len(known)) for one in single]
        blocks = [np.full(len(one), known.setdefault(one.kind, len(known)), np.int32) for one in whole]
        self.codes: Int32 = np.concatenate([np.array(codes, np.int32), *blocks])
        """Of each action, the place of its kind among `kinds`."""
        self.kinds = list(known)

    def __len__(self) -> int:
        return len(self.agents)

    @overload
    def __getitem__(self, at: int) -> Action: ...
    @overload
    def __getitem__(self, at: slice) -> list[Action]: ...
    def __getitem__(self, at: int | slice) -> Action | list[Action]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        if not 0 <= at < len(self):
            raise IndexError(at)
        if at < len(self.single):
            return self.single[at]
        block = int(np.searchsorted(self.starts, at, side="right")) - 1
        acts, row = self.whole[block], at - int(self.starts[block])
        return Action(int(acts.agents[row]), int(acts.nth[row]), acts.kind, acts.args([row])[0])

    def parts(self) -> NDArray[np.int32]:
        """Of each action, the place of its part among the names of parts, sorted (`part_names`)."""
        names = self.part_names()
        return np.array([names.index(kind.partition(".")[0]) for kind in self.kinds], np.int32)[self.codes]

    def part_names(self) -> list[str]:
        """The parts that are acted on, sorted."""
        return sorted({kind.partition(".")[0] for kind in self.kinds})

    def batches(self, known: frozenset[str]) -> Iterator[tuple[str, NDArray[np.intp], Batch]]:
        """Consecutive actions of one kind, in the order in which they act, with their places. Others are left out."""
        order = self.order
        kinds = self.codes[order]
        edges = [*np.flatnonzero(np.diff(kinds, prepend=-1)).tolist(), len(order)]
        for begin, end in pairwise(edges):
            kind = self.kinds[int(kinds[begin])]
            if kind in known:
                places = order[begin:end]
                yield kind, places, _Columns(self, kind, places)

    def unknown(self, known: frozenset[str]) -> list[int]:
        """The places of actions that are none of these."""
        none = [at for at, kind in enumerate(self.kinds) if kind not in known]
        return np.flatnonzero(np.isin(self.codes, none)).tolist() if none else []

    def of_kind(self, kind: str, places: NDArray[np.intp], name: str) -> NDArray[Any]:
        """An argument's values at these places, all of one kind. Raises KeyError."""
        blocks = [(int(self.starts[at]), one) for at, one in enumerate(self.whole) if one.kind == kind]
        first = len(self.single)
        if len(blocks) == 1 and (not first or int(places.min()) >= first):
            start, acts = blocks[0]
            if name not in acts.columns:
                return np.full(len(places), acts.same[name])
            return acts.columns[name][places - start]
        block = np.searchsorted(self.starts, places, side="right") - 1
        found: list[tuple[NDArray[np.intp], NDArray[Any]]] = []
        for at in np.unique(block).tolist():
            rows = np.flatnonzero(block == at)
            if at < 0:
                values = np.array([self.single[place].args[name] for place in places[rows].tolist()])
            else:
                acts = self.whole[at]
                chosen = places[rows] - int(self.starts[at])
                values = acts.columns[name][chosen] if name in acts.columns else np.full(len(rows), acts.same[name])
            found.append((rows, values))
        whole = np.empty(len(places), np.result_type(*(values.dtype for _, values in found)))
        for rows, values in found:
            whole[rows] = values
        return whole

    def names_of(self, kind: str, places: NDArray[np.intp]) -> frozenset[str] | None:
        """The arguments' names at these places, all of one kind; None where they differ, or one is not in columns."""
        if not len(places) or int(places.min()) < len(self.single):
            return None
        names = {frozenset((*one.columns, *one.same)) for one in self.whole if one.kind == kind}
        return names.pop() if len(names) == 1 else None

    def args_of(self, places: NDArray[np.intp]) -> list[dict[str, Any]]:
        """The arguments at these places."""
        block = np.searchsorted(self.starts, places, side="right") - 1
        args: list[dict[str, Any]] = [{}] * len(places)
        for at in np.unique(block).tolist():
            rows = np.flatnonzero(block == at).tolist()
            chosen = places[rows]
            if at < 0:
                made = [self.single[place].args for place in chosen.tolist()]
            else:
                made = self.whole[at].args((chosen - int(self.starts[at])).tolist())
            for row, one in zip(rows, made, strict=True):
                args[row] = one
        return args


class _Columns(Batch):
    """A batch whose arguments are read out of columns, when they are read."""

    __slots__ = ("_acting", "_kind", "_places")

    def __init__(self, acting: Acting, kind: str, places: NDArray[np.intp]) -> None:
        super().__init__(acting.agents[places], None)
        self._acting, self._kind, self._places = acting, kind, places

    def _make(self) -> list[dict[str, Any]]:
        return self._acting.args_of(self._places)

    def column(self, name: str) -> NDArray[Any]:
        """See `Batch.column`."""
        return self._acting.of_kind(self._kind, self._places, name)

    def in_columns(self) -> frozenset[str] | None:
        """See `Batch.in_columns`."""
        return self._acting.names_of(self._kind, self._places)
