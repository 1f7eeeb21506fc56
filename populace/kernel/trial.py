"""Whether the parts of a world come back from a checkpoint as they were. Pure.

A world is tried as a resume would treat it: another one is built from the society, given what `state()` gave, and
compared in state, in digest, in what it shows agents and in the attributes of its parts. That is done when a world has
been opened, after its first tick, and at samples after. What a part changes and never saves is found before that, in
the code of its actions and of `advance`, so that no call has been paid for.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.containers import fields_of
from populace.core.errors import NotKept, ScenarioError, StorageError
from populace.core.text import shown_value
from populace.env import World
from populace.env.part import Part, handlers
from populace.kernel.blocks import Shape, encode_block
from populace.kernel.patches import is_frozen
from populace.kernel.snapshot import copied_world_state, flatten

SHOWN_AGENTS: Final = 256
"""To how many agents, evenly spread, two worlds are compared in what they show."""

_DEEP: Final = 6
_PLAIN: Final = (bool, int, float, str, bytes, type(None), np.generic)
_MUTATORS: Final = frozenset(
    {"add", "append", "appendleft", "clear", "discard", "extend", "fill", "insert", "pop", "popitem", "popleft", "put",
     "remove", "resize", "reverse", "setdefault", "sort", "subtract", "update"}
)  # fmt: skip
_NEXT: Final = "Give it in `state()` and take it in `restore()`, or name it in `unsaved` if it follows from the rest."


def is_sample(tick: int) -> bool:
    """Whether a world that has come to this tick is tried: after ticks 1, 4, 16, 64, ..."""
    return tick > 0 and tick & (tick - 1) == 0 and tick.bit_length() % 2 == 1


def check_parts(world: World, parameters: Any) -> None:
    """Raise ScenarioError for a part that changes what it never saves, or keeps the society's parameters."""
    for part in world.parts.values():
        _check_code(part)
        for where, value in _reach("self.{}", part):
            if value is parameters or (isinstance(parameters, msgspec.Struct) and type(value) is type(parameters)):
                raise ScenarioError(
                    f"part '{part.name}' keeps the society's parameters, as {where}: a lever on society.* would not "
                    "reach it. Read `self.world.parameters` where they are used: it holds those of the tick."
                )


def kept_copy(usual: World, moved: World, before: Any, after: Any) -> str | None:
    """Where a part holds a copy of a parameter, as text; None where none does.

    `usual` was built with the value `before`, `moved` with `after`.
    """
    for name, part in usual.parts.items():
        for attribute, value in vars(part).items():
            other = vars(moved.parts[name]).get(attribute)
            if attribute not in part.settable and same(value, before) and same(other, after):
                return f"part '{name}', as self.{attribute}"
    return None


def try_world(world: World, again: World) -> None:
    """Raise NotKept where `again`, built anew, differs from `world` once it has the state of that.

    `again` is left in that state.
    """
    state = world.state()
    blocks = _blocks(world, state)
    try:
        again.restore(copied_world_state(state))
    except StorageError as error:
        raise NotKept(f"the world cannot be saved: {error}") from None
    del state
    for name, block in _blocks(again, again.state()).items():
        if not _alike(blocks.get(name), block):
            raise NotKept(f"{_named(name)} is another after `restore`. {_NEXT}")
    ids = np.unique(np.linspace(0, world.agents - 1, SHOWN_AGENTS).astype(np.int32))
    for one, two, agent in zip(world.observe(ids), again.observe(ids), ids.tolist(), strict=True):
        for key in one:
            if key not in two or not same(one[key], two[key]):
                part, _, column = key.partition(".")
                raise NotKept(
                    f"part '{part}' shows agent {agent} another {column!r} once it is restored: "
                    f"{shown_value(one[key])} was, {shown_value(two.get(key))} is. What that is made from is not in "
                    f"the part's state. {_NEXT}"
                )
    digests = again.digests()
    for name, digest in world.digests().items():
        if digests[name] != digest:
            raise NotKept(f"part '{name}' has another digest once it is restored, of the same state.")
    for own in world.parts.values():
        _compare(own, again.parts[own.name])


