"""What a request to an OpenAI-compatible endpoint asks for, and about how many tokens it has."""

from __future__ import annotations

import json
import re
from typing import Any


def tokens_of(text: str) -> int:
    """Tokens of a text: one for each four bytes, rounded up."""
    return -(-len(text.encode()) // 4)


def tokens_in(prompt: Any) -> int:
    """Tokens of a prompt: its text, and four for each chat message."""
    if isinstance(prompt, str):
        return tokens_of(prompt)
    return sum(4 + tokens_of(message["content"] or "") for message in prompt)


def schema_of(body: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON schema that a request asks for, in any of the ways that servers take it, or None for free text."""
    form = body.get("response_format") or {}
    for message in reversed(body.get("messages") or []):
        if message["role"] == "user" and (found := re.search(r"fit this JSON schema:\n(\{.*\})", message["content"])):
            return _object(json.loads(found[1]))
    if form.get("type") == "json_schema":
        return _object(form["json_schema"]["schema"])
    if form.get("type") == "json_object":
        return _object(form.get("schema") or {"type": "object"})
    for name in ("json_schema", "guided_json"):
        if isinstance(body.get(name), dict):
            return _object(body[name])
    found = re.search(r"%json\s+(\{.*\})", body.get("grammar") or "", re.DOTALL)
    return _object(json.loads(found.group(1))) if found else None


def _object(schema: Any) -> dict[str, Any]:
    return dict(schema)
