"""Agents' fields, a column at a time: which of them hold exactly what they declare. Pure.

A field that does is the same when it is read back from what is saved, so it need not be read back to know. That is
told here for fields of scalars, of lists, dicts and sets of scalars, and of anything.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, count
from operator import attrgetter
from sys import getrefcount
from typing import Any, Final, NamedTuple

import msgspec

from populace.core.containers import OrderedFrozenSet, OrderedSet, in_order

SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
Put = Callable[[Any, str, Any], None]
_types: Final = msgspec.inspect
_SCALAR_TYPES: Final[dict[type, type]] = {
    _types.NoneType: type(None), _types.BoolType: bool, _types.IntType: int, _types.FloatType: float,
    _types.StrType: str, _types.BytesType: bytes,
}  # fmt: skip
_ANYTHING: Final = SCALARS | {list, dict}
_KEYS: Final = frozenset({str, int})
_ALWAYS_SAVED: Final = frozenset({type(None), bool, float})
_SORTED_AS_THEY_ARE: Final = frozenset({int, str, bytes, bool})
_together: Final = chain.from_iterable
_TREE: Final = 6
"""Levels of what stands under Any that are walked as a tree."""
_REFERENCES: Final = max(map(getrefcount, [[]]))
"""To what one place holds, while it is counted, without the list that it is counted in."""


class Form(enum.Enum):
    """What stands in a field, beside scalars."""

    SCALAR = enum.auto()
    LIST = enum.auto()
    DICT = enum.auto()
    SET = enum.auto()
    FROZENSET = enum.auto()
    ANYTHING = enum.auto()


class Column(NamedTuple):
    """A field: the types that it may hold, those of what these hold, and those of the values of a dict.

    What fits it is `always_saved` where no value of these types is such as cannot be: text may not be UTF-8, and an
    int too large.
    """

    name: str
    read: Callable[[Any], Any]
    form: Form
    kinds: frozenset[type]
    inner: frozenset[type]
    values: frozenset[type]
    is_set: bool
    always_saved: bool


def column_of(field: Any) -> Column | None:
    """A field of a class, as msgspec.inspect tells of it; None for one that has to be read back."""
    found = _form_of(field.type)
    if found is None:
        return None
    form, kinds, inner, values = found
    always_saved = form is not Form.ANYTHING and (kinds & SCALARS) | inner | values <= _ALWAYS_SAVED
    is_set = form in (Form.SET, Form.FROZENSET)
    return Column(field.name, attrgetter(field.name), form, kinds, inner, values, is_set, always_saved)


def fits(column: Column, values: list[Any], containers: list[int]) -> bool:
    """Whether these values of a field are exactly what it declares; notes the mutable containers in them.

    If not, they may still be what it declares: that has to be tried. What sets hold is left to `sorted_sets`.
    """
    found = kinds_of(values)
    if not found <= column.kinds:
        return False
    if column.form is Form.SCALAR or found <= SCALARS:
        return True
    if column.form is Form.ANYTHING:
        return are_plain(values, containers)
    held = values if found.isdisjoint(SCALARS) else [one for one in values if type(one) not in SCALARS]
    if column.form is not Form.FROZENSET:
        note_shared(held, 1 if held is values else 2, containers)
    if column.is_set:
        return True
    if not kinds_of(_together(held)) <= column.inner:
        return False
    return column.form is not Form.DICT or kinds_of(_together(map(dict.values, held))) <= column.values


def note_shared(held: list[Any], lists: int, containers: list[int]) -> None:
    """Note those of some containers that may stand in another place too, each by its id.

    What nothing refers to but its one place and so many `lists`, this among them, stands nowhere else.
    """
    alone = _REFERENCES + lists
    references = list(map(getrefcount, held))
    if references.count(alone) != len(held):
        containers += [id(one) for one, found in zip(held, references, strict=True) if found != alone]


def stand_alone(held: list[Any]) -> bool:
    """Whether nothing refers to each of these but its one place, and the list `held`."""
    return list(map(getrefcount, held)).count(_REFERENCES + 1) == len(held)


def sorted_sets(column: Column, values: list[Any]) -> list[Any] | None:
    """The elements, in order, of the sets in a column that fits; all other values as they are.

    None where a set holds what it does not declare.
    """
    raw: Callable[[Any], Iterable[Any]] = frozenset.__iter__ if column.form is Form.FROZENSET else set.__iter__
    comparable = len(column.inner) == 1 and column.inner <= _SORTED_AS_THEY_ARE
    each: Callable[[Iterable[Any]], list[Any]] = sorted if comparable else in_order
    try:
        if SCALARS.isdisjoint(map(type, values)):
            found = lists = list(map(each, map(raw, values)))
        else:
            found = [each(raw(one)) if isinstance(one, set | frozenset) else one for one in values]
            lists = [one for one in found if type(one) is list]
    except TypeError:
        return None
    return found if kinds_of(_together(lists)) <= column.inner else None


def put_sets(
    column: Column, agents: Sequence[Any], values: list[Any], elements: list[Any], put: Put, *, alone: bool
) -> None:
    """Have these agents, which hold these values, hold sets as if they were read, from what `sorted_sets` gave.

    Where each stands `alone`, a set that is an `OrderedSet` stays the object that it was, and is filled again.
    """
    if alone and kinds_of(values) == {OrderedSet}:
        for one, again in zip(values, elements, strict=True):
            one.clear()
            one.update(again)
        return
    kind: type = OrderedFrozenSet if column.form is Form.FROZENSET else OrderedSet
    for agent, again in zip(agents, elements, strict=True):
        if type(again) is list:
            put(agent, column.name, kind(again))


def kinds_of(values: Iterable[Any]) -> set[type]:
    """The types of these values, which mostly is one: counting that is three times as fast as a set of all."""
    types = list(map(type, values))
    if types and types.count(types[0]) == len(types):
        return {types[0]}
    return set(types)


def are_plain(values: list[Any], containers: list[int]) -> bool:
    """Whether these are such values as MessagePack gives; level by level, deep down each container once."""
    known: set[int] = set()
    for level in count():
        types = list(map(type, values))
        kinds = set(types)
        if kinds <= SCALARS:
            return True
        if not kinds <= _ANYTHING:
            return False
        dicts: list[Any] = []
        lists: list[Any] = []
        for kind, held in ((dict, dicts), (list, lists)):
            if kind in kinds:
                alone = len(kinds) == 1
                held += values if alone else [one for one, its in zip(values, types, strict=True) if its is kind]
                note_shared(held, 2, containers)
                if level > _TREE:  # a list that holds itself has no end
                    held[:] = {id(one): one for one in held if id(one) not in known}.values()
                    known.update(map(id, held))
        if dicts and not kinds_of(_together(dicts)) <= _KEYS:
            return False
        values = [*_together(map(dict.values, dicts)), *_together(lists)]
    raise AssertionError("unreachable")


def _form_of(kind: Any) -> tuple[Form, frozenset[type], frozenset[type], frozenset[type]] | None:
    none: frozenset[type] = frozenset()
    kind = bare(kind)
    if isinstance(kind, _types.AnyType):
        return Form.ANYTHING, _ANYTHING, none, none
    scalars = scalars_of(kind)
    if scalars is not None:
        return Form.SCALAR, scalars, none, none
    options = [bare(one) for one in (kind.types if isinstance(kind, _types.UnionType) else (kind,))]
    held = [one for one in options if scalars_of(one) is None]
    beside = none.union(*(scalars_of(one) or none for one in options))
    if len(held) != 1 or any(getattr(held[0], name, None) is not None for name in ("min_length", "max_length")):
        return None
    form: Form
    own: set[type]
    inner, values = scalars_of(getattr(held[0], "item_type", None)), none
    match held[0]:
        case _types.ListType():
            form, own = Form.LIST, {list}
        case _types.SetType():
            form, own = Form.SET, {set, OrderedSet}
        case _types.FrozenSetType():
            form, own = Form.FROZENSET, {frozenset, OrderedFrozenSet}
        case _types.DictType(key_type=key, value_type=value):
            form, own, inner, values = Form.DICT, {dict}, scalars_of(key), scalars_of(value) or none
            if not values:
                return None
        case _:
            return None
    return None if inner is None else (form, beside | own, inner, values)


def bare(kind: Any) -> Any:
    """A type without what is said of it beside."""
    while isinstance(kind, _types.Metadata):
        kind = kind.type
    return kind


def scalars_of(kind: Any) -> frozenset[type] | None:
    """The types of a scalar without constraints, or of several; None for all else."""
    kind = bare(kind)
    if isinstance(kind, _types.UnionType):
        each = [scalars_of(one) for one in kind.types]
        return None if None in each else frozenset().union(*(one or () for one in each))
    found = _SCALAR_TYPES.get(type(kind))
    if found is None or any(getattr(kind, name) is not None for name in getattr(kind, "__struct_fields__", ())):
        return None
    return frozenset({found})
