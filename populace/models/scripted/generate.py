"""Values drawn at random from a JSON schema: what the scripted model says when nobody tells it what to say.

`compile_schema` turns a schema into a function of a keyed stream, once; drawing a value from it is then a few calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from populace.core.draws import Stream

Drawer: TypeAlias = Callable[[Stream, int], Any]
"""Draws one value from a stream; the integer is the depth, which bounds recursive types."""

_PLAIN: Final = (
    "the a we they people work school health taxes money time city town family neighbours friends news today never "
    "always often more less better worse should could will want need think believe know hear said about because and "
    "but or not with without for against fair free safe hard good bad right wrong local public private future past "
    "country government change media voice trust"
)
WORDS: Final = tuple(_PLAIN.split())
"""64 plain words, so that six bits choose one."""

_DEEP: Final = 4


def plain_text(draw: Stream, at_least: int = 4) -> str:
    """Between `at_least` and `at_least` + 7 words."""
    bits = draw.word()
    count = at_least + (bits & 7)
    bits >>= 3
    chosen = []
    while count:
        for _ in range(min(count, 10)):
            chosen.append(WORDS[bits & 63])
            bits >>= 6
            count -= 1
        if count:
            bits = draw.word()
    return " ".join(chosen)


def compile_schema(schema: Mapping[str, Any]) -> Callable[[Stream], Any]:
    """A function that draws values fitting the schema. Raises ValueError for a schema it cannot draw from."""
    drawer = _Compiler(schema).compile(schema)
    return lambda draw: drawer(draw, 0)


class _Compiler:
    """Compiles a schema and its definitions; a definition that refers to itself is met at draw time."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._definitions = {f"#/$defs/{name}": part for name, part in root.get("$defs", {}).items()}
        self._definitions["#"] = root
        self._compiled: dict[str, Drawer] = {}

    def compile(self, schema: Mapping[str, Any]) -> Drawer:
        if "$ref" in schema:
            return self._refer(schema["$ref"])
        if "const" in schema:
            return _always(schema["const"])
        if "enum" in schema:
            return _one_of([_always(value) for value in schema["enum"]])
        for union in ("anyOf", "oneOf"):
            if union in schema:
                return self._union(schema[union])
        if "allOf" in schema:
            merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
            for part in schema["allOf"]:
                merged.update(self._definitions.get(part.get("$ref", ""), part))
            return self.compile(merged)
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._union([{**schema, "type": each} for each in kind])
        return self._plain(kind, schema)

    def _plain(self, kind: str | None, schema: Mapping[str, Any]) -> Drawer:
        match kind:
            case "null":
                return _always(None)
            case "boolean":
                return lambda draw, _depth: bool(draw.word() & 1)
            case "integer":
                return _integer(schema)
            case "number":
                return _number(schema)
            case "string":
                return _string(schema)
            case "array":
                return self._array(schema)
            case "object":
                return self._object(schema)
            case None:
                return lambda draw, _depth: plain_text(draw)
        raise ValueError(f"the scripted model knows no type {kind!r} in a JSON schema")

    def _refer(self, reference: str) -> Drawer:
        part = self._definitions.get(reference)
        if part is None:
            raise ValueError(f"the schema refers to {reference}, which it does not define")
        compiled = self._compiled
        if reference in compiled:
            return lambda draw, depth: compiled[reference](draw, depth + 1)
        compiled[reference] = _always(None)
        compiled[reference] = self.compile(part)
        return compiled[reference]

    def _union(self, parts: list[Mapping[str, Any]]) -> Drawer:
        drawers = [self.compile(part) for part in parts]
        shallow = [
            drawer
            for part, drawer in zip(parts, drawers, strict=True)
            if part.get("type") not in ("object", "array") and "$ref" not in part
        ]
        free, deep = _one_of(drawers), _one_of(shallow or drawers)
        return lambda draw, depth: deep(draw, depth) if depth >= _DEEP else free(draw, depth)

    def _array(self, schema: Mapping[str, Any]) -> Drawer:
        first = [self.compile(part) for part in schema.get("prefixItems", ())]
        items = schema.get("items", {})
        low = max(int(schema.get("minItems", 0)), len(first))
        high = int(schema.get("maxItems", max(low, len(first), 3)))
        if items is False or high <= len(first):
            return lambda draw, depth: [drawer(draw, depth) for drawer in first]
        item = self.compile(items if isinstance(items, Mapping) else {})
        unique = bool(schema.get("uniqueItems"))

        def array(draw: Stream, depth: int) -> list[Any]:
            count = low if depth >= _DEEP else low + draw.integer(high - low + 1)
            values = [drawer(draw, depth) for drawer in first]
            for _ in range(count - len(first)):
                value = item(draw, depth + 1)
                for _ in range(100 if unique else 0):
                    if value not in values:
                        break
                    value = item(draw, depth + 1)
                if not (unique and value in values):
                    values.append(value)
            return values

        return array

    def _object(self, schema: Mapping[str, Any]) -> Drawer:
        fields = [(name, self.compile(part)) for name, part in schema.get("properties", {}).items()]
        other = schema.get("additionalProperties")
        if not fields and isinstance(other, Mapping):
            value = self.compile(other)
            low = int(schema.get("minProperties", 0))
            high = int(schema.get("maxProperties", max(low, 3)))
            return lambda draw, depth: {
                f"{WORDS[n & 63]}{n}": value(draw, depth + 1) for n in range(low + draw.integer(high - low + 1))
            }
        return lambda draw, depth: {name: drawer(draw, depth) for name, drawer in fields}


