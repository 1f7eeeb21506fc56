"""What the misbehaving server says: an instance of a JSON schema, drawn from bytes."""

from __future__ import annotations

import json
from typing import Any

WORDS = ["the", "river", "meets", "a", "quiet", "harbour", "where", "people", "talk", "of", "bread", "and", "weather"]


def invent(schema: dict[str, Any] | None, digest: bytes) -> str:
    """Text for this schema: the same for the same schema and digest. Raises ValueError on a schema it can't fill."""
    source = _Source(digest)
    if schema is None:
        return " ".join(WORDS[source.below(len(WORDS))] for _ in range(4 + source.below(8)))
    return json.dumps(_instance(schema, schema, source), separators=(",", ":"))


class _Source:
    def __init__(self, digest: bytes) -> None:
        self.word = int.from_bytes(digest, "big")

    def below(self, n: int) -> int:
        self.word, rest = divmod(self.word, n) if self.word >= n else (2**509 - 3, self.word)
        return rest


def _instance(schema: dict[str, Any], top: dict[str, Any], source: _Source) -> Any:
    if "$ref" in schema:
        found: Any = top
        for step in schema["$ref"].removeprefix("#").strip("/").split("/"):
            found = found[step] if step else found
        return _instance(found, top, source)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][source.below(len(schema["enum"]))]
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return _instance(schema[union][source.below(len(schema[union]))], top, source)
    if "allOf" in schema:
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            merged.update(part)
        return _instance(merged, top, source)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[source.below(len(kind))]
    return _of_kind(kind, schema, top, source)


def _of_kind(kind: str | None, schema: dict[str, Any], top: dict[str, Any], source: _Source) -> Any:
    match kind:
        case "object" | None:
            names = schema.get("required", schema.get("properties", {}))
            return {name: _instance(schema["properties"][name], top, source) for name in names}
        case "array":
            if "prefixItems" in schema:
                return [_instance(item, top, source) for item in schema["prefixItems"]]
            least = schema.get("minItems", 0)
            most = min(schema.get("maxItems", least + 3), least + 3)
            return [_instance(schema["items"], top, source) for _ in range(least + source.below(most - least + 1))]
        case "string":
            text = " ".join(WORDS[source.below(len(WORDS))] for _ in range(1 + source.below(4)))
            return text[: schema.get("maxLength", 100)].ljust(schema.get("minLength", 0), "x")
        case "integer":
            low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
            high = schema.get("maximum", schema.get("exclusiveMaximum", low + 11) - 1)
            return low + source.below(high - low + 1)
        case "number":
            low, high = schema.get("minimum", 0.0), schema.get("maximum", schema.get("minimum", 0.0) + 10.0)
            return low + (high - low) * (1 + source.below(998)) / 1000
        case "boolean":
            return bool(source.below(2))
        case "null":
            return None
    raise ValueError(f"the test server cannot invent a {kind!r}: {schema}")
