"""Whether an agent comes back from a checkpoint as it was. Pure.

An agent is saved as MessagePack and read as its class declares. What that changes (a tuple under `Any` comes back as a
list, an int in a float field as a float, a subclass as its base) would make a resumed run another run, so it is an
error while the run goes on, and not a surprise after it was resumed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from populace.agents.agent import Agent
from populace.core.errors import ScenarioError

_NEXT: Final = (
    "A run is saved and resumed with agents as plain data: declare the field with the type that it holds, or keep in "
    "it what it declares."
)
_encode: Final = msgspec.msgpack.Encoder().encode


def pack_agent(agent: Agent, id: int) -> bytes:  # noqa: A002
    """An agent as plain data. Raises ScenarioError, naming class and field, where a value is none."""
    try:
        return _encode(agent)
    except (TypeError, ValueError, OverflowError, RecursionError, AttributeError) as error:
        raise ScenarioError(f"{_unsaved(agent)} of agent {id} cannot be saved: {error}. {_NEXT}") from None


def check_saved(agent: Agent, id: int) -> None:  # noqa: A002
    """Raise ScenarioError, naming class and field, where the agent would come back as another."""
    packed, kind = pack_agent(agent, id), type(agent)
    try:
        again = msgspec.msgpack.Decoder(kind).decode(packed)
    except Exception as error:  # noqa: BLE001  # a class may check what it is made of
        raise ScenarioError(
            f"{kind.__name__}: agent {id} cannot be read back once it is saved: {error}. {_NEXT}"
        ) from None
    for difference in _differences(kind.__name__, agent, again):
        raise ScenarioError(f"{difference} (agent {id}). {_NEXT}")


def _unsaved(agent: Agent) -> str:
    for name in agent.__struct_fields__:
        try:
            _encode(getattr(agent, name))
        except (TypeError, ValueError, OverflowError, RecursionError, AttributeError):
            return f"{type(agent).__name__}.{name}"
    return type(agent).__name__


def _differences(where: str, was: Any, now: Any) -> Iterator[str]:
    if type(was) is not type(now):
        yield f"{where} holds a {type(was).__name__}, which a resumed run reads as a {type(now).__name__}"
    elif isinstance(was, msgspec.Struct | list | tuple | Mapping) or dataclasses.is_dataclass(was):
        mine, other = _inside(was), _inside(now)
        if [key for key, _ in mine] != [key for key, _ in other]:
            yield f"{where} has {len(mine)} values or keys, and others in a resumed run"
        else:
            for (key, one), (_, two) in zip(mine, other, strict=True):
                yield from _differences(f"{where}{key}", one, two)
    elif isinstance(was, set | frozenset):
        if was != now or {type(one) for one in was} != {type(one) for one in now}:
            yield f"{where} is a set whose members a resumed run reads as others"
    elif was != now and not (was != was and now != now):  # NaN comes back as NaN
        yield f"{where} = {ascii(was)[:100]} is {ascii(now)[:100]} in a resumed run"


def _inside(value: Any) -> list[tuple[str, Any]]:
    """What stands in it, by its place; of a dict in the order of its keys."""
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", one) for key, one in value.items()]
    if isinstance(value, list | tuple):
        return [(f"[{at}]", one) for at, one in enumerate(value)]
    is_struct = isinstance(value, msgspec.Struct)
    names = value.__struct_fields__ if is_struct else [field.name for field in dataclasses.fields(value)]
    found = [(f".{name}", getattr(value, name, None)) for name in names]
    beside = getattr(value, "__dict__", {})  # what a class with dict=True was given besides its fields
    return found + [(f".{name}", one) for name, one in beside.items() if name not in names]
