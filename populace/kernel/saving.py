"""What agents keep between their turns, so that it is the same in every attempt of a run. Pure.

An agent is saved as MessagePack and read as its class declares. So that a resumed run is the same run, every agent
goes through that at the end of each of its turns, whether or not the run is being saved: what it holds in the next
tick is what a checkpoint would have given back. What that would change in silence is an error at once, which names
class, field and agent: a tuple under `Any` (it comes back as a list), an int in a float field, a subclass, one list
that two fields hold (it comes back as two). Sets come back as `OrderedSet`, which is read in the order of its elements.

In a run of trace version 1 agents stay as their turns left them, and are only tried, where it is saved.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple, NoReturn

import msgspec
import numpy as np

from populace.agents.agent import Agent
from populace.core.containers import fields_of, order_sets, set_field
from populace.core.errors import NotKept
from populace.core.roster import Roster
from populace.core.text import shown_value
from populace.kernel.columns import SCALARS, Column, column_of, fits, put_sets, sorted_sets
from populace.kernel.likeness import MUTABLE, all_alike, is_frozen, read_as
from populace.kernel.nested import Check, check_of

_NEXT: Final = (
    "A run is saved and resumed with agents as plain data: declare the field with the type that it holds, or keep in "
    "it what it declares."
)
_CHUNK: Final = 128
_NOT_SAVED: Final = (TypeError, ValueError, OverflowError, RecursionError, AttributeError)
_encode: Final = msgspec.msgpack.Encoder().encode
_types: Final = msgspec.inspect


class _Field(NamedTuple):
    """A field that is more than a scalar. `flat` holds scalars only; `sets` holds a set at any depth.

    `check` says of values whether they need not be read back, where that can be told; `decode` reads back a list.
    """

    name: str
    read: Callable[[Any], Any]
    flat: bool
    sets: bool
    check: Check | None
    decode: Callable[[bytes], list[Any]]


_Sets = tuple[Column, list[Any], list[Any]]
"""A field with sets: the values of it that some agents hold, and their elements in order."""


_Again = tuple[str, list[Any]]
"""A field, and its values as they are read back."""


class Examined(NamedTuple):
    """What agents are to hold: sets, and fields that were read back; their containers; what they are packed to."""

    sets: list[tuple[Column, Sequence[Agent], list[Any], list[Any]]]
    read: list[tuple[Sequence[Agent], str, list[Any]]]
    containers: list[int]
    rows: list[bytes]


class Keeper:
    """Gives agents of one class what they keep. With `canonical` unset it only tries them (trace version 1)."""

    def __init__(self, kind: type[Agent], *, canonical: bool = True) -> None:
        fields = _types.type_info(kind).fields  # type: ignore[attr-defined]
        self._canonical = canonical
        self._set = set_field if kind.__struct_config__.frozen else setattr
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._decode_all = msgspec.msgpack.Decoder(list[kind]).decode  # type: ignore[valid-type]
        self._open = kind.__dictoffset__ != 0
        self._readers = [attrgetter(one.name) for one in fields]
        held = [_field(one, of.type) for one, of in zip(fields, msgspec.structs.fields(kind), strict=True)]
        self._held = [one for one in held if one is not None]
        self._with_sets = [one for one in self._held if one.sets]
        columns = [column_of(one) for one in fields]
        own = self._open or hasattr(kind, "__post_init__")
        self._columns = None if own else [one for one in columns if one is not None]
        flat = {one.name for one in columns if one is not None}
        self._nested = [one for one in self._held if one.name not in flat]

    def read(self, packed: bytes) -> Agent:
        """An agent from what `pack_agent` gave. Raises msgspec.MsgspecError where it is none of this class."""
        agent: Agent = self._decode(packed)
        if self._canonical and self._with_sets:
            self._order_sets((agent,))
        return agent

    def keep(
        self, agents: Sequence[Agent], ids: Sequence[int], *, alone: bool = True, pack: bool = False
    ) -> list[bytes]:
        """Have these agents hold what they would if they were read back; scalars do so already.

        Raises NotKept for one that would be another, and changes nothing then. With `alone`, a container that
        stands in two places of an agent, or in two agents, is such a case. With `pack`, gives what `pack_agent` gives
        of them now.
        """
        found = self.examine(agents, ids, pack=pack)
        if alone and len(set(found.containers)) != len(found.containers):
            _refuse_shared(agents, ids)
        self.settle(found, alone=alone)
        return found.rows if pack else []

    def examine(self, agents: Sequence[Agent], ids: Sequence[int], *, pack: bool) -> Examined:
        """What these agents are to hold; nothing is changed yet. Raises NotKept."""
        sets: list[tuple[Column, Sequence[Agent], list[Any], list[Any]]] = []
        read: list[tuple[Sequence[Agent], str, list[Any]]] = []
        containers: list[int] = []
        rows: list[bytes] = []
        for start in range(0, len(agents), _CHUNK):
            part, mine = agents[start : start + _CHUNK], ids[start : start + _CHUNK]
            found: list[int] = []
            columns: list[_Again] = []
            ordered = self._as_declared(part, mine, found, columns, rows if pack else None)
            if ordered is None:
                found.clear()
                columns = self._read_back(part, mine, found, rows)
            else:
                sets += [(column, part, values, elements) for column, values, elements in ordered]
            read += [(part, name, column) for name, column in columns]
            containers += found
        return Examined(sets, read, containers, rows)

    def settle(self, found: Examined, *, alone: bool) -> None:
        """Have agents hold what was found for them."""
        if self._canonical:
            for part, name, values in found.read:
                self._put(part, name, values)
            for column, part, values, elements in found.sets:
                put_sets(column, part, values, elements, self._set, alone=alone)

    def _as_declared(
        self,
        agents: Sequence[Agent],
        ids: Sequence[int],
        containers: list[int],
        again: list[_Again],
        rows: list[bytes] | None,
    ) -> list[_Sets] | None:
        """The sets of these agents, where all flat fields hold exactly what they declare.

        None says that they must be read back. Notes the containers that may be shared, all other fields that had to be
        read back, and what they are packed to.
        """
        if self._columns is None:
            return None
        saved: list[list[Any]] = []
        sets: list[_Sets] = []
        for column in self._columns:
            values = list(map(column.read, agents))
            if not fits(column, values, containers):
                return None
            if column.is_set:
                elements = sorted_sets(column, values)
                if elements is None:
                    return None
                sets.append((column, values, elements))
                values = elements
            if not column.always_saved:
                saved.append(values)
        stand_ins = [(column.name, values, elements) for column, values, elements in sets]
        for field in self._nested:
            values = list(map(field.read, agents))
            if field.check is not None and field.check(values):
                if rows is None:
                    saved.append(list(map(field.read, agents)))
                continue
            values = list(map(field.read, agents))
            found = self._field_again(field, values, agents, ids, containers)
            again.append((field.name, found))
            if field.sets:
                stand_ins.append((field.name, values, found))
        try:
            if rows is None:
                _encode(saved)
            else:
                rows += self._pack(agents, stand_ins)
        except _NOT_SAVED:
            self._explain(agents, ids)
        return sets

    def _field_again(
        self, field: _Field, values: list[Any], agents: Sequence[Agent], ids: Sequence[int], containers: list[int]
    ) -> list[Any]:
        """What these agents hold in a field once it is read back; notes the mutable containers in it now."""
        try:
            packed = list(map(_encode, values))
            again = field.decode(b"".join((_array_of(len(packed)), *packed)))
        except Exception:  # noqa: BLE001  # a class may check what it is made of, and raise anything
            self._explain(agents, ids)
        if self._canonical and field.sets:
            again = list(map(order_sets, again))
        repacked = list(map(_encode, again))
        same = list(map(len, repacked)) == list(map(len, packed)) if field.sets else repacked == packed
        if not (same and list(map(read_as, values)) == list(map(read_as, again))):
            self._explain(agents, ids)
        if not self._field_same(field, values, again, containers):
            self._explain(agents, ids)
        return again

    def _pack(self, agents: Sequence[Agent], stand_ins: list[tuple[str, list[Any], list[Any]]]) -> list[bytes]:
        """What the agents are packed to once their sets are in order: fields with sets hold stand-ins meanwhile."""
        if not (self._canonical and stand_ins):
            return list(map(_encode, agents))
        try:
            for name, _, ordered in stand_ins:
                self._put(agents, name, ordered)
            return list(map(_encode, agents))
        finally:
            for name, values, _ in stand_ins:
                self._put(agents, name, values)

    def _put(self, agents: Sequence[Agent], name: str, values: Sequence[Any]) -> None:
        put = self._set
        for agent, value in zip(agents, values, strict=True):
            put(agent, name, value)

    def _read_back(
        self, agents: Sequence[Agent], ids: Sequence[int], containers: list[int], rows: list[bytes]
    ) -> list[tuple[str, list[Any]]]:
        """What these agents' fields will hold; notes their mutable containers, and what they are packed to then."""
        try:
            packed = list(map(_encode, agents))
            again: list[Agent] = self._decode_all(b"".join((_array_of(len(packed)), *packed)))
        except Exception:  # noqa: BLE001  # a class may check what it is made of, and raise anything
            self._explain(agents, ids)
        if self._canonical and self._with_sets:
            self._order_sets(again)
        repacked = list(map(_encode, again))
        same = list(map(len, repacked)) == list(map(len, packed)) if self._with_sets else repacked == packed
        if not (same and self._same(agents, again, containers)):
            self._explain(agents, ids)
        rows += repacked if self._canonical else packed
        return [(one.name, list(map(one.read, again))) for one in self._held]

    def _same(self, agents: Sequence[Agent], again: Sequence[Agent], containers: list[int]) -> bool:
        read: Callable[[Any], Any]
        for read in self._readers:
            kinds = set(map(type, map(read, agents)))
            if len(kinds) > 1 or kinds != set(map(type, map(read, again))):
                for was, now in zip(map(read, agents), map(read, again), strict=True):
                    if read_as(was) is not read_as(now):
                        return False
        for field in self._held:
            if not self._field_same(field, list(map(field.read, agents)), list(map(field.read, again)), containers):
                return False
        return not self._open or not any(vars(agent) for agent in agents)

    @staticmethod
    def _field_same(field: _Field, was: list[Any], now: list[Any], containers: list[int]) -> bool:
        if field.flat:
            containers.extend(id(value) for value in was if type(value) in MUTABLE)
            return True
        return all_alike(was, now, containers)

    def _order_sets(self, agents: Sequence[Agent]) -> None:
        for field in self._with_sets:
            for agent in agents:
                self._set(agent, field.name, order_sets(field.read(agent)))

    def _explain(self, agents: Sequence[Agent], ids: Sequence[int]) -> NoReturn:
        """Raise for the first agent that would come back as another."""
        for agent, id in zip(agents, ids, strict=True):  # noqa: A001
            check_saved(agent, id)
        raise NotKept(
            f"{type(agents[0]).__name__}: one of the agents {ids[0]} to {ids[-1]} is another whenever it is read back "
            f"from what is saved. See what __post_init__ does, here or in what its fields hold. {_NEXT}"
        )


