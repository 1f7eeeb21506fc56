"""What an answer may be: the type that an ask names, compiled once to a JSON schema and a reader.

Answer types are a msgspec Struct, a pydantic model, any type that msgspec reads from JSON (a dataclass, `int`,
`list[str]`, ...), `str` for free text, or `Choice` for one of a few labels. Sets in an answer are read in the order of
their elements, as in an agent's fields.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, Literal

import msgspec
import pydantic

from populace.core.containers import fields_of, order_sets, set_field
from populace.core.errors import BadAsk


class Chosen(msgspec.Struct, frozen=True, eq=False):
    """The answer to a `Choice`: the label, and the model's probabilities over all labels where it gives them.

    It equals its label: `answer == "yes"` and `answer.label == "yes"` say the same, and so do `!=`.
    """

    label: str
    probabilities: dict[str, float] | None = None

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self.label == other
        return isinstance(other, Chosen) and (other.label, other.probabilities) == (self.label, self.probabilities)

    def __ne__(self, other: object) -> bool:
        return not self == other  # a Struct's own would compare identity

    def __hash__(self) -> int:
        return hash(self.label)

    def __str__(self) -> str:
        return self.label


class Choice:
    """An answer that is one of a few labels, read from the model's probabilities where the endpoint gives them.

    Labels should begin differently ('agree', 'disagree'), since an endpoint gives the probabilities of a first
    token. Raises ValueError on fewer than two labels, on empty and on repeated ones.
    """

    __slots__ = ("_hash", "labels")

    def __init__(self, *labels: str) -> None:
        if len(labels) < 2 or len(set(labels)) < len(labels) or not all(labels):
            raise ValueError(f"Choice needs two or more different labels that are not empty, got {labels}")
        self.labels = labels
        self._hash = hash(labels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and other.labels == self.labels

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Choice{self.labels}"


class AnswerSpec:
    """A compiled answer type.

    `kind` is `text`, `choice`, `json` or `embedding`; `schema` is the JSON schema to send, if any; `labels` are those
    of a choice; `key` identifies the type in content keys; `read(text)` gives the typed answer and raises
    ValueError, with a message fit to show the model, when the text does not fit.
    """

    __slots__ = ("key", "kind", "labels", "name", "read", "schema")

    def __init__(
        self,
        name: str,
        kind: Literal["text", "choice", "json", "embedding"],
        schema: Mapping[str, Any] | None,
        read: Callable[[str], Any],
        labels: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.kind = kind
        self.schema = schema
        self.labels = labels
        self.read = read
        self.key = blake2b(json.dumps([kind, schema, labels], sort_keys=True).encode(), digest_size=16).digest()


_CHOSEN: Final = msgspec.json.Decoder(Chosen)


@lru_cache(maxsize=1024)
def compile_answer(answer: Any) -> AnswerSpec:
    """Compile an answer type. Raises BadAsk, naming the type, for one that has no JSON schema."""
    if answer is str:
        return AnswerSpec("text", "text", None, _read_text)
    if isinstance(answer, Choice):
        return _choice_spec(answer)
    name = getattr(answer, "__name__", repr(answer))
    try:
        if isinstance(answer, type) and issubclass(answer, pydantic.BaseModel):
            validate = answer.model_validate_json
            return AnswerSpec(
                name, "json", answer.model_json_schema(), lambda text: order_sets(validate(text), _fields, _put)
            )
        schema = _inline(msgspec.json.schema(answer))
        decode = msgspec.json.Decoder(answer).decode
        read = (lambda text: order_sets(decode(text))) if _holds_set(msgspec.inspect.type_info(answer)) else decode
        return AnswerSpec(name, "json", schema, read)
    except (TypeError, ValueError, pydantic.errors.PydanticUserError) as error:
        lines = str(error).strip().splitlines()  # of many lines, msgspec's last says what it is about
        raise BadAsk(unusable(name, lines[-1] if lines else "")) from error


def unusable(name: str, why: str = "") -> str:
    """What to say of something that cannot be the type of an answer."""
    said = f": {why.rstrip('.')}" if why else ""
    return f"{name} cannot be an answer type{said}. Use a msgspec.Struct, a pydantic model, Choice(...) or str."


def _holds_set(kind: Any, inside: tuple[Any, ...] = ()) -> bool:
    """Whether a value of this type, as msgspec.inspect tells of it, may hold a set, whose order is not its own."""
    if isinstance(kind, msgspec.inspect.SetType | msgspec.inspect.FrozenSetType):
        return True
    own = getattr(kind, "cls", None)
    if own is not None and own in inside:
        return False
    parts: list[Any] = []
    for name in kind.__struct_fields__:
        part = getattr(kind, name)
        parts += part if isinstance(part, tuple) else [part]
    kinds = [one.type if isinstance(one, msgspec.inspect.Field) else one for one in parts]
    return any(_holds_set(one, (*inside, own)) for one in kinds if isinstance(one, msgspec.inspect.Type))


def _fields(value: Any) -> list[tuple[str, Any]]:
    return list(vars(value).items()) if isinstance(value, pydantic.BaseModel) else fields_of(value)


def _put(value: Any, name: str, inner: Any) -> None:
    if isinstance(value, pydantic.BaseModel):
        vars(value)[name] = inner  # a frozen model, too, and without validating it again
    else:
        set_field(value, name, inner)


def _read_text(text: str) -> str:
    text = text.strip()
    if not text:
        raise ValueError("the answer is empty")
    return text


def _choice_spec(choice: Choice) -> AnswerSpec:
    labels = frozenset(choice.labels)

    def read(text: str) -> Chosen:
        chosen = _CHOSEN.decode(text)
        if chosen.label not in labels:
            raise ValueError(f"label must be one of {list(choice.labels)}, not {chosen.label!r}")
        return chosen

    schema = {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": list(choice.labels)}},
        "required": ["label"],
        "additionalProperties": False,
    }
    return AnswerSpec(repr(choice), "choice", schema, read, choice.labels)


def _inline(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its top-level `$ref` replaced by what it refers to; endpoints want an object at the top."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    definitions = dict(schema["$defs"])
    name = reference.rpartition("/")[2]
    top = dict(definitions[name])
    if json.dumps(reference) not in json.dumps(definitions):  # a recursive type still refers to itself
        del definitions[name]
    if definitions:
        top["$defs"] = definitions
    return top


def content_key(
    model: str,
    messages: tuple[tuple[str, str], ...],
    spec: AnswerSpec,
    max_tokens: int,
    temperature: float,
    form: str = "",
    ruled: tuple[str, str] | None = None,
) -> bytes:
    """The content key of an ask: BLAKE2b-128 over model, messages, parameters and answer type.

    `form` is how the messages are put where that is not as a chat; '' for a chat. `ruled` is purpose and facts (JSON)
    where the society's rules answer, which go by these; None where a model does.
    """
    if ruled is not None:
        content = _pack((model, messages, spec.key, max_tokens, temperature, form, ruled))
    elif form:
        content = _pack((model, messages, spec.key, max_tokens, temperature, form))
    else:
        content = _pack((model, messages, spec.key, max_tokens, temperature))
    return blake2b(content, digest_size=16, person=b"populace.ask1").digest()


_pack: Final = msgspec.msgpack.Encoder().encode
