"""What parts give out, as plain data: copied, in the same order in every process, and such that it can be written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

import msgpack
import msgspec
import numpy as np

from populace.core.errors import ScenarioError
from populace.env.guarding import guard
from populace.env.picked import Picked

_GIVE: Final = "give None, bool, int, float, str, bytes, list or dict"
_SCALARS: Final = {int, float, bool, str, bytes, type(None)}
_UNORDERED: Final = (
    "a set has no order, and another process would give it in another one: give a list, sorted(...) of it"
)


def plain_column(where: str, values: Any, size: int) -> list[Any]:
    """The values as a list of plain Python data that shares nothing with the part."""
    if not hasattr(values, "__len__") or isinstance(values, str | Mapping):
        raise ScenarioError(f"{where} gives {type(values).__name__}: it has to give a list with a value for each agent")
    if len(values) != size:
        raise ScenarioError(f"{where}: {len(values)} values for {size} agents")
    if isinstance(values, np.ndarray) and values.dtype.kind in "biufU":
        return list(values.tolist())
    if isinstance(values, Picked):
        values = list(values)
    for first in values:  # the rows of a column are alike: one of them is tried
        guard(where, given_out, first)
        break
    return list(guard(where, plain, values))


def plain(values: Any) -> Any:
    """Plain Python data that shares nothing with a part. Raises TypeError for what is none."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    return msgspec.to_builtins(values, enc_hook=_unwrap, builtin_types=(bytes,))


Shown = dict[str, "np.ndarray[Any, Any] | list[Any]"]
"""What the world shows some agents, by 'part.column': arrays of int64, float64 or bool, or lists of plain data."""


def shown_column(where: str, values: Any, size: int) -> np.ndarray[Any, Any] | list[Any]:
    """The values as an array of int64, float64 or bool, where they are such; else as `plain_column` gives them.

    The array is a copy, and read-only.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf" and values.shape == (size,):
        own: np.ndarray[Any, Any] = values.astype({"b": np.bool_, "f": np.float64}.get(values.dtype.kind, np.int64))
        own.flags.writeable = False
        return own
    given = plain_column(where, values, size)
    kinds = set(map(type, given))
    if given and len(kinds) == 1 and kinds <= {bool, int, float}:
        try:
            own = np.asarray(given, np.int64 if int in kinds else None)
        except OverflowError:
            return given
        own.flags.writeable = False
        return own
    return given


def given_out(values: Any) -> Any:
    """As `plain`, for what is sent or heard. Raises ScenarioError for sets, and for what no message can hold."""
    try:
        _pack(values)
    except (OverflowError, UnicodeError) as error:
        raise ScenarioError(unwritten(error)) from None
    return plain(values)


def unwritten(error: Exception) -> str:
    """Why a message cannot hold something, in words, by what the writer said."""
    if isinstance(error, OverflowError):
        return "it holds an int of more than 64 bits: make it a float or a text"
    if isinstance(error, UnicodeError):
        return "it holds a text with lone surrogates, which UTF-8 cannot write: read it with errors='replace'"
    return str(error)


def with_order(values: Any) -> Any:
    """As `plain`, with each set as a list in one order, whatever the process."""
    return plain(values if isinstance(values, np.ndarray) else _ordered(values))


def _ordered(value: Any) -> Any:
    kind = type(value)
    if kind is list or kind is tuple:
        return value if _SCALARS.issuperset(map(type, value)) else kind(map(_ordered, value))
    if kind is dict:
        return {key: _ordered(one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((plain(_ordered(one)) for one in value), key=_encode)
    if isinstance(value, msgspec.Struct) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        return msgspec.to_builtins(value, enc_hook=_unwrap, builtin_types=(bytes,), order="deterministic")
    return value


def _unwrap(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not plain data: {_GIVE}")


def _inner(value: Any) -> Any:
    """What is in a value that msgpack does not know. Raises ScenarioError for a set, OverflowError for a long int."""
    if isinstance(value, int):
        raise OverflowError
    if isinstance(value, set | frozenset):
        raise ScenarioError(_UNORDERED)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode
_pack: Final = msgpack.Packer(autoreset=True, default=_inner).pack
