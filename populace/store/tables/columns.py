"""How what the kernel gives for a column becomes what is written: Arrow types, and texts from packed bodies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from populace.core.errors import BusError
from populace.core.tables import Column, ColumnType, Given


def body_text(body: bytes) -> str:
    """A message's body, packed by msgpack, as JSON text: bytes as base64, NaN and infinities as null.

    Raises BusError when `body` is not msgpack.
    """
    try:
        return _to_json(_unpack(body)).decode()
    except (msgspec.DecodeError, TypeError, ValueError) as error:
        raise BusError(f"a message body of {len(body)} bytes is not plain data in msgpack: {error}") from None


def _body_texts(bodies: Iterable[bytes]) -> list[str]:
    return [body_text(body) for body in bodies]


_unpack: Final = msgspec.msgpack.Decoder().decode
_to_json: Final = msgspec.json.Encoder().encode


def _prompt_texts(prompts: Iterable[Sequence[Sequence[str]] | str]) -> list[str]:
    """Each prompt as `json.dumps` would write it with its letters kept as they are, at a fraction of its time."""
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


def convert(column: Column, values: Any) -> Any:
    """What the kernel gives for a column as what is written."""
    convert = _CONVERT.get(column.given)
    return values if convert is None else convert(values)


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