class Keepers:
    """Keepers of several types of agents, in their order: what they keep together is as what each of them keeps."""

    def __init__(self, own: Sequence[Keeper], roster: Roster) -> None:
        self._own = own
        self._roster = roster

    def read(self, packed: bytes, id: int) -> Agent:  # noqa: A002
        """An agent from what `pack_agent` gave, as one of its type. Raises msgspec.MsgspecError."""
        return self._own[int(self._roster.types_of([id])[0])].read(packed)

    def keep(
        self, agents: Sequence[Agent], ids: Sequence[int], *, alone: bool = True, pack: bool = False
    ) -> list[bytes]:
        """See `Keeper.keep`; the agents may be of any types."""
        if len(self._own) == 1:
            return self._own[0].keep(agents, ids, alone=alone, pack=pack)
        types = self._roster.types_of(ids)
        found: list[tuple[Keeper, list[int], Examined]] = []
        for at in np.unique(types).tolist():
            places = np.flatnonzero(types == at).tolist()
            mine = [agents[place] for place in places], [ids[place] for place in places]
            found.append((self._own[at], places, self._own[at].examine(*mine, pack=pack)))
        containers = [one for _, _, examined in found for one in examined.containers]
        if alone and len(set(containers)) != len(containers):
            _refuse_shared(agents, ids)
        rows = [b""] * len(agents) if pack else []
        for keeper, places, examined in found:
            keeper.settle(examined, alone=alone)
            for place, row in zip(places, examined.rows, strict=False) if pack else ():
                rows[place] = row
        return rows


