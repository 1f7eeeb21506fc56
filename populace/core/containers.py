"""Containers that are the same in every process and every attempt of a run.

The order of a plain set follows the hashes of its elements, which differ from process to process for text, and the
order in which they came, which a checkpoint loses. `OrderedSet` and `OrderedFrozenSet` are sets that are read in the
order of their elements. `ReadOnlyList`, `ReadOnlyDict` and `ReadOnlySet` stand in what all agents share and nobody
may change. Pure.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from populace.core.errors import ScenarioError

T = TypeVar("T")

_encode: Final = msgspec.msgpack.Encoder().encode
_SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
_COMPARABLE: Final = frozenset({int, str, bytes, bool})


def in_order(elements: Iterable[T]) -> list[T]:
    """The elements of a set, sorted: ints, floats, text and bytes as usual, all others by their MessagePack.

    Raises TypeError for elements that are not plain data.
    """
    found = list(elements)
    kinds = set(map(type, found))
    if len(kinds) <= 1 and (kinds <= _COMPARABLE or (float in kinds and not any(map(math.isnan, found)))):  # type: ignore[arg-type]
        return sorted(found)  # type: ignore[type-var]
    return sorted(found, key=_packed)


def _packed(element: Any) -> bytes:
    if isinstance(element, frozenset):
        element = [_packed(one) for one in in_order(element)]
    elif isinstance(element, tuple):
        element = [_packed(one) for one in element]
    return _encode(element)


def _shown(elements: set[Any] | frozenset[Any], brackets: tuple[str, str], none: str) -> str:
    shown = ", ".join(map(repr, elements))
    return f"{brackets[0]}{shown}{brackets[1]}" if shown else none


class OrderedSet(set[T]):
    """A set whose elements are read in their order: `for`, `list`, `pop`, `repr`; what is made of it likewise.

    All else is as in `set`, and so is its type to `isinstance`. Reading it costs a sort. The exception is a plain set
    made of it, by `set(...)` or a set display: Python copies it past its order.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[T]:
        return iter(in_order(super().__iter__()))

    def __repr__(self) -> str:
        return _shown(self, ("{", "}"), "set()")

    def pop(self) -> T:
        """Remove the first element and give it. Raises KeyError where there is none."""
        for first in self:
            self.remove(first)
            return first
        raise KeyError("pop from an empty set")

    def copy(self) -> OrderedSet[T]:
        """A copy, which is ordered too."""
        return OrderedSet(in_order(self))


class OrderedFrozenSet(frozenset[T]):
    """A frozenset whose elements are read in their order; see `OrderedSet`."""

    __slots__ = ()

    def __iter__(self) -> Iterator[T]:
        return iter(in_order(super().__iter__()))

    def __repr__(self) -> str:
        return _shown(self, ("frozenset({", "})"), "frozenset()")

    def copy(self) -> OrderedFrozenSet[T]:
        """Itself: it does not change."""
        return self


def _ordered(kind: type, plain: Any) -> Callable[..., Any]:
    def made(self: Any, *args: Any) -> Any:
        result = plain(self, *args)
        return kind(in_order(result)) if isinstance(result, set | frozenset) else result

    made.__doc__ = plain.__doc__
    return made


_COMBINING: Final = (
    "union", "intersection", "difference", "symmetric_difference", "__or__", "__and__", "__sub__", "__xor__",
    "__ror__", "__rand__", "__rsub__", "__rxor__",
)  # fmt: skip
for _name in _COMBINING:
    setattr(OrderedSet, _name, _ordered(OrderedSet, getattr(set, _name)))
    setattr(OrderedFrozenSet, _name, _ordered(OrderedFrozenSet, getattr(frozenset, _name)))


class ReadOnlyList(list[T]):
    """A list that nobody may change: each method that would raises TypeError, naming `where` it stands."""

    __slots__ = ("where",)
    where: str


class ReadOnlyDict(dict[Any, T]):
    """A dict that nobody may change; see `ReadOnlyList`."""

    __slots__ = ("where",)
    where: str


class ReadOnlySet(OrderedSet[T]):
    """An ordered set that nobody may change; see `ReadOnlyList`."""

    __slots__ = ("where",)
    where: str


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(self: Any, *_args: Any, **_options: Any) -> NoReturn:
        raise TypeError(
            f"{self.where} is shared by all agents and cannot be changed. Change a copy, as in "
            f"`{type(self).__mro__[-2].__name__}({self.where})`, or let a lever set the parameter."
        )

    refuse.__name__ = name
    refuse.__doc__ = "Raises TypeError."
    return refuse


