"""Actions in columns: those that a columnar type of agents takes as one, beside those that agents take one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, overload

import msgpack
import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.env.packed import PackedArgs
from populace.env.part import Action, Batch

Int32 = NDArray[np.int32]
_pack: Final = msgpack.Packer(autoreset=True).pack
_MANY: Final = 32
"""How many actions it takes for their arguments to be read as columns sooner than one by one."""


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


class Singles(msgspec.Struct, frozen=True):
    """Actions that agents took one by one, in columns: a row an action.

    `kinds` are the kinds there are, each once, and `codes` (int32) the place of each action's among them; `agents` and
    `nth` are int32.
    """

    agents: Int32
    nth: Int32
    kinds: list[str]
    codes: Int32
    args: list[dict[str, Any]] | PackedArgs

    def __len__(self) -> int:
        return len(self.agents)

    def args_of(self, places: NDArray[np.intp]) -> list[dict[str, Any]]:
        """The arguments at these places."""
        args = self.args
        return args.args(places) if isinstance(args, PackedArgs) else [args[place] for place in places.tolist()]

    def packed(self, places: NDArray[np.intp]) -> list[bytes]:
        """The arguments at these places as MessagePack."""
        args = self.args
        return args.packed(places) if isinstance(args, PackedArgs) else [_pack(args[at]) for at in places.tolist()]


def singles(agents: Int32, nth: Int32, kinds: Sequence[str], args: list[dict[str, Any]]) -> Singles:
    """Actions in columns, given the kind and the arguments of each."""
    known: dict[str, int] = {}
    codes = np.fromiter((known.setdefault(kind, len(known)) for kind in kinds), np.int32, len(kinds))
    return Singles(agents, nth, list(known), codes, args)


def in_columns(actions: Sequence[Action]) -> Acting:
    """These actions, which act in the order in which they are given, as `Acting`."""
    if isinstance(actions, Acting):
        return actions
    agents = np.fromiter((one.agent for one in actions), np.int32, len(actions))
    nth = np.fromiter((one.nth for one in actions), np.int32, len(actions))
    return Acting(singles(agents, nth, [one.kind for one in actions], [one.args for one in actions]), [])


class Acting(Sequence[Action]):
    """A tick's actions: `single` ones first, then those in columns, each at its place."""

    def __init__(self, single: Singles | Sequence[Action], whole: Sequence[Acts]) -> None:
        self.single: Singles = single if isinstance(single, Singles) else in_columns(single).single
        self.whole = whole
        first = self.single
        self.agents: Int32 = _joined([first.agents, *(one.agents for one in whole)])
        self.nth: Int32 = _joined([first.nth, *(one.nth for one in whole)])
        self.starts = np.cumsum([len(first), *(len(one) for one in whole)])
        self._order: NDArray[np.intp] | None = None
        self._stand = True
        """Whether they act in the order in which they stand."""
        known = {kind: at for at, kind in enumerate(first.kinds)}
        blocks = [np.full(len(one), known.setdefault(one.kind, len(known)), np.int32) for one in whole]
        self.codes: Int32 = _joined([first.codes, *blocks])
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
        kind, args = self.kinds[int(self.codes[at])], self.args_of(np.array([at]))[0]
        return Action(int(self.agents[at]), int(self.nth[at]), kind, args)

    @property
    def order(self) -> NDArray[np.intp]:
        """The places in the order in which they act on their part: as they stand, unless it was set."""
        if self._order is None:
            self._order = np.arange(len(self.agents))
        return self._order

    @order.setter
    def order(self, places: NDArray[np.intp]) -> None:
        self._order, self._stand = places, False

    def all_stand(self, places: NDArray[np.intp]) -> bool:
        """Whether these places are known to be all there are, as they stand."""
        return self._stand and places is self._order

    def unknown(self, kinds: frozenset[str]) -> list[int]:
        """The places of actions of none of these kinds."""
        if kinds.issuperset(self.kinds):
            return []
        return np.flatnonzero(np.array([kind not in kinds for kind in self.kinds], np.bool_)[self.codes]).tolist()

    def runs(self, places: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], Batch]]:
        """Of actions at these places the consecutive ones of one kind: their places, and a batch of them."""
        if len(self.kinds) == 1 and len(places):
            yield places, self.batch(places)
            return
        edges = [*np.flatnonzero(np.diff(self.codes[places], prepend=-1)).tolist(), len(places)]
        for begin, end in pairwise(edges):
            yield places[begin:end], self.batch(places[begin:end])

    def batch(self, places: NDArray[np.intp]) -> Batch:
        """The actions at these places, all of one kind."""
        return _Columns(self, places)

    def kind_of(self, place: int) -> str:
        """The kind of the action at a place."""
        kind: str = self.kinds[int(self.codes[place])]
        return kind

    def in_order(self) -> NDArray[np.intp]:
        """The places in the order (agent, nth)."""
        return np.lexsort((self.nth, self.agents))

    def packed(self, places: NDArray[np.intp]) -> list[bytes]:
        """The arguments at these places as MessagePack."""
        if not self.whole:
            return self.single.packed(places)
        found = np.empty(len(places), object)
        single = places < len(self.single)
        found[single] = self.single.packed(places[single])
        found[~single] = [_pack(one) for one in self.args_of(places[~single])]
        packed: list[bytes] = found.tolist()
        return packed

    def of_kind(self, kind: str, places: NDArray[np.intp], name: str) -> NDArray[Any]:
        """An argument's values at these places, all of one kind. Raises KeyError."""
        blocks = [(int(self.starts[at]), one) for at, one in enumerate(self.whole) if one.kind == kind]
        first = len(self.single)
        if len(blocks) == 1 and (not first or int(places.min()) >= first):
            start, acts = blocks[0]
            if name not in acts.columns:
                return np.full(len(places), acts.same[name])
            column = acts.columns[name]
            return column.copy() if self.all_stand(places) else column[places - start]
        block = np.searchsorted(self.starts, places, side="right") - 1
        found: list[tuple[NDArray[np.intp], NDArray[Any]]] = []
        for at in np.unique(block).tolist():
            rows = np.flatnonzero(block == at)
            if at < 0:
                values = np.array([one[name] for one in self.single.args_of(places[rows])])
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
        """The arguments' names at these places, all of one kind.

        None where names or types differ (a column of 5 and True would be of 5 and 1), or one is not in columns.
        """
        if not len(places) or int(places.min()) < len(self.single):
            return None
        types = [_types_of(one) for one in self.whole if one.kind == kind]
        return frozenset(types[0]) if types and all(one == types[0] for one in types) else None

    def args_of(self, places: NDArray[np.intp]) -> list[dict[str, Any]]:
        """The arguments at these places."""
        if not self.whole:
            return self.single.args_of(places)
        block = np.searchsorted(self.starts, places, side="right") - 1
        args: list[dict[str, Any]] = [{}] * len(places)
        for at in np.unique(block).tolist():
            rows = np.flatnonzero(block == at).tolist()
            chosen = places[rows]
            if at < 0:
                made = self.single.args_of(chosen)
            else:
                made = self.whole[at].args((chosen - int(self.starts[at])).tolist())
            for row, one in zip(rows, made, strict=True):
                args[row] = one
        return args