def _array_of(length: int) -> bytes:
    """How a MessagePack array of so many begins."""
    return b"\xdd" + length.to_bytes(4, "big")


def pack_agent(agent: Agent, id: int) -> bytes:  # noqa: A002
    """An agent as plain data. Raises NotKept, naming class and field, where a value is none."""
    try:
        return _encode(agent)
    except _NOT_SAVED as error:
        raise NotKept(f"{_unsaved(agent)} of agent {id} cannot be saved: {error}. {_NEXT}") from None


def check_saved(agent: Agent, id: int) -> None:  # noqa: A002
    """Raise NotKept, naming class and field, where the agent would come back as another."""
    packed, kind = pack_agent(agent, id), type(agent)
    try:
        again = msgspec.msgpack.Decoder(kind).decode(packed)
    except Exception as error:  # noqa: BLE001  # a class may check what it is made of
        raise NotKept(f"{kind.__name__}: agent {id} cannot be read back once it is saved: {error}. {_NEXT}") from None
    for difference in _differences(kind.__name__, agent, again):
        raise NotKept(f"{difference} (agent {id}). {_NEXT}")


def _field(field: Any, declared: Any) -> _Field | None:
    """A field of a class, as msgspec.inspect tells of it and as it is written; None for one that holds scalars."""
    held, flat, sets = _shape(field.type, ())
    if not held:
        return None
    check, decode = check_of(field.type), msgspec.msgpack.Decoder(list[declared]).decode
    return _Field(field.name, attrgetter(field.name), flat, sets, check, decode)


