"""Levers at work: what holds in a tick, whom it touches.

All of it is a function of (levers, seed, population, tick) and keeps no state between ticks, so a run that was
restored, or forked with other levers, has in every tick what it should have.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.draws import WORLD
from populace.core.errors import ScenarioError
from populace.core.roster import Roster
from populace.core.trace import DIGEST_BYTES
from populace.env import World
from populace.interventions.groups import SHOWN_CHARS, Ids, Members, written
from populace.interventions.levers import KINDS, BlockLever, ChangeLever, SendLever, SetLever, label_of

FIRST_NTH: Final = 2**30
"""Where the numbers of levers' messages begin among those that the world (-1) sends in a tick."""

EVERYBODY: Final = -1
"""Stands in the table of levers for an agent where a parameter was set, which touches no one in particular."""

_pack: Final = msgspec.msgpack.Encoder().encode


class Act:
    """A lever, resolved. `seal` covers what it does and to whom, for the trace; `what` says it to a person."""

    def __init__(self, index: int, lever: Any, kind: str, spec: Any, *groups: Ids | None) -> None:
        self.index = index
        self.at: int = lever.at
        self.until: int | None = getattr(lever, "until", None)
        self.label = label_of(lever, index)
        said = written(spec)
        self.what = f"{kind} {said.decode()}"[:SHOWN_CHARS]
        parts = (kind, said, *(None if one is None else one.astype("<i4").tobytes() for one in groups))
        self.seal = blake2b(_pack(parts), digest_size=DIGEST_BYTES).digest()

    def holds(self, tick: int) -> bool:
        """Whether the tick is one of those from `at` to before `until`."""
        return self.at <= tick and (self.until is None or tick < self.until)


class SetAct(Act):
    """Parameters that hold for a while; `values` by key, as their parameters' types."""

    def __init__(self, index: int, lever: SetLever, values: dict[str, Any]) -> None:
        super().__init__(index, lever, "set", lever.set)
        self.values = values


class SendAct(Act):
    """A message, packed, to a group."""

    def __init__(self, index: int, lever: SendLever, to: Ids, body: bytes) -> None:
        super().__init__(index, lever, "send", lever.send.body, to)
        self.to = to
        self.body = body


class BlockAct(Act):
    """Messages refused, from a group of a population of `size`, to all or to another group."""

    def __init__(self, index: int, lever: BlockLever, size: int, sender: Ids, receiver: Ids | None) -> None:
        super().__init__(index, lever, "block", None, sender, receiver)
        self.what = "block"
        self._size = size
        self._sender = _mask(size, sender)
        self._receiver = None if receiver is None else _mask(size, receiver)

    def covers(self, sender: Ids, receiver: Ids) -> NDArray[np.bool_]:
        """Which of these messages it refuses; of agents born after it was made, none."""
        hit = self._has(self._sender, sender) & (receiver != WORLD)
        return np.asarray(hit if self._receiver is None else hit & self._has(self._receiver, receiver))

    def _has(self, mask: NDArray[np.bool_], ids: Ids) -> NDArray[np.bool_]:
        late = ids >= self._size
        return mask[np.where(late, 0, ids)] & ~late if late.any() else mask[ids]


class ChangeAct(Act):
    """Fields of a group's agents; `makers`, by field, give the value of the member at a place, a new one each time."""

    def __init__(self, index: int, lever: ChangeLever, members: Ids, makers: dict[str, Callable[[int], Any]]) -> None:
        super().__init__(index, lever, "change", (lever.change.fields, lever.change.each), members)
        self.what = f"change {written({**lever.change.fields, **lever.change.each}).decode()}"[:SHOWN_CHARS]
        self.members = members
        self.makers = makers


class Whole(Protocol):
    """The columnar types of a shard, as levers change them."""

    def among(self, ids: Ids) -> NDArray[np.bool_]:
        """Which of these agents are of a columnar type."""

    def change(self, ids: Ids, name: str, values: Sequence[Any]) -> None:
        """Give a field of these agents other values."""


