"""Makes levers ready for work: checks what they say, and says it in the types of what they act on.

Who is in their groups is found where the population was built (`groups.Membership`), and travels as plain data.
So a shard needs neither the population nor a world.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from populace.agents.agent import public_fields
from populace.agents.society import Society
from populace.core.errors import SettingsError
from populace.core.roster import Roster
from populace.interventions.acts import Act, BlockAct, ChangeAct, SendAct, SetAct
from populace.interventions.at_work import Levers
from populace.interventions.conditions import MATCHING
from populace.interventions.groups import Ids, Members, shown, types_matching, written
from populace.interventions.levers import BlockLever, ChangeLever, SendLever, SetLever, label_of

_pack: Final = msgspec.msgpack.Encoder().encode


def resolve_levers(
    levers: Sequence[Any],
    members: Sequence[Members],
    *,
    society: Society,
    settable: Mapping[str, Mapping[str, Any]] | None,
    values: Mapping[str, Any],
    roster: Roster,
    body_bytes: int,
) -> Levers:
    """Levers at work, given the members of each one's groups.

    `settable` holds the type of what a lever can set, by part and name (`World.settable`); None for a shard, where
    these are not set: they stay as written, unchecked. `values` are the society's parameters as the settings have
    them. Raises SettingsError, naming lever and key, for what cannot be: an unknown parameter, part or field, a value
    of another type.
    """

    def make(index: int, of: Members, roster: Roster) -> Act:
        lever = levers[index]
        try:
            match lever:
                case SetLever():
                    ids = dict.fromkeys(lever.of_matching(), of.group.tolist() if len(of.group) else [0])
                    given = {**lever.set, **ids}.items()
                    checked = {key: _parameter(key, value, society, settable, values) for key, value in given}
                    return SetAct(index, lever, checked, of.group)
                case SendLever():
                    return SendAct(index, lever, of.group, _body(lever.send.body, body_bytes))
                case BlockLever():
                    return BlockAct(index, lever, of.group, of.other)
                case ChangeLever(change=change):
                    return ChangeAct(index, lever, of.group, _makers(change, society, of.group, roster))
        except SettingsError as error:
            raise SettingsError(f"lever {label_of(lever, index)!r}: {error}") from None
        raise AssertionError("a lever of no kind")

    acts = [make(index, of, roster) for index, of in enumerate(members)]
    for lever, act in zip(levers, acts, strict=True):
        _check_matching(lever, act.label, society)

    def stretches(acts: Sequence[Act], since: int) -> list[tuple[int, Any]]:
        return _stretches(acts, society, values, since)

    own, triggered = ([act for act in acts if (levers[act.index].when is None) == plain] for plain in (True, False))
    return Levers(own, make, stretches, triggered, levers if triggered else ())


def _check_matching(lever: Any, label: str, society: Society) -> None:
    """Raise SettingsError where a lever changes those who meet its trigger, and some of these lack the fields."""
    if not isinstance(lever, ChangeLever) or lever.when is None or lever.change.group != MATCHING:
        return
    for of in types_matching(lever.when, {name: public_fields(kind) for name, kind in society.classes.items()}):
        try:
            _makers_of(lever.change, society, of, 0)
        except SettingsError as error:
            more = "" if len(society.classes) == 1 else "; when.among = { type = ... } says who can meet the trigger"
            raise SettingsError(f"lever {label!r}: {error}{more}") from None


def check_ticks(levers: Sequence[Any], ticks: int) -> None:
    """Raise SettingsError, naming the lever, for one that would take effect after the run's end."""
    for index, lever in enumerate(levers):
        if lever.at >= ticks:
            has = "1 tick, tick 0" if ticks == 1 else f"{ticks} ticks, 0 to {ticks - 1}"
            raise SettingsError(
                f"lever {label_of(lever, index)!r}: at = {lever.at}, and the run has {has}. "
                "Choose an earlier tick, or run longer with --ticks."
            )


def _stretches(acts: Sequence[Act], society: Society, values: Mapping[str, Any], since: int) -> list[tuple[int, Any]]:
    """The society's parameters from a tick on, and the tick from which they hold, in order.

    Empty where no lever sets any.
    """
    sets = sorted(
        (act for act in acts if isinstance(act, SetAct) and any(key.startswith("society.") for key in act.values)),
        key=lambda act: (act.at, act.index),
    )
    if not sets:
        return []
    found = []
    for tick in sorted(
        {since, *(edge for act in sets for edge in (act.at, act.until) if edge is not None and edge > since)}
    ):
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


def _parameter(
    key: str,
    value: Any,
    society: Society,
    settable: Mapping[str, Mapping[str, Any]] | None,
    values: Mapping[str, Any],
) -> Any:
    """The value as its parameter's type."""
    room, *path = key.split(".")
    if room == "society":
        society.with_parameters({**values, path[0]: value})
        return value
    part, name = path
    if settable is None:
        return value
    if part not in settable:
        raise SettingsError(f"set '{key}': the world has no part '{part}'; there are: {', '.join(settable)}")
    types = settable[part]
    if name not in types:
        there = ", ".join(types) or "nothing"
        raise SettingsError(f"set '{key}': a lever cannot set that; of part '{part}' it can set: {there}")
    try:
        return msgspec.convert(value, types[name])
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


def _makers(change: Any, society: Society, members: Ids, roster: Roster) -> dict[str, Callable[[int], Any]]:
    """By field, what gives its value to the member at a place."""
    types = roster.types_of(members)
    if not len(types):
        return {}
    each = {at: _makers_of(change, society, roster.names[at], len(members)) for at in np.unique(types).tolist()}
    if len(each) == 1:
        return each.popitem()[1]
    of = types.tolist()
    names = each[of[0]]
    return {name: _by_type({at: makers[name] for at, makers in each.items()}, of) for name in names}


def _by_type(makers: Mapping[int, Callable[[int], Any]], types: Sequence[int]) -> Callable[[int], Any]:
    return lambda place: makers[types[place]](place)


def _makers_of(change: Any, society: Society, of: str, size: int) -> dict[str, Callable[[int], Any]]:
    """The same for the members of one type."""
    agent = society.classes[of]
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
            made = [_maker(where, one, hints[name], public_fields(agent).get(name)) for one in wanted]
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
