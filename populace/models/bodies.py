"""The body of a 200 taken apart with patience: what is optional may be odd, and costs no paid answer. Pure.

A body that fits its struct never comes here; `chat` and `completions` read those at full speed. Here come those with
numbers that are null or text, '-Infinity', lone surrogates (they become U+FFFD), content in parts, a stream of events
though none was asked for, and things that are no answer at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from populace.models.endings import Fault
from populace.models.refusals import excerpt

_THOUGHTS: Final = ("reasoning_content", "reasoning", "thinking")


def plain_body(body: bytes, content_type: str = "") -> dict[str, Any] | Fault:
    """The JSON object that a body holds, or the fault that it is.

    A stream of events is put together, where it came to its end.
    """
    text = body.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    named = f"{content_type.partition(';')[0].strip() or 'no content type'}, {excerpt(body)}"
    if text.startswith(("data:", "event:", "id:", ":")):
        found = _of_stream(text)
        return found or Fault(f"the answer is a stream of events that broke off: {named}", billed=True)
    if not text.startswith("{"):
        return Fault(f"the answer is no completion but {named}", billed=True, foreign=bool(text))
    try:
        found = whole(json.loads(text))
    except (ValueError, RecursionError) as error:
        return Fault(f"the answer is no completion ({error}): {named}", billed=True)
    assert isinstance(found, dict), "a text that begins with a brace is an object"
    return found


def whole(value: Any) -> Any:
    """Plain data with each lone surrogate replaced by U+FFFD."""
    match value:
        case str() if not value.isascii():
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        case dict():
            return {whole(name): whole(part) for name, part in value.items()}
        case list():
            return [whole(part) for part in value]
    return value


def _of_stream(text: str) -> dict[str, Any] | None:
    """The completion that the events of a stream add up to; None where it has no end."""
    said: list[str] = []
    thought: list[str] = []
    reason = usage = error = None
    ended = False
    for event in _events(text):
        if event == "[DONE]":
            ended = True
            continue
        try:
            chunk = whole(json.loads(event))
        except ValueError:
            return None
        if not isinstance(chunk, dict):
            continue
        error = chunk.get("error") or error
        usage = chunk.get("usage") or usage
        for choice in objects(chunk.get("choices")):
            part = choice.get("delta") or choice.get("message") or choice
            if isinstance(part, dict):
                text_of, thought_of = contents(part)
                said.append(text_of)
                thought.append(thought_of)
            reason = choice.get("finish_reason") or reason
    if not (ended or reason or error):
        return None
    message = {"content": "".join(said), "reasoning_content": "".join(thought)}
    choices = [{"message": message, "text": message["content"], "finish_reason": reason}]
    return {"choices": choices if said else [], "usage": usage, "error": error}


def _events(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.startswith("data:"):
            yield line[5:].strip()


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; none for what is no list."""
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def contents(message: Mapping[str, Any]) -> tuple[str, str]:
    """(answer, thinking) of a message, whether its content is a text, parts, an object or nothing."""
    said: list[str] = []
    thought = [text for name in _THOUGHTS if isinstance(text := message.get(name), str) and text][:1]
    content = message.get("content", message.get("text"))
    if isinstance(content, str):
        said.append(content)
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, str):
                said.append(part)
            elif isinstance(part, dict):
                into = thought if part.get("type") in ("thinking", "reasoning") else said
                into.append(_text_of(part))
    elif isinstance(content, dict):
        said.append(json.dumps(content, ensure_ascii=False))
    return "".join(said), "".join(thought)


def _text_of(part: Mapping[str, Any]) -> str:
    found = next((part[name] for name in ("text", "thinking", "reasoning", "content") if name in part), "")
    if isinstance(found, list):
        return "".join(_text_of(inner) for inner in objects(found))
    return found if isinstance(found, str) else ""


def count(value: Any) -> int:
    """A number of tokens; -1 for what is none."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 16:
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53:
        return int(value)
    return -1


def text_or_none(value: Any) -> str | None:
    """A text, or None for anything else."""
    return value if isinstance(value, str) else None


def number(value: Any) -> float | None:
    """A number that is no NaN, or None."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        return float(value)
    return None


DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError)
"""What a struct's decoder raises for a body that does not fit it."""
