"""What the tables' columns hold, and how what the kernel gives becomes what is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from populace.core.errors import BusError
from populace.core.records import REASONS

Columns: TypeAlias = Mapping[str, "Sequence[Any] | NDArray[Any]"]
"""A batch of rows: a sequence a column, all of one length."""

FIELD_TYPES: Final = {float: pa.float64(), int: pa.int64(), bool: pa.bool_(), str: pa.string()}
_INT: Final = pa.int32()
_TEXT: Final = pa.string()


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
            said.append(f"{begin}{encode_basestring(content)}}}")
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


class Column(msgspec.Struct, frozen=True):
    """One column: its Arrow type, its unit or meaning, and how what is given becomes what is written.

    `distinct` says that few values come twice, so that a dictionary of them would cost time and space.
    """

    type: Any
    about: str
    nullable: bool = False
    convert: Callable[[Any], Any] | None = None
    distinct: bool = False


_TICK: Final = Column(_INT, "tick")

SHEETS: Final[dict[str, tuple[tuple[str, ...], dict[str, Column]]]] = {
    "agents": (("tick", "agent"), {"tick": _TICK, "agent": Column(_INT, "agent's id")}),
    "messages": (
        ("tick_sent", "sender", "nth"),
        {
            "tick_sent": _TICK,
            "tick_read": Column(_INT, "tick; null: never read", nullable=True, convert=_never_is_null),
            "sender": Column(_INT, "agent's id; -1: the world or a lever"),
            "receiver": Column(_INT, "agent's id; -1: the world"),
            "nth": Column(_INT, "which of its sender's messages of that tick, from 0; a lever's from 2**30"),
            "body": Column(_TEXT, "JSON; bytes as base64", convert=_body_texts),
            "fate": Column(_TEXT, "delivered, expired or refused"),
        },
    ),
    "asks": (
        ("tick", "agent", "nth"),
        {
            "tick": _TICK,
            "agent": Column(_INT, "agent's id"),
            "nth": Column(_INT, "which of its agent's asks of that tick, from 0"),
            "purpose": Column(_TEXT, "what the agent asked for"),
            "settled": Column(_TEXT, "answered, cached, replayed or abstained"),
            "reason": Column(_TEXT, f"why it abstained: {', '.join(REASONS)}", nullable=True, convert=_empty_is_null),
            "detail": Column(_TEXT, "more on why it abstained", nullable=True, convert=_empty_is_null),
            "prompt": Column(_TEXT, "JSON list of messages", convert=_prompt_texts, distinct=True),
            "answer": Column(_TEXT, "what the model said; null: abstained", nullable=True),
            "reasoning": Column(
                _TEXT, "what the model thought before, where it is told", nullable=True, convert=_empty_is_null
            ),
            "cut": Column(pa.bool_(), "whether a text ended at max_tokens; null: not on record", nullable=True),
            "reading": Column(
                _TEXT, "how it was read: extracted or coerced; null: as it stood", nullable=True, convert=_empty_is_null
            ),
            "tokens_in": Column(pa.int64(), "tokens"),
            "tokens_out": Column(pa.int64(), "tokens"),
            "cost_usd": Column(pa.float64(), "US dollars"),
            "calls": Column(_INT, "calls billed, repairs and retries included"),
            "latency_s": Column(pa.float64(), "seconds of wall time", distinct=True),
            "key": Column(_TEXT, "content key, hex of BLAKE2b-128", convert=_key_text, distinct=True),
        },
    ),
    "actions": (
        ("tick", "agent", "nth"),
        {
            "tick": _TICK,
            "agent": Column(_INT, "agent's id"),
            "nth": Column(_INT, "its place among what its agent sent and did in that tick, from 0"),
            "kind": Column(_TEXT, "part and action"),
            "args": Column(_TEXT, "JSON; bytes as base64", convert=_body_texts),
            "fate": Column(_TEXT, "applied or refused"),
        },
    ),
    "outcomes": (
        ("tick",),
        {"tick": _TICK, "name": Column(_TEXT, "outcome"), "value": Column(pa.float64(), "the scenario's own unit")},
    ),
    "failures": (
        ("tick", "agent"),
        {
            "tick": _TICK,
            "agent": Column(_INT, "agent's id"),
            "error": Column(_TEXT, "the exception, in a line"),
            "story": Column(_TEXT, "what led to it"),
        },
    ),
    "levers": (
        ("tick", "agent"),
        {
            "tick": _TICK,
            "lever": Column(_TEXT, "its name, or its place in the settings"),
            "agent": Column(_INT, "agent's id; -1: everybody, since a parameter was set"),
            "what": Column(_TEXT, "what the lever did"),
        },
    ),
}