def _shape(kind: Any, inside: tuple[type, ...]) -> tuple[bool, bool, bool]:
    """Of a type of field: whether it may hold more than a scalar, holds scalars only, holds a set at any depth."""
    inner: list[Any]
    while isinstance(kind, _types.Metadata):
        kind = kind.type
    sets = isinstance(kind, _types.SetType | _types.FrozenSetType)
    match kind:
        case _types.AnyType() | _types.CustomType() | _types.RawType():
            return True, False, False
        case _types.UnionType():
            inner = list(kind.types)
        case _types.CollectionType() | _types.VarTupleType():
            inner = [kind.item_type]
        case _types.TupleType():
            inner = list(kind.item_types)
        case _types.DictType():
            inner = [kind.key_type, kind.value_type]
        case _ if hasattr(kind, "fields"):  # a Struct, dataclass, NamedTuple or TypedDict
            inner = [] if kind.cls in inside else [one.type for one in kind.fields]
            inside = (*inside, kind.cls)
        case _:
            return isinstance(kind, _types.ByteArrayType | _types.MemoryViewType | _types.ExtType), True, False
    shapes = [_shape(one, inside) for one in inner]
    sets = sets or any(one[2] for one in shapes)
    if isinstance(kind, _types.UnionType):
        return any(one[0] for one in shapes), all(one[1] for one in shapes), sets
    return True, not hasattr(kind, "fields") and not any(one[0] for one in shapes), sets


