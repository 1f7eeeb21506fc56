"""Levers at work: who is in a group, what holds in a tick, whom it touches.

All of it is a function of (levers, seed, population, tick) and keeps no state between ticks, so a run that was
restored, or forked with other levers, has in every tick what it should have.
"""

from __future__ import annotations

import typing
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.agents.society import Society
from populace.core.draws import WORLD
from populace.core.errors import ScenarioError, SettingsError
from populace.core.trace import DIGEST_BYTES
from populace.env import World
from populace.interventions.groups import SHOWN_CHARS, Columns, Groups, Ids, shown, written
from populace.interventions.levers import KINDS, Block, BlockLever, ChangeLever, Send, SendLever, SetLever, label_of

FIRST_NTH: Final = 2**30
"""Where the numbers of levers' messages begin among those that the world (-1) sends in a tick."""

EVERYBODY: Final = -1
"""Stands in the table of levers for an agent where a parameter was set, which touches no one in particular."""

_pack: Final = msgspec.msgpack.Encoder().encode



class _Act:
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
        return self.at <= tick and (self.until is None or tick < self.until)


class _Set(_Act):
    def __init__(self, index: int, lever: SetLever, values: dict[str, Any]) -> None:
        super().__init__(index, lever, "set", lever.set)
        self.values = values


class _Send(_Act):
    def __init__(self, index: int, lever: SendLever, to: Ids, body: bytes) -> None:
        super().__init__(index, lever, "send", lever.send.body, to)
        self.to = to
        self.body = body


class _Block(_Act):
    def __init__(self, index: int, lever: BlockLever, size: int, sender: Ids, receiver: Ids | None) -> None:
        super().__init__(index, lever, "block", None, sender, receiver)
        self.what = "block"
        self._sender = _mask(size, sender)
        self._receiver = None if receiver is None else _mask(size, receiver)

    def covers(self, sender: Ids, receiver: Ids) -> NDArray[np.bool_]:
        hit = self._sender[sender] & (receiver != WORLD)
        return np.asarray(hit if self._receiver is None else hit & self._receiver[receiver])


class _Change(_Act):
    """`makers`, by field, give the value of the member at a place in the group, a new one each time."""

    def __init__(
        self, index: int, lever: ChangeLever, members: Ids, makers: dict[str, Callable[[int], Any]]
    ) -> None:
        super().__init__(index, lever, "change", (lever.change.fields, lever.change.each), members)
        self.members = members
        self.makers = makers