def _always(value: Any) -> Drawer:
    return lambda _draw, _depth: value


def _one_of(drawers: list[Drawer]) -> Drawer:
    if len(drawers) == 1:
        return drawers[0]
    if not drawers:
        raise ValueError("the schema offers no alternative to draw from")
    return lambda draw, depth: drawers[draw.integer(len(drawers))](draw, depth)


def _integer(schema: Mapping[str, Any]) -> Drawer:
    step = schema.get("multipleOf", 1)
    if step != int(step) or step < 1:
        raise ValueError(f"the scripted model draws no integers that are multiples of {step}")
    step = int(step)
    low, high = _bounds(schema, 1)
    first, last = -(-math.ceil(low) // step), math.floor(high) // step
    if last < first:
        raise ValueError(f"no integer is between {low} and {high}")
    count = last - first + 1
    return lambda draw, _depth: (first + draw.integer(count)) * step


def _number(schema: Mapping[str, Any]) -> Drawer:
    if "multipleOf" in schema:
        raise ValueError("the scripted model draws no numbers with multipleOf; give it an answer function")
    low, high = _bounds(schema, 0)
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")

    def number(draw: Stream, _depth: int) -> float:
        value = round(low + (high - low) * draw.random(), 6)
        return min(max(value, low), high) if value not in (above, below) else (low + high) / 2

    return number


def _bounds(schema: Mapping[str, Any], open_step: int) -> tuple[float, float]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if (above := schema.get("exclusiveMinimum")) is not None:
        low = max(above + open_step, low) if low is not None else above + open_step
    if (below := schema.get("exclusiveMaximum")) is not None:
        high = min(below - open_step, high) if high is not None else below - open_step
    if low is None:
        low = min(0, high - 100) if high is not None else 0
    if high is None:
        high = max(100, low + 100)
    return low, high


def _string(schema: Mapping[str, Any]) -> Drawer:
    if "pattern" in schema:
        raise ValueError(f"the scripted model writes no strings for the pattern {schema['pattern']!r}")
    form = schema.get("format")
    if form is not None:
        if form not in _FORMATS:
            raise ValueError(f"the scripted model writes no strings of the format {form!r}")
        return _FORMATS[form]
    low, high = int(schema.get("minLength", 0)), schema.get("maxLength")

    def string(draw: Stream, _depth: int) -> str:
        text = plain_text(draw)
        while len(text) < low:
            text = f"{text} {plain_text(draw)}"
        return text if high is None or len(text) <= high else (text[:high].rstrip() or text[:high]).ljust(low, "a")

    return string


def _day(draw: Stream, _depth: int) -> str:
    return f"{2000 + draw.integer(30)}-{1 + draw.integer(12):02}-{1 + draw.integer(28):02}"


def _hour(draw: Stream, _depth: int) -> str:
    return f"{draw.integer(24):02}:{draw.integer(60):02}:{draw.integer(60):02}Z"


def _uuid(draw: Stream, _depth: int) -> str:
    text = f"{draw.word():016x}{draw.word():016x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:]}"


_FORMATS: Final[Mapping[str, Drawer]] = {
    "date": _day,
    "time": _hour,
    "date-time": lambda draw, depth: f"{_day(draw, depth)}T{_hour(draw, depth)}",
    "uuid": _uuid,
    "duration": lambda draw, _depth: f"PT{draw.integer(3600)}S",
}