def _refuse_shared(agents: Sequence[Agent], ids: Sequence[int]) -> NoReturn:
    """Raise for a container that stands in two places."""
    known: dict[int, tuple[str, int]] = {}
    for agent, owner in zip(agents, ids, strict=False):
        kind = type(agent).__name__
        for name in agent.__struct_fields__:
            for where, value in _containers(f"{kind}.{name}", getattr(agent, name)):
                first, other = known.setdefault(id(value), (where, owner))
                if first == where and other == owner:
                    continue
                places = f"{first} and {where} of agent {owner}"
                if other != owner:
                    places = f"{first} of agent {other} and {where} of agent {owner}"
                raise NotKept(
                    f"{places} are one and the same {read_as(value).__name__}: in a resumed run they are two, and "
                    f"what is done to one is not done to the other. {_copy_hint(value)}"
                )
    raise AssertionError("two places held one container, and now none do")


def _copy_hint(value: Any) -> str:
    if fields_of(value):
        return f"Keep `copy.copy(...)` of it in one of them, or declare {type(value).__name__} with frozen=True."
    return f"Keep a copy in one of them: `{read_as(value).__name__}(...)`."


def _containers(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    if type(value) in MUTABLE or (fields_of(value) and not is_frozen(value)):
        yield where, value
    if isinstance(value, Mapping | list | tuple) or fields_of(value):
        for key, one in _inside(value):
            if type(one) not in SCALARS:
                yield from _containers(f"{where}{key}", one)


def _unsaved(agent: Agent) -> str:
    for name in agent.__struct_fields__:
        try:
            _encode(getattr(agent, name))
        except _NOT_SAVED:
            return f"{type(agent).__name__}.{name}"
    return type(agent).__name__


def _differences(where: str, was: Any, now: Any) -> Iterator[str]:
    if read_as(was) is not read_as(now):
        yield f"{where} holds {_a(read_as(was))}, which a resumed run reads as {_a(read_as(now))}"
    elif isinstance(was, msgspec.Struct | list | tuple | Mapping) or dataclasses.is_dataclass(was):
        mine, other = _inside(was), _inside(now)
        if [key for key, _ in mine] != [key for key, _ in other]:
            yield f"{where} has {len(mine)} values or keys, and others in a resumed run"
        else:
            for (key, one), (_, two) in zip(mine, other, strict=True):
                yield from _differences(f"{where}{key}", one, two)
    elif isinstance(was, set | frozenset):
        if was != now or _kinds(was) != _kinds(now):
            yield f"{where} is a set whose members a resumed run reads as others"
    elif was != now and not (was != was and now != now):  # NaN comes back as NaN
        yield f"{where} = {shown_value(was)} is {shown_value(now)} in a resumed run"


def _kinds(elements: Any) -> Counter[type]:
    return Counter(map(read_as, elements))


def _a(kind: type) -> str:
    name = kind.__name__
    return f"{'an' if name[0].lower() in 'aeio' else 'a'} {name}"


def _inside(value: Any) -> list[tuple[str, Any]]:
    """What stands in it, by its place; of a dict in the order of its keys."""
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", one) for key, one in value.items()]
    if isinstance(value, list | tuple):
        return [(f"[{at}]", one) for at, one in enumerate(value)]
    found = [(f".{name}", one) for name, one in fields_of(value)]
    names = {key for key, _ in found}
    beside = getattr(value, "__dict__", {})  # what a class with dict=True was given besides its fields
    return found + [(f".{name}", one) for name, one in beside.items() if f".{name}" not in names]