class Levers:
    """The levers of a run, resolved against its population. `NO_LEVERS` are none."""

    def __init__(self, acts: Iterable[_Act] = (), parameters: Sequence[tuple[int, Any]] = ()) -> None:
        self._acts = sorted(acts, key=lambda act: (act.at, act.index))
        self._starts = [start for start, _ in parameters]
        self._parameters = [values for _, values in parameters]

    def __bool__(self) -> bool:
        return bool(self._acts)

    def parameters(self, tick: int) -> Any:
        """The scenario's parameters in a tick; None where no lever ever sets them."""
        return self._parameters[bisect_right(self._starts, tick) - 1] if self._parameters else None

    def world_values(self, tick: int) -> dict[tuple[str, str], tuple[Any, str]]:
        """What holds in a tick, by part and name: the value, and the lever that sets it."""
        found: dict[tuple[str, str], tuple[Any, str]] = {}
        for act in self._acts:
            if isinstance(act, _Set) and act.holds(tick):
                for key, value in act.values.items():
                    room, *path = key.split(".")
                    if room == "world":
                        found[path[0], path[1]] = value, act.label
        return found

    def world_keys(self) -> list[tuple[str, str]]:
        """What levers set of the world at any time, by part and name."""
        keys = {key for act in self._acts if isinstance(act, _Set) for key in act.values if key.startswith("world.")}
        return [(part, name) for _, part, name in (key.split(".") for key in sorted(keys))]

    def edges(self) -> list[int]:
        """The ticks at whose start a parameter begins or ends, sorted."""
        acts = [act for act in self._acts if isinstance(act, _Set)]
        return sorted({act.at for act in acts} | {act.until for act in acts if act.until is not None})

    def changes(self, tick: int, fields: Iterable[str]) -> list[tuple[Ids, dict[str, list[Any]]]]:
        """What changes of these fields at the start of a tick: members, and a column for each field."""
        found = []
        for act in self._acts:
            if isinstance(act, _Change) and act.at == tick:
                columns = {
                    name: [act.makers[name](place) for place in range(len(act.members))]
                    for name in fields
                    if name in act.makers
                }
                if columns:
                    found.append((act.members, columns))
        return found

    def change(self, tick: int, agents: Sequence[Any], index: int, shards: int) -> set[int]:
        """Change fields of a shard's agents at the start of a tick; gives whose."""
        touched: set[int] = set()
        for act in self._acts:
            if isinstance(act, _Change) and act.at == tick:
                places = np.flatnonzero(act.members % shards == index).tolist()
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
            if isinstance(act, _Send) and act.at == tick:
                places = np.flatnonzero(act.to % shards == index)
                found.append((act.to[places], (first + places).astype(np.int32), act.body))
                first += len(act.to)
        return found

    def blocked(self, tick: int, sender: Ids, receiver: Ids) -> tuple[NDArray[np.bool_], dict[str, list[Any]]]:
        """Which of a tick's messages are refused, and rows for the table of levers."""
        mask = np.zeros(len(sender), np.bool_)
        rows = _Rows()
        for act in self._acts:
            if isinstance(act, _Block) and act.holds(tick):
                hit = act.covers(sender, receiver)
                mask |= hit
                rows.add(tick, act, np.unique(sender[hit]).tolist())
        return mask, rows.columns

    def touched(self, tick: int) -> dict[str, list[Any]]:
        """Rows for the table of levers: whom they touch at the start of a tick."""
        rows = _Rows()
        for act in self._acts:
            if isinstance(act, _Set) and act.at == tick:
                rows.add(tick, act, [EVERYBODY])
            elif isinstance(act, _Set) and act.until == tick:
                rows.add(tick, act, [EVERYBODY], f"end of {act.what}")
            elif isinstance(act, _Send) and act.at == tick:
                rows.add(tick, act, np.sort(act.to).tolist())
            elif isinstance(act, _Change) and act.at == tick:
                rows.add(tick, act, np.sort(act.members).tolist())
        return rows.columns

    def seal(self, tick: int) -> bytes:
        """What the tick's digest covers of levers: which are at work in it, and on whom; empty where none is."""
        return b"".join(
            act.seal
            for act in self._acts
            if (act.holds(tick) if isinstance(act, _Set | _Block) else act.at == tick)
        )


NO_LEVERS: Final = Levers()


class _Rows:
    """Columns of the table of levers; without rows, no columns."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {}

    def add(self, tick: int, act: _Act, agents: list[int], what: str = "") -> None:
        if agents:
            columns = self.columns or {"tick": [], "lever": [], "agent": [], "what": []}
            columns["tick"] += [tick] * len(agents)
            columns["lever"] += [act.label] * len(agents)
            columns["agent"] += agents
            columns["what"] += [what or act.what] * len(agents)
            self.columns = columns


def resolve_levers(
    levers: Sequence[Any],
    *,
    society: Society,
    world: World,
    columns: Columns,
    values: Mapping[str, Any],
    agents: int,
    seed: int,
    body_bytes: int,
) -> Levers:
    """Resolve levers against a population (`columns`) and a world of parts.

    `values` are the scenario's parameters as the settings have them. Raises SettingsError, naming lever and key, for
    what cannot be: an unknown parameter, part, field or column, a value of another type, a group without members.
    """
    labels = [label_of(lever, index) for index, lever in enumerate(levers)]
    if doubled := sorted({label for label in labels if labels.count(label) > 1}):
        raise SettingsError(f"two levers are named {', '.join(map(repr, doubled))}: give each a name of its own")
    groups = Groups(columns, agents, seed)
    acts: list[_Act] = []
    for index, lever in enumerate(levers):
        label = labels[index]
        try:
            match lever:
                case SetLever():
                    checked = {key: _parameter(key, value, society, world, values) for key, value in lever.set.items()}
                    acts.append(_Set(index, lever, checked))
                case SendLever(send=Send(to=to, body=body)):
                    acts.append(_Send(index, lever, groups.find(to, "send.to", label), _body(body, body_bytes)))
                case BlockLever(block=Block(sender=sender, receiver=receiver)):
                    found = groups.find(sender, "block.sender", label)
                    other = None if receiver is None else groups.find(receiver, "block.receiver", label)
                    acts.append(_Block(index, lever, agents, found, other))
                case ChangeLever(change=change):
                    members = groups.find(change.group, "change.group", label)
                    acts.append(_Change(index, lever, members, _makers(change, society, len(members))))
        except SettingsError as error:
            raise SettingsError(f"lever {label!r}: {error}") from None
    return Levers(acts, _stretches(acts, society, values))


def check_ticks(levers: Sequence[Any], ticks: int) -> None:
    """Raise SettingsError, naming the lever, for one that would take effect after the run's end."""
    for index, lever in enumerate(levers):
        if lever.at >= ticks:
            has = "1 tick, tick 0" if ticks == 1 else f"{ticks} ticks, 0 to {ticks - 1}"
            raise SettingsError(
                f"lever {label_of(lever, index)!r}: at = {lever.at}, and the run has {has}. "
                "Choose an earlier tick, or run longer with --ticks."
            )


