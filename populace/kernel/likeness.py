"""Whether what agents hold and what would be read back of it are of the same types throughout. Pure.

Many agents are compared at once, field by field as columns: what the parts of a mind hold costs a few calls a field and
not a walk through each agent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec

from populace.core.containers import OrderedFrozenSet, OrderedSet, ReadOnlyDict, ReadOnlyList, ReadOnlySet, fields_of
from populace.kernel.columns import SCALARS

READ_AS: Final[dict[type, type]] = {
    OrderedSet: set, OrderedFrozenSet: frozenset, ReadOnlyList: list, ReadOnlyDict: dict, ReadOnlySet: set
}  # fmt: skip
"""As what a resumed run would read these, which is no difference to an agent."""
MUTABLE: Final = frozenset({list, dict, set, OrderedSet, bytearray})


class _Fields(NamedTuple):
    """Of a class of Structs: how its fields are read, whether they can change, and whether it takes others too."""

    read: tuple[Callable[[Any], Any], ...]
    mutable: bool
    is_open: bool


def all_alike(was: Sequence[Any], now: Sequence[Any], containers: list[int]) -> bool:
    """Whether values that take the same bytes, each with the one beside it, are of the same types throughout.

    Notes the ids of the mutable containers in `was`, at any depth.
    """
    kinds = set(map(type, was))
    if kinds <= SCALARS:
        others = set(map(type, now))
        return others == kinds and (len(kinds) < 2 or list(map(type, was)) == list(map(type, now)))
    if len(kinds) == 1 and kinds == set(map(type, now)):
        (kind,) = kinds
        if kind is list or kind is tuple:
            if kind is list:
                containers.extend(map(id, was))
            return list(map(len, was)) == list(map(len, now)) and _inner_alike(was, now, containers)
        if kind is dict:
            containers.extend(map(id, was))
            keys = list(map(type, chain.from_iterable(was))) == list(map(type, chain.from_iterable(now)))
            values = [one.values() for one in was], [one.values() for one in now]
            return keys and list(map(len, was)) == list(map(len, now)) and _inner_alike(*values, containers)
        fields = _fields(kind)
        if fields is not None:
            if fields.mutable:
                containers.extend(map(id, was))
            if fields.is_open and any(getattr(one, "__dict__", None) for one in was):
                return False
            return all(all_alike(list(map(read, was)), list(map(read, now)), containers) for read in fields.read)
    return all(map(alike, was, now, [containers] * len(was)))


def _inner_alike(was: Sequence[Any], now: Sequence[Any], containers: list[int]) -> bool:
    return all_alike(list(chain.from_iterable(was)), list(chain.from_iterable(now)), containers)


@lru_cache(maxsize=512)
def _fields(kind: type) -> _Fields | None:
    """None for what is no class of Structs with fields."""
    if not issubclass(kind, msgspec.Struct) or not kind.__struct_fields__:
        return None
    read = tuple([attrgetter(name) for name in kind.__struct_fields__])
    return _Fields(read, not kind.__struct_config__.frozen, kind.__dictoffset__ != 0)


def alike(was: Any, now: Any, containers: list[int]) -> bool:
    """Whether two values that take the same bytes are of the same types throughout; notes mutable containers."""
    kind = type(was)
    if kind in SCALARS:
        return kind is type(now)
    base = READ_AS.get(kind, kind)
    if base is not read_as(now):
        return False
    if kind in MUTABLE:
        containers.append(id(was))
    if base is list or base is tuple or base is dict:
        ones, twos = was, now
        if base is dict:
            if set(map(type, was)) != set(map(type, now)):
                return False
            ones, twos = was.values(), now.values()
        kinds = set(map(type, ones))
        if kinds <= SCALARS:
            return kinds == set(map(type, twos))
        return all(
            alike(one, two, containers) if type(one) not in SCALARS else type(one) is type(two)
            for one, two in zip(ones, twos, strict=True)
        )
    if base is set or base is frozenset:
        return set(map(read_as, was)) == set(map(read_as, now))
    mine = fields_of(was)
    if not mine:
        return bool(was == now)
    if not is_frozen(was):
        containers.append(id(was))
    if isinstance(was, msgspec.Struct) and getattr(was, "__dict__", None):
        return False
    return all(alike(one, two, containers) for (_, one), (_, two) in zip(mine, fields_of(now), strict=True))


def is_frozen(value: Any) -> bool:
    """Whether the fields of a Struct or a dataclass cannot be set."""
    if isinstance(value, msgspec.Struct):
        return bool(value.__struct_config__.frozen)
    return bool(type(value).__dataclass_params__.frozen)


def read_as(value: Any) -> type:
    """As what a resumed run would read it."""
    return READ_AS.get(type(value), type(value))