_CHANGING: Final[dict[type, str]] = {
    ReadOnlyList: "append clear extend insert pop remove reverse sort __delitem__ __iadd__ __imul__ __setitem__",
    ReadOnlyDict: "clear pop popitem setdefault update __delitem__ __ior__ __setitem__",
    ReadOnlySet: "add clear difference_update discard intersection_update pop remove symmetric_difference_update "
    "update __iand__ __ior__ __isub__ __ixor__",
}
for _kind, _names in _CHANGING.items():
    for _name in _names.split():
        setattr(_kind, _name, _refusing(_name))


def read_only(value: Any, where: str) -> Any:
    """The value with its lists, dicts and sets, at any depth, made read-only; `where` names it in their errors.

    Structs and dataclasses are not copied: what stands in their fields is replaced.
    """
    made: Any
    if isinstance(value, list):
        made = ReadOnlyList(read_only(one, f"{where}[{at}]") for at, one in enumerate(value))
    elif isinstance(value, dict):
        made = ReadOnlyDict((key, read_only(one, f"{where}[{key!r}]")) for key, one in value.items())
    elif isinstance(value, frozenset):
        return OrderedFrozenSet(in_order(value))
    elif isinstance(value, set):
        made = ReadOnlySet(in_order(value))
    elif type(value) is tuple:
        return tuple(read_only(one, f"{where}[{at}]") for at, one in enumerate(value))
    else:
        for name, inner in fields_of(value):
            now = read_only(inner, f"{where}.{name}")
            if now is not inner:
                set_field(value, name, now)
        return value
    made.where = where
    return made


def order_sets(
    value: Any,
    fields: Callable[[Any], Iterable[tuple[str, Any]]] | None = None,
    put: Callable[[Any, str, Any], None] | None = None,
) -> Any:
    """The value, just read, with its sets in order, at any depth; lists, dicts and fields are changed in place.

    `fields` and `put` read and set the fields of what is no container; `fields_of` and `set_field` are meant if not
    given.
    """
    if type(value) in _SCALARS:
        return value
    fields, put = fields or fields_of, put or set_field

    def again(one: Any) -> Any:
        return order_sets(one, fields, put)

    kind = type(value)
    if isinstance(value, set):
        return OrderedSet(in_order(map(again, value)))
    if isinstance(value, frozenset):
        return OrderedFrozenSet(in_order(map(again, value)))
    if kind is list:
        value[:] = map(again, value)
    elif kind is dict:
        pairs = [(again(key), again(one)) for key, one in value.items()]
        value.clear()
        value.update(pairs)
    elif isinstance(value, tuple):
        inner = map(again, value)
        return tuple(inner) if kind is tuple else kind(*inner)
    else:
        for name, one in fields(value):
            now = again(one)
            if now is not one:
                put(value, name, now)
    return value


def fields_of(value: Any) -> list[tuple[str, Any]]:
    """Names and values of the fields of a Struct or a dataclass; empty for all else."""
    if isinstance(value, msgspec.Struct):
        return [(name, getattr(value, name)) for name in value.__struct_fields__]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(one.name, getattr(value, one.name)) for one in dataclasses.fields(value)]
    return []


def set_field(value: Any, name: str, inner: Any) -> None:
    """Set a field of a Struct or a dataclass, frozen or not."""
    if isinstance(value, msgspec.Struct):
        msgspec.structs.force_setattr(value, name, inner)
    else:
        object.__setattr__(value, name, inner)


def sealed(parameters: Any) -> dict[str, bytes]:
    """Each field packed, to be compared with later; what cannot be packed stands for itself by nothing."""
    packed = {}
    for name, value in fields_of(parameters):
        try:
            packed[name] = _encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError):
            packed[name] = b""
    return packed


def check_sealed(parameters: Any, before: dict[str, bytes], by: str) -> None:
    """Raise ScenarioError, naming it, for a parameter that is not as it was when it was sealed."""
    changed = [name for name, packed in sealed(parameters).items() if packed != before[name]]
    if changed:
        raise ScenarioError(
            f"the parameter {changed[0]!r} was changed by {by}. All agents share the parameters, and shards would "
            "differ: change a copy, or let a lever set it."
        )