def _stretches(acts: Sequence[_Act], society: Society, values: Mapping[str, Any]) -> list[tuple[int, Any]]:
    """The scenario's parameters and the tick from which they hold, in order; empty where no lever sets any."""
    sets = sorted(
        (act for act in acts if isinstance(act, _Set) and any(key.startswith("society.") for key in act.values)),
        key=lambda act: (act.at, act.index),
    )
    if not sets:
        return []
    found = []
    for tick in sorted({0, *(act.at for act in sets), *(act.until for act in sets if act.until is not None)}):
        held = [act for act in sets if act.holds(tick)]
        changes = {
            key.removeprefix("society."): value
            for act in held
            for key, value in act.values.items()
            if key.startswith("society.")
        }
        try:
            found.append((tick, society.with_parameters({**values, **changes})))
        except SettingsError as error:
            names = ", ".join(act.label for act in held)
            raise SettingsError(f"levers that hold in tick {tick} ({names}): {error}") from None
    return found


def _parameter(key: str, value: Any, society: Society, world: World, values: Mapping[str, Any]) -> Any:
    """The value as its parameter's type."""
    room, *path = key.split(".")
    if room == "society":
        society.with_parameters({**values, path[0]: value})
        return value
    part, name = path
    if part not in world.parts:
        raise SettingsError(f"set '{key}': the world has no part '{part}'; there are: {', '.join(world.parts)}")
    settable = world.parts[part].settable
    if name not in settable:
        there = ", ".join(settable) or "nothing"
        raise SettingsError(f"set '{key}': a lever cannot set that; of part '{part}' it can set: {there}")
    try:
        return msgspec.convert(value, settable[name])
    except msgspec.ValidationError as error:
        raise SettingsError(f"set '{key}' = {shown(value)}: {error}") from None


def _body(body: Any, most_bytes: int) -> bytes:
    try:
        packed = _pack(body)
    except (OverflowError, ValueError, TypeError) as error:
        raise SettingsError(f"send.body: cannot be sent: {error}") from None
    if len(packed) > most_bytes:
        raise SettingsError(f"send.body: takes {len(packed)} bytes, and bus.body_bytes is {most_bytes}")
    return packed


def _makers(change: Any, society: Society, size: int) -> dict[str, Callable[[int], Any]]:
    """By field, what gives its value to the member at a place."""
    agent = society.agent
    known = agent.__struct_fields__
    hints = typing.get_type_hints(agent, include_extras=True)
    if agent.__struct_config__.frozen:
        raise SettingsError(f"change: {agent.__name__} is frozen, so its fields cannot change")
    makers: dict[str, Callable[[int], Any]] = {}
    for key, given in (("fields", change.fields), ("each", change.each)):
        for name, value in given.items():
            where = f"change.{key}.{name}"
            if name not in known:
                raise SettingsError(f"{where}: {agent.__name__} has no such field; it has {', '.join(known) or 'none'}")
            if key == "each" and len(value) != size:
                raise SettingsError(f"{where}: {len(value)} values for a group of {size}")
            wanted = value if key == "each" else [value]
            made = [_maker(where, one, hints[name], society.fields.get(name)) for one in wanted]
            makers[name] = _one_each(made) if key == "each" else _one_for_all(made[0])
    return makers


def _one_each(makers: Sequence[Callable[[], Any]]) -> Callable[[int], Any]:
    return lambda place: makers[place]()


def _one_for_all(make: Callable[[], Any]) -> Callable[[int], Any]:
    return lambda _place: make()


def _maker(where: str, value: Any, hint: Any, public: type | None) -> Callable[[], Any]:
    """Makes the value, as the field's type; each time a new one, so that no two agents share a list."""
    said = written(value)
    decode = msgspec.json.Decoder(hint).decode
    try:
        made = decode(said)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where} = {shown(value)}: {error}") from None
    if public is int and not -(2**63) <= made < 2**63:
        raise SettingsError(f"{where} = {shown(value)}: a public field holds 64 bits")
    if made is None or isinstance(made, bool | int | float | str | bytes):
        return lambda: made
    return lambda: decode(said)


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