def _joined(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Columns one after another; the one that is not empty itself, where there is one."""
    some = [column for column in columns if len(column)] or columns[:1]
    return some[0] if len(some) == 1 else np.concatenate(some)


def _types_of(acts: Acts) -> dict[str, str]:
    """The types of arguments by name, as NumPy's kinds: 'i', 'f', 'b', 'U', ..."""
    return {name: np.asarray(one).dtype.kind for name, one in (*acts.columns.items(), *acts.same.items())}


class _Columns(Batch):
    """A batch whose arguments are read when they are read, out of columns where they are in such."""

    __slots__ = ("_acting", "_places", "_read")

    def __init__(self, acting: Acting, places: NDArray[np.intp]) -> None:
        super().__init__(acting.agents.copy() if acting.all_stand(places) else acting.agents[places], None)
        self._acting, self._places = acting, places
        self._read: dict[str, NDArray[Any]] | bool | None = False
        """The arguments that came packed, as columns; None where they are none, False as long as nobody has asked."""

    def _make(self) -> list[dict[str, Any]]:
        return self._acting.args_of(self._places)

    def _unpacked(self) -> dict[str, NDArray[Any]] | None:
        if isinstance(self._read, bool):
            single, places, self._read = self._acting.single, self._places, None
            if isinstance(single.args, PackedArgs) and len(places) >= _MANY and int(places.max()) < len(single):
                self._read = single.args.columns(places)
        return self._read

    def column(self, name: str) -> NDArray[Any]:
        """See `Batch.column`."""
        if (columns := self._unpacked()) is not None:
            return columns[name]
        if not self._acting.whole:
            return super().column(name)
        return self._acting.of_kind(self._acting.kind_of(int(self._places[0])), self._places, name)

    def in_columns(self) -> frozenset[str] | None:
        """See `Batch.in_columns`."""
        if (columns := self._unpacked()) is not None:
            return frozenset(columns)
        if not self._acting.whole or not len(self._places):
            return None
        return self._acting.names_of(self._acting.kind_of(int(self._places[0])), self._places)
