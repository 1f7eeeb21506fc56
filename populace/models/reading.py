"""What a model said, read as the type that was asked for. Pure.

Strictly first: what is the type as it stands is taken as it stands. Then, since many endpoints wrap an answer:

- a think block before the answer is taken off (`without_thinking`);
- the one complete JSON value in the text is taken out of fences, prose and trailing text. None or two are no answer;
- with `lenient`, labels and enums of another case, numbers and booleans written as text, and a choice's bare label are
  put right, where only one thing can be meant.

What comes out is text that the type reads strictly, so a journal is read back without any of this.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from populace.agents.answers import AnswerSpec
from populace.core.records import Reading

_BLOCK: Final = re.compile(r"\s*<(think|thinking|thought|reasoning)>(.*?)</\1>\s*", re.DOTALL | re.IGNORECASE)
_OPEN: Final = re.compile(r"\s*<(think|thinking|thought|reasoning)>(.*)", re.DOTALL | re.IGNORECASE)
_END: Final = "</think>"
_DECODE: Final = json.JSONDecoder().raw_decode
_NUMBER: Final = re.compile(r"(?<![\w.+-])-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w]|\.\d)")
_AROUND: Final = " \t\r\n\"'`*_.!()[]\u201c\u201d\u2018\u2019"


def without_thinking(text: str) -> tuple[str, str]:
    """(answer, thinking): the think blocks that a text begins with, taken off it.

    A block that never ends leaves no answer. A text that only ends one (its beginning stood in the prompt's template)
    loses all up to there.
    """
    if "<" not in text:
        return text, ""
    thoughts = []
    answer = text
    while (block := _BLOCK.match(answer)) is not None:
        thoughts.append(block[2].strip())
        answer = answer[block.end() :]
    if (begun := _OPEN.match(answer)) is not None:
        thoughts.append(begun[2].strip())
        answer = ""
    elif not thoughts and _END in answer and "<think>" not in answer:
        before, _, answer = answer.partition(_END)
        thoughts.append(before.strip())
        answer = answer.lstrip()
    return answer, "\n\n".join(thoughts)


def read_as(
    spec: AnswerSpec, text: str, *, lenient: bool, read: Callable[[str], Any] | None = None
) -> tuple[str, Reading]:
    """The text that `spec` reads strictly, and how it was come by. Raises ValueError, fit to show the model.

    `read` reads in place of `spec.read`, where what it gives is kept (`Ask.read`).
    """
    read = read or spec.read
    wrong = _wrong(read, text)
    if wrong is None:
        return text, ""
    if spec.kind != "text" and spec.schema is not None:
        found = _only_value(text, spec.schema)
        if found is not None and found != text:
            wrong = _wrong(read, found)
            if wrong is None:
                return found, "extracted"
        fitted = _fitted(spec, text, found) if lenient else None
        if fitted is not None and _wrong(read, fitted) is None:
            return fitted, "coerced"
    raise ValueError(wrong)


def _wrong(read: Callable[[str], Any], text: str) -> str | None:
    """What is wrong with a text as an answer of a type; None where it can be read."""
    try:
        read(text)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a validator of the user's may raise anything
        return str(error) or type(error).__name__
    return None


def _fitted(spec: AnswerSpec, text: str, found: str | None) -> str | None:
    """JSON of what must be meant, or None."""
    assert spec.schema is not None
    try:
        value = json.loads(text if found is None else found)
    except (ValueError, RecursionError):
        value = None
    if spec.kind == "choice":
        given = value.get("label") if isinstance(value, dict) else value
        if not isinstance(given, str):
            given = text if given is None else str(given)
        label = _same_label(given, spec.labels)
        return None if label is None else json.dumps({"label": label}, ensure_ascii=False)
    if value is None:
        return None
    try:
        return json.dumps(_fit(value, spec.schema, spec.schema), ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        return None


def _only_value(text: str, schema: Mapping[str, Any]) -> str | None:
    """The one complete JSON value in a text that a schema of this kind may mean; None for none and for several.

    Where a schema is of an object, only objects count: '[1]' in the prose is no answer to it.
    """
    kind = schema.get("type")
    if kind in ("integer", "number"):
        numbers = _NUMBER.findall(text)
        return numbers[0] if len(numbers) == 1 else None
    starts = {"object": "{", "array": "["}.get(kind, "{[") if isinstance(kind, str) else "{["
    found, at = None, 0
    while (at := _next(text, starts, at)) >= 0:
        try:
            _, end = _DECODE(text, at)
        except json.JSONDecodeError as error:
            # A value began here and broke off: what stands inside of it is not the answer.
            if text[at + 1 : error.pos].strip():
                return None
            at += 1
            continue
        except RecursionError:
            return None
        if found is not None:
            return None
        found, at = text[at:end], end
    return found


def _next(text: str, starts: str, at: int) -> int:
    places = [place for start in starts if (place := text.find(start, at)) >= 0]
    return min(places, default=-1)


def _same_label(given: str, labels: tuple[str, ...]) -> str | None:
    """The label that a text is but for case and marks around it, if it is one only."""
    plain = given.strip(_AROUND).casefold()
    same = [label for label in labels if label.strip(_AROUND).casefold() == plain]
    return same[0] if len(same) == 1 else None


def _fit(value: Any, schema: Mapping[str, Any], top: Mapping[str, Any]) -> Any:
    """The value with enums of another case and numbers written as text as the schema has them."""
    schema = _resolved(schema, top)
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return _fit_union(value, schema[union], top)
    if "enum" in schema and value not in schema["enum"]:
        return _fit_enum(value, schema["enum"])
    kind = schema.get("type")
    if isinstance(kind, list):
        return _fit_union(value, [{**schema, "type": one} for one in kind], top)
    match value:
        case dict():
            fields, rest = schema.get("properties", {}), schema.get("additionalProperties")
            other = rest if isinstance(rest, Mapping) else {}
            return {name: _fit(part, fields.get(name, other), top) for name, part in value.items()}
        case list():
            items = schema.get("items")
            return [_fit(part, items, top) for part in value] if isinstance(items, Mapping) else value
        case str() if kind in ("integer", "number", "boolean"):
            return _plain(value, kind)
        case float() if kind == "integer" and value.is_integer():
            return int(value)
    return value


def _fit_union(value: Any, options: list[Mapping[str, Any]], top: Mapping[str, Any]) -> Any:
    """What the options make of a value, where it fits none as it is and only one makes something else of it."""
    kinds = [_resolved(option, top) for option in options]
    if any(_is_of(value, kind) for kind in kinds):
        return value
    made = [fit for kind in kinds if (fit := _fit(value, kind, top)) != value or type(fit) is not type(value)]
    return made[0] if len(made) == 1 else value


def _is_of(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a plain value is of a schema's type, as far as one can see from outside."""
    if "enum" in schema:
        return value in schema["enum"]
    match schema.get("type"):
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
    return False


def _fit_enum(value: Any, members: list[Any]) -> Any:
    if isinstance(value, str):
        label = _same_label(value, tuple(str(member) for member in members))
        return value if label is None else next(member for member in members if str(member) == label)
    same = [member for member in members if isinstance(member, str) and member == str(value)]
    return same[0] if same and not isinstance(value, bool | dict | list) else value


def _plain(text: str, kind: str) -> Any:
    """The number or truth value that a text writes out; the text where it writes none."""
    text = text.strip()
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.casefold(), text)
    if re.fullmatch(r"[+-]?\d{1,30}", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", text, re.ASCII):
        number = float(text)
        if math.isfinite(number):
            return int(number) if kind == "integer" and number.is_integer() else number
    return text


def _resolved(schema: Mapping[str, Any], top: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(20):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        found: Any = top
        for step in reference.removeprefix("#").strip("/").split("/"):
            found = found.get(step, {}) if step and isinstance(found, Mapping) else found
        schema = found if isinstance(found, Mapping) else {}
    return {}