def _compare(part: Part, again: Part) -> None:
    for name, value in vars(part).items():
        if name == "world" or name in part.unsaved or not _is_plain(value):
            continue
        other = getattr(again, name, None)  # what a lever has set back may stand in the class alone
        if not same(value, other):
            raise NotKept(f"part '{part.name}': self.{name} is another once the part is restored. {_NEXT}")


def _blocks(world: World, state: Mapping[str, Any]) -> dict[str, _Block]:
    """The parts' states, by part and place: digests, since two copies of the largest would be most of a world.

    An array that nobody can write to is kept as it is, and its digest is taken once it is needed.
    """
    found: dict[str, _Block] = {}
    for name in world.parts:
        try:
            for place, block in flatten(name, state["parts"][name]).items():
                shape, data = encode_block(place, block)
                if isinstance(block, np.ndarray) and is_frozen(block):
                    found[place] = _Block(shape, block)
                else:
                    found[place] = _Block(shape, blake2b(data, digest_size=32).digest())
        except StorageError as error:
            code = getattr(type(world.parts[name]).state, "__code__", None)
            where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
            raise NotKept(f"part '{name}', state{where}: {error}") from None
    return found


class _Block(NamedTuple):
    """A place of a part's state: its shape, and the array itself where nobody can write to it, else a digest."""

    shape: Shape
    held: NDArray[Any] | bytes

    def digest(self) -> bytes:
        """32 bytes over what it holds."""
        if isinstance(self.held, bytes):
            return self.held
        return blake2b(encode_block("", self.held)[1], digest_size=32).digest()


def _alike(one: _Block | None, other: _Block) -> bool:
    if one is None or one.shape != other.shape:
        return False
    return one.held is other.held or one.digest() == other.digest()


def _named(place: str) -> str:
    part, _, key = place.partition("/")
    return f"part '{part}': what state() gives{f' as {key!r}' if key else ''}"


def same(one: Any, other: Any) -> bool:
    """Whether two plain values or arrays are equal, in type too; NaN equals NaN."""
    if isinstance(one, np.ndarray):
        if not isinstance(other, np.ndarray) or one.dtype != other.dtype or one.shape != other.shape:
            return False
        return bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (one != one and other != other)


def _is_plain(value: Any, deep: int = 0) -> bool:
    """Whether it is data that can be compared, and no object of a part's own making."""
    if isinstance(value, _PLAIN) or (isinstance(value, np.ndarray) and value.dtype != object):
        return True
    if isinstance(value, np.ndarray):
        return all(isinstance(one, _PLAIN) for one in value.ravel().tolist())
    if deep == _DEEP:
        return False
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return isinstance(value, list | tuple | set | frozenset) and all(_is_plain(one, deep + 1) for one in value)


def _reach(form: str, part: Part) -> Iterator[tuple[str, Any]]:
    """What can be reached from a part's attributes, with where it stands."""
    seen = {id(part), id(part.world)}
    todo = [(form.format(name), value, 0) for name, value in vars(part).items() if name != "world"]
    while todo:
        where, value, deep = todo.pop()
        if id(value) in seen or isinstance(value, (*_PLAIN, np.ndarray, type)):
            continue
        seen.add(id(value))
        yield where, value
        if deep < _DEEP:
            todo += [(f"{where}{key}", one, deep + 1) for key, one in _held(value)]