class Levers:
    """The levers of a run, resolved against its population. `NO_LEVERS` are none."""

    def __init__(
        self,
        acts: Iterable[Act] = (),
        parameters: Sequence[tuple[int, Any]] = (),
        remake: Callable[[int, Members, Roster], Act] | None = None,
    ) -> None:
        self._remake = remake
        self._acts = sorted(acts, key=lambda act: (act.at, act.index))
        self._starts = [start for start, _ in parameters]
        self._parameters = [values for _, values in parameters]

    def __bool__(self) -> bool:
        return bool(self._acts)

    def fix(self, members: Mapping[int, Members], roster: Roster) -> None:
        """Give levers, by place, the members that their groups have in their tick. Raises SettingsError."""
        if members:
            assert self._remake is not None
            self._acts = [
                self._remake(act.index, members[act.index], roster) if act.index in members else act
                for act in self._acts
            ]

    def beginning(self, tick: int) -> dict[int, list[int]]:
        """The places of the levers on groups that take effect by a tick, by the tick in which they do."""
        found: dict[int, list[int]] = {}
        for act in self._acts:
            if act.at <= tick and not isinstance(act, SetAct):
                found.setdefault(act.at, []).append(act.index)
        return found

    def parameters(self, tick: int) -> Any:
        """The society's parameters in a tick; None where no lever ever sets them."""
        return self._parameters[bisect_right(self._starts, tick) - 1] if self._parameters else None

    def world_values(self, tick: int) -> dict[tuple[str, str], tuple[Any, str]]:
        """What holds in a tick, by part and name: the value, and the lever that sets it."""
        found: dict[tuple[str, str], tuple[Any, str]] = {}
        for act in self._acts:
            if isinstance(act, SetAct) and act.holds(tick):
                for key, value in act.values.items():
                    room, *path = key.split(".")
                    if room == "world":
                        found[path[0], path[1]] = value, act.label
        return found

    def world_keys(self) -> list[tuple[str, str]]:
        """What levers set of the world at any time, by part and name."""
        keys = {key for act in self._acts if isinstance(act, SetAct) for key in act.values if key.startswith("world.")}
        return [(part, name) for _, part, name in (key.split(".") for key in sorted(keys))]

    def edges(self) -> list[int]:
        """The ticks at whose start a parameter begins or ends, sorted."""
        acts = [act for act in self._acts if isinstance(act, SetAct)]
        return sorted({act.at for act in acts} | {act.until for act in acts if act.until is not None})

    def changes(self, tick: int, fields: Iterable[str]) -> list[tuple[Ids, dict[str, list[Any]]]]:
        """What changes of these fields at the start of a tick: members, and a column for each field."""
        found = []
        for act in self._acts:
            if isinstance(act, ChangeAct) and act.at == tick:
                columns = {
                    name: [act.makers[name](place) for place in range(len(act.members))]
                    for name in fields
                    if name in act.makers
                }
                if columns:
                    found.append((act.members, columns))
        return found

    def changing(self, tick: int, index: int, shards: int, roster: Roster) -> set[int]:
        """Whose fields `change` is about to change."""
        acts = [act for act in self._acts if isinstance(act, ChangeAct) and act.at == tick]
        return {
            one
            for act in acts
            for one in act.members[(act.members % shards == index) & roster.lives(act.members)].tolist()
        }

    def change(
        self, tick: int, agents: Sequence[Any], index: int, shards: int, roster: Roster, whole: Whole | None = None
    ) -> set[int]:
        """Change fields of a shard's agents at the start of a tick; gives whose.

        `whole` takes those of columnar types, who are not among them.
        """
        touched: set[int] = set()
        for act in self._acts:
            if isinstance(act, ChangeAct) and act.at == tick:
                places = np.flatnonzero((act.members % shards == index) & roster.lives(act.members)).tolist()
                members = act.members[places].tolist()
                if whole is not None:
                    is_whole = whole.among(act.members[places]).tolist()
                    rest = [place for place, one in zip(places, is_whole, strict=True) if one]
                    for name, make in act.makers.items() if rest else ():
                        whole.change(act.members[rest], name, [make(place) for place in rest])
                    places = [place for place, one in zip(places, is_whole, strict=True) if not one]
                    members = act.members[places].tolist()
                touched.update(members)
                for name, make in act.makers.items():
                    for place, member in zip(places, members, strict=True):
                        setattr(agents[member // shards], name, make(place))
        return touched

    def mail(self, tick: int, index: int, shards: int) -> list[tuple[Ids, Ids, bytes]]:
        """What levers send to a shard's agents to be read in `tick`: receivers, the messages' numbers, their body."""
        found: list[tuple[Ids, Ids, bytes]] = []
        first = FIRST_NTH
        for act in self._acts:
            if isinstance(act, SendAct) and act.at == tick:
                places = np.flatnonzero(act.to % shards == index)
                found.append((act.to[places], (first + places).astype(np.int32), act.body))
                first += len(act.to)
        return found

    def blocked(self, tick: int, sender: Ids, receiver: Ids) -> tuple[NDArray[np.bool_], dict[str, list[Any]]]:
        """Which of a tick's messages are refused, and rows for the table of levers."""
        mask = np.zeros(len(sender), np.bool_)
        rows = _Rows()
        for act in self._acts:
            if isinstance(act, BlockAct) and act.holds(tick):
                hit = act.covers(sender, receiver)
                mask |= hit
                rows.add(tick, act, np.unique(sender[hit]).tolist())
        return mask, rows.columns

    def touched(self, tick: int) -> dict[str, list[Any]]:
        """Rows for the table of levers: whom they touch at the start of a tick."""
        rows = _Rows()
        for act in self._acts:
            if isinstance(act, SetAct) and act.at == tick:
                rows.add(tick, act, [EVERYBODY])
            elif isinstance(act, SetAct) and act.until == tick:
                rows.add(tick, act, [EVERYBODY], f"end of {act.what}")
            elif isinstance(act, SendAct) and act.at == tick:
                rows.add(tick, act, np.sort(act.to).tolist())
            elif isinstance(act, ChangeAct) and act.at == tick:
                rows.add(tick, act, np.sort(act.members).tolist())
        return rows.columns

    def seal(self, tick: int) -> bytes:
        """What the tick's digest covers of levers: which are at work in it, and on whom; empty where none is."""
        return b"".join(
            act.seal
            for act in self._acts
            if (act.holds(tick) if isinstance(act, SetAct | BlockAct) else act.at == tick)
        )


NO_LEVERS: Final = Levers()


class _Rows:
    """Columns of the table of levers; without rows, no columns."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {}

    def add(self, tick: int, act: Act, agents: list[int], what: str = "") -> None:
        if agents:
            columns = self.columns or {"tick": [], "lever": [], "agent": [], "what": []}
            columns["tick"] += [tick] * len(agents)
            columns["lever"] += [act.label] * len(agents)
            columns["agent"] += agents
            columns["what"] += [what or act.what] * len(agents)
            self.columns = columns


def _mask(size: int, ids: Ids) -> NDArray[np.bool_]:
    mask = np.zeros(size, np.bool_)
    mask[ids] = True
    return mask


def set_world(world: World, levers: Levers, base: Mapping[tuple[str, str], Any], tick: int) -> None:
    """Give the world's parts what holds in a tick, `base` where no lever does. Raises ScenarioError."""
    held = levers.world_values(tick)
    for (part, name), usual in base.items():
        value, label = held.get((part, name), (usual, ""))
        try:
            world.parts[part].set_parameter(name, value)
        except Exception as error:
            by = f"lever {label!r}" if label else "where no lever holds"
            raise ScenarioError(f"{by}: set 'world.{part}.{name}' = {value!r}: {error}") from error


def summarize(levers: Sequence[Any], touched: Mapping[str, int] | None) -> list[dict[str, Any]]:
    """For the manifest: each lever with its kind and ticks, and how many different agents it touched.

    None stands for a parameter, which touches no one in particular, and where it is not on record.
    """
    return [
        {
            "lever": (label := label_of(lever, index)),
            "kind": (kind := next(kind for kind in KINDS if hasattr(lever, kind))),
            "at": lever.at,
            "until": getattr(lever, "until", None),
            "agents_touched": None if kind == "set" or touched is None else touched.get(label, 0),
        }
        for index, lever in enumerate(levers)
    ]
