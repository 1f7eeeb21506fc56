"""How what the kernel gives for a column becomes what is written: Arrow types, and texts from packed bodies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, repeat
from json.encoder import encode_basestring
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from populace.core.errors import BusError
from populace.core.table_columns import Coded, Joined
from populace.core.tables import Column, ColumnType, Given

_SLICE: Final = 256
"""How many rows are decoded at a time: they stay in the processor's cache until their texts are there."""


def body_text(body: bytes) -> str:
    """A message's body, packed by msgpack, as JSON text: bytes as base64, NaN and infinities as null.

    Raises BusError when `body` is not msgpack.
    """
    try:
        return _to_json(_unpack(body)).decode()
    except (msgspec.DecodeError, TypeError, ValueError) as error:
        raise BusError(f"a message body of {len(body)} bytes is not plain data in msgpack: {error}") from None


def _body_texts(bodies: Sequence[bytes]) -> list[bytes]:
    """The texts of bodies, as UTF-8: thousands are decoded, and encoded, as one."""
    texts: list[bytes] = []
    for first in range(0, len(bodies), _SLICE):
        some = bodies[first : first + _SLICE]
        data = some.data if isinstance(some, Joined) else b"".join(some)
        try:
            values = _unpack(b"".join((b"\xdd", len(some).to_bytes(4, "big"), data)))
            texts += _to_lines(values).split(b"\n")
            texts.pop()  # the last line has an end too
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):  # it is told of which
            texts += [body_text(body).encode() for body in some]
    return texts


_unpack: Final = msgspec.msgpack.Decoder().decode
_to_json: Final = msgspec.json.Encoder().encode
_to_lines: Final = msgspec.json.Encoder().encode_lines


def _prompt_texts(prompts: Sequence[Sequence[Sequence[str]] | str]) -> list[str]:
    """Each prompt as `json.dumps` would write it with its letters kept as they are, at a fraction of its time."""
    texts: list[str] = []
    for first in range(0, len(prompts), _SLICE):
        some = prompts[first : first + _SLICE]
        texts += _alike_texts(some) or _each_text(some)
    return texts


def _alike_texts(prompts: Sequence[Any]) -> list[str] | None:
    """The texts of prompts that have equally many messages, by message; None where they have not."""
    if set(map(type, prompts)) - {tuple, list} or len(set(map(len, prompts))) != 1 or not prompts[0]:
        return None
    parts: list[Any] = []
    """What stands one after another in all texts: the same text, or a text for each."""
    told = "["
    flat, width = list(chain.from_iterable(chain.from_iterable(prompts))), 2 * len(prompts[0])
    for at in range(width):
        said = flat[at::width]
        told += ', "content": ' if at % 2 else '{"role": '
        if said[-1] == said[0] and said.count(said[0]) == len(said):
            told += encode_basestring(said[0])
        else:  # quoted at once: within a text a quotation mark never follows a comma unescaped
            parts += [f'{told}"', _to_json(said).decode()[2:-2].split('","')]
            told = '"'
        if at % 2:
            told += "}, " if at < width - 1 else "}]"
    if not parts:
        return [told] * len(prompts)
    if len(parts) == 2:
        begin, each = parts
        return [f"{begin}{one}{told}" for one in each]
    columns = [repeat(one) if isinstance(one, str) else one for one in (*parts, told)]
    return list(map("".join, zip(*columns, strict=False)))


def _each_text(prompts: Iterable[Sequence[Sequence[str]] | str]) -> list[str]:
    begins: dict[str, str] = {}
    shared: dict[str, str] = {}
    texts = []
    for messages in prompts:
        if isinstance(messages, str):
            texts.append(messages)
            continue
        said = []
        for role, content in messages:
            begin = begins.get(role)
            if begin is None:
                begin = begins[role] = f'{{"role": {encode_basestring(role)}, "content": '
            if role == "system":  # many agents have the same
                quoted = shared.get(content) or shared.setdefault(content, encode_basestring(content))
            else:
                quoted = encode_basestring(content)
            said.append(f"{begin}{quoted}}}")
        texts.append(f"[{', '.join(said)}]")
    return texts


def _never_is_null(ticks: Sequence[Any] | NDArray[Any]) -> Any:
    if isinstance(ticks, np.ndarray):
        return np.ma.masked_less(ticks, 0)
    return [None if tick is None or tick < 0 else int(tick) for tick in ticks]


def _empty_is_null(texts: Iterable[str]) -> list[str | None]:
    return [text or None for text in texts]


def _key_text(keys: Iterable[bytes | str]) -> list[str]:
    return [key if isinstance(key, str) else key.hex() for key in keys]


_ARROW: Final[Mapping[ColumnType, Any]] = {
    "int32": pa.int32(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_(), "text": pa.string(),
}  # fmt: skip
_CONVERT: Final[Mapping[Given, Callable[[Any], Any]]] = {
    "packed": _body_texts,
    "prompt": _prompt_texts,
    "digest": _key_text,
    "negative_is_null": _never_is_null,
    "empty_is_null": _empty_is_null,
}
_FIELD_TYPES: Final[Mapping[type, ColumnType]] = {float: "float64", int: "int64", bool: "bool", str: "text"}


def arrow_type(column: Column) -> Any:
    """The Arrow type of a column."""
    return _ARROW[column.type]


def to_arrow(column: Column, values: Any) -> Any:
    """What the kernel gives for a column as an Arrow array, which is what is written.

    Of values that come again and again each is converted once. Raises ArrowException and OverflowError for what the
    column cannot hold, BusError for bodies that are none.
    """
    kind = arrow_type(column)
    if isinstance(values, Coded):
        few = to_arrow(column, list(values.values))
        return pa.repeat(few[0], len(values)) if len(few) == 1 else few.take(pa.array(values.codes))
    if column.given == "digest" and len(values) and (keys := _key_array(values)) is not None:
        return keys
    convert = _CONVERT.get(column.given)
    return pa.array(values if convert is None else convert(values), kind)


def _key_array(keys: Sequence[bytes | str]) -> Any:
    """Keys of one length in hex, as they lie in memory; None where they are not bytes of one length."""
    if set(map(type, keys)) != {bytes} or len(set(map(len, keys))) != 1:
        return None
    width, data = 2 * len(keys[0]), b"".join(keys).hex().encode()  # type: ignore[arg-type]
    ends = np.arange(0, len(data) + 1, width, dtype=np.int64) if width else None
    if ends is None or len(data) >= 2**31:
        return None
    return pa.StringArray.from_buffers(len(keys), pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(data))


def field_columns(fields: Mapping[str, type]) -> tuple[Column, ...]:
    """The columns of agents' public fields, and of their `type`. Raises ValueError for a field that none can hold."""
    unknown = [name for name, kind in fields.items() if kind not in _FIELD_TYPES or name in ("tick", "agent")]
    if unknown:
        raise ValueError(f"public fields are float, int, bool or str and not 'tick' or 'agent': {unknown}")
    about = {"type": "agent's type, in a society that has types"}
    return tuple(
        Column(name, _FIELD_TYPES[kind], about.get(name, "public field"), nullable=name != "type")
        for name, kind in fields.items()
    )
