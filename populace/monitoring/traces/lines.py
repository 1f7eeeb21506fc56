"""Spans as lines of OTLP/JSON. Pure.

It is OpenTelemetry's own encoding (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding) written down from
populace's spans at once: through the library's protobuf messages a span takes some 50 times as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from populace.monitoring.traces.spans import Span

SCOPE: Final = "populace"
_INTERNAL: Final = 1
_CLIENT: Final = 3
_ERROR: Final = 2
_LOCAL_PARENT: Final = 0x100
"""A flag of a span: it is known that its parent is none of another process."""
_encode: Final = msgspec.json.Encoder().encode


def otlp_line(trace: str, spans: Sequence[Span], about: Mapping[str, Any]) -> str:
    """Spans of one trace as one line of OTLP/JSON; `about` are the attributes of the resource."""
    scope = {"scope": {"name": SCOPE}, "spans": [_span(trace, span) for span in spans]}
    resource = {"resource": {"attributes": _attributes(about)}, "scopeSpans": [scope]}
    return _encode({"resourceSpans": [resource]}).decode()


def _span(trace: str, span: Span) -> dict[str, Any]:
    parent = {"parentSpanId": span.parent} if span.parent else {}
    return {
        "traceId": trace,
        "spanId": span.id,
        **parent,
        "name": span.name,
        "kind": _CLIENT if span.asks_model else _INTERNAL,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        **({"attributes": _attributes(span.attributes)} if span.attributes else {}),
        "status": {"code": _ERROR} if span.error else {},
        "flags": _LOCAL_PARENT,
    }


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
    return {"stringValue": str(value)}
