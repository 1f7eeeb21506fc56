"""Answer schemas as endpoints want them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

_STRICT: Final = (
    "$defs $ref additionalProperties anyOf const default description enum items maximum maxItems minItems minimum "
    "multipleOf exclusiveMaximum exclusiveMinimum properties required title type"
)
_STRICT_KEYWORDS: Final = frozenset(_STRICT.split())


def strict_schema(schema: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The schema to send, and whether it may be sent as strict.

    Strict endpoints want every object closed and every property required. A closed object with all its properties is
    still an instance of the original schema, so the form sent is narrower, never wider. Keywords outside the strict
    subset, and maps with free keys, make it not strict.
    """
    strict = _is_strict(schema)
    return (_closed(schema) if strict else dict(schema)), strict


def guidance_grammar(schema: Mapping[str, Any]) -> str:
    """The schema as a grammar for llama.cpp's llguidance, which leaves no room for white space.

    A plain `response_format` lets a small model write white space until its tokens run out.
    """
    compact = {**_closed(schema), "x-guidance": {"whitespace_flexible": False}}
    return "%llguidance {}\nstart: %json " + json.dumps(compact)


def label_grammar(labels: tuple[str, ...]) -> str:
    """The labels, in any of their usual cases, as a grammar in llama.cpp's GBNF."""
    forms: dict[str, None] = {}
    for label in labels:
        forms |= dict.fromkeys((label, label.lower(), label.upper(), label[:1].upper() + label[1:]))
    quoted = (form.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for form in forms)
    return 'root ::= " "? (' + " | ".join(f'"{form}"' for form in quoted) + ")"


def _is_strict(schema: Any) -> bool:
    if not isinstance(schema, Mapping) or not schema.keys() <= _STRICT_KEYWORDS:
        return False
    if schema.get("type") == "object" and schema.get("additionalProperties") not in (None, False):
        return False
    parts = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", ())]
    if "items" in schema:
        parts.append(schema["items"])
    return all(_is_strict(part) for part in parts)


def _closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    closed = {name: value for name, value in schema.items() if name != "default"}
    for name in ("properties", "$defs"):
        if name in closed:
            closed[name] = {key: _closed(part) for key, part in closed[name].items()}
    if "anyOf" in closed:
        closed["anyOf"] = [_closed(part) for part in closed["anyOf"]]
    if "items" in closed:
        closed["items"] = _closed(closed["items"])
    if closed.get("type") == "object" and closed.get("additionalProperties") in (None, False):
        closed["required"] = list(closed.get("properties", {}))
        closed["additionalProperties"] = False
    return closed
