"""Fields of Structs, of lists and dicts of them, and of tuples: which values are exactly what is declared. Pure.

As `columns` does for flat fields, all values that stand at one place of many agents are looked at together, and so on
inwards: a few calls a place and not a walk through each agent. What is exactly what it declares, at every place, and
stands nowhere else comes back the same from what is saved, so it need not be read back to know. Where a class has a
`__post_init__`, that holds only if it is known to leave the object alone (`core.leaving`); all that is not known here
has to be read back.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from operator import attrgetter
from typing import Any, Final, TypeAlias

import msgspec

from populace.core.leaving import left_alone_where
from populace.kernel.columns import are_plain, bare, kinds_of, scalars_of, stand_alone

Check: TypeAlias = Callable[[list[Any]], bool]
"""Whether values, in a list of their own, are what is declared at their place and stand nowhere else."""

_types: Final = msgspec.inspect
_together: Final = chain.from_iterable


def check_of(kind: Any, inside: tuple[type, ...] = ()) -> Check | None:
    """What checks values of a type, as msgspec.inspect tells of it; None for one whose values have to be read back."""
    kind = bare(kind)
    scalars = scalars_of(kind)
    if scalars is not None:
        return lambda values: kinds_of(values) <= scalars
    match kind:
        case _types.AnyType():
            return _are_plain_and_alone
        case _types.LiteralType(values=values):
            return _literals(frozenset(map(type, values)), frozenset(values))
        case _types.UnionType():
            return _optional(kind, inside)
        case _types.ListType(min_length=None, max_length=None):
            return _list(kind.item_type, inside)
        case _types.DictType(min_length=None, max_length=None):
            return _dict(kind, inside)
        case _types.TupleType():
            return _tuple([scalars_of(one) for one in kind.item_types])
        case _types.StructType() if kind.cls not in inside:
            return _struct(kind, (*inside, kind.cls))
    return None


def _are_plain_and_alone(values: list[Any]) -> bool:
    shared: list[int] = []
    return are_plain(values, shared) and not shared


def _literals(kinds: frozenset[type], declared: frozenset[Any]) -> Check | None:
    if len(kinds) != 1:  # 1 and True are equal
        return None
    return lambda values: kinds_of(values) <= kinds and declared.issuperset(values)


def _optional(kind: Any, inside: tuple[type, ...]) -> Check | None:
    """None, or one other type."""
    options = [bare(one) for one in kind.types]
    held = [one for one in options if not isinstance(one, _types.NoneType)]
    inner = check_of(held[0], inside) if len(held) == 1 else None
    if inner is None:
        return None

    def check(values: list[Any]) -> bool:
        values[:] = [one for one in values if one is not None]
        return inner(values)

    return check


def _listed(kind: Any) -> Callable[[Any], Any]:
    """What makes of values at a place what their check takes: scalars are gone through once, as they come."""
    return list if scalars_of(kind) is None else iter


def _list(item: Any, inside: tuple[type, ...]) -> Check | None:
    inner = check_of(item, inside)
    if inner is None:
        return None
    listed = _listed(item)
    return lambda values: kinds_of(values) <= {list} and stand_alone(values) and inner(listed(_together(values)))


def _dict(kind: Any, inside: tuple[type, ...]) -> Check | None:
    keys, inner = scalars_of(kind.key_type), check_of(kind.value_type, inside)
    if keys is None or inner is None:
        return None
    listed = _listed(kind.value_type)

    def check(values: list[Any]) -> bool:
        return (
            kinds_of(values) <= {dict}
            and stand_alone(values)
            and kinds_of(_together(values)) <= keys
            and inner(listed(_together(map(dict.values, values))))
        )

    return check


def _tuple(places: list[frozenset[type] | None]) -> Check | None:
    """A tuple of so many scalars."""
    declared = [one for one in places if one is not None]
    if not declared or len(declared) != len(places):
        return None

    def check(values: list[Any]) -> bool:
        if not kinds_of(values) <= {tuple} or set(map(len, values)) - {len(declared)} or not stand_alone(values):
            return False
        return all(
            kinds_of(column) <= kinds for column, kinds in zip(zip(*values, strict=True), declared, strict=False)
        )

    return check


def _struct(kind: Any, inside: tuple[type, ...]) -> Check | None:
    cls: type[msgspec.Struct] = kind.cls
    leaves = left_alone_where(cls)
    if cls.__dictoffset__ or (leaves is None and hasattr(cls, "__post_init__")):
        return None
    checks: list[tuple[Callable[[Any], Any], Check, Callable[[Any], Any]]] = []
    for field in kind.fields:
        inner = check_of(field.type, inside)
        if inner is None:
            return None
        checks.append((attrgetter(field.name), inner, _listed(field.type)))

    def check(values: list[Any]) -> bool:
        if not (kinds_of(values) <= {cls} and stand_alone(values)):
            return False
        for read, inner, listed in checks:
            if not inner(listed(map(read, values))):
                return False
        if leaves is None:
            return True
        try:
            return False not in map(leaves, values)
        except Exception:  # noqa: BLE001  # reading it back says which, and how
            return False

    return check