def _held(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", one) for key, one in list(value.items())[:1000]]
    if isinstance(value, list | tuple | set | frozenset):
        return [(f"[{at}]", one) for at, one in enumerate(list(value)[:1000])]
    if isinstance(value, MethodType):
        return [("", value.__self__), ("", value.__func__)]
    if isinstance(value, FunctionType):
        cells: tuple[CellType, ...] = value.__closure__ or ()
        return [(f" (a function's {name})", cell.cell_contents) for name, cell in
                zip(value.__code__.co_freevars, cells, strict=True) if cell != CellType()]  # fmt: skip
    return [(f".{name}", one) for name, one in fields_of(value) or getattr(value, "__dict__", {}).items()]


def _check_code(part: Part) -> None:
    """Raise NotKept for an attribute that a tick's end changes and `state` does not read, or that a round changes."""
    kind = type(part)
    if (kind.state is Part.state) != (kind.restore is Part.restore):
        has, lacks = ("restore", "state") if kind.state is Part.state else ("state", "restore")
        raise NotKept(
            f"part '{part.name}' has {has}() and no {lacks}(): what one gives, the other takes when a run is resumed."
        )
    for method in ("groups", "round"):
        for name, place in _changed_in(kind, method):
            if name != "world" and name not in part.unsaved:
                raise NotKept(
                    f"part '{part.name}': {method} changes self.{name} ({place}), and rounds are held before the tick "
                    "is over, in any order: let `rounds_ended` change it, which is given all that was said and heard."
                )
    for method in handlers(part, "signal"):
        for name, place in _changed_in(kind, method):
            if name != "world" and name not in part.unsaved:
                raise NotKept(
                    f"part '{part.name}': signal {method} changes self.{name} ({place}), and a signal is read only "
                    "where a lever goes by it: let an action or `advance` change it."
                )
    saved = _read_in(kind, "state")
    if saved is None:
        return
    for method in [*handlers(part, "action"), "rounds_ended", "consult", "advance"]:
        for name, place in _changed_in(kind, method):
            if name == "world" or name in saved or name in part.unsaved or name in part.settable:
                continue
            has = "its state() leaves it out" if kind.state is not Part.state else "the part has no state()"
            raise NotKept(
                f"part '{part.name}': {method} changes self.{name} ({place}), and {has}: a resumed run would begin "
                f"with what open() made of it. {_NEXT}"
            )


def _methods(kind: type, first: str) -> Iterator[Callable[..., Any]]:
    """A method, and those of the class that it calls on itself."""
    todo, seen = [first], {first}
    while todo:
        found = inspect.getattr_static(kind, todo.pop(), None)
        function = getattr(found, "__func__", None) or getattr(found, "fget", None) or found
        if not isinstance(function, FunctionType):
            continue
        yield function
        for name in function.__code__.co_names:
            if name not in seen and hasattr(kind, name) and name not in ("state", "restore"):
                seen.add(name)
                todo.append(name)


def _read_in(kind: type, method: str) -> set[str] | None:
    """The attributes that a method reads of itself; None where that cannot be told."""
    names: set[str] = set()
    for function in _methods(kind, method):
        if {"vars", "getattr", "__dict__", "super"} & set(function.__code__.co_names):
            return None
        names.update(function.__code__.co_names)
    return names


def _changed_in(kind: type, method: str) -> Iterator[tuple[str, str]]:
    """The attributes that a method sets, or changes in place, with file and line."""
    for function in _methods(kind, method):
        code = function.__code__
        for name, line in _changes(code) if code.co_argcount else ():
            yield name, f"{code.co_filename}:{line}"


@lru_cache(maxsize=1024)  # each try of each world asks of the same code
def _changes(code: CodeType) -> tuple[tuple[str, int], ...]:
    """The attributes of its first argument that code changes, with the line. Alike code of two files is equal."""
    changes: list[tuple[str, int]] = []
    own, before = code.co_varnames[0], None
    loaded: set[Any] = set()  # where it stands in the text itself
    begins: dict[Any, str] = {}  # where an attribute of it begins, and its name
    for step in dis.get_instructions(code):
        at = step.positions and (step.positions.lineno, step.positions.col_offset)
        is_own = before is not None and before.opname.startswith("LOAD_FAST") and before.argval == own
        changed: str | None = None
        if step.opname.startswith("LOAD_FAST") and step.argval == own:
            loaded.add(at)
        if step.opname in ("STORE_ATTR", "DELETE_ATTR") and (is_own or at in loaded):
            changed = begins.get(at, step.argval)
        elif step.opname in ("STORE_SUBSCR", "DELETE_SUBSCR") and at in begins:
            changed = begins[at]
        elif step.opname in ("LOAD_METHOD", "LOAD_ATTR") and not is_own and step.argval in _MUTATORS:
            changed = begins.get(at)
        if step.opname == "LOAD_ATTR" and is_own and at is not None and at[1] is not None:
            begins[at] = step.argval
        if changed is not None:
            changes.append((changed, at[0] if at and at[0] is not None else code.co_firstlineno))
        before = step
    return tuple(changes)
