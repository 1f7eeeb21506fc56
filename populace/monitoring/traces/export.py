"""Spans on their way to a file and to a collector, in OpenTelemetry's form. Shell: opentelemetry, files, HTTP."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from populace.core.errors import SettingsError
from populace.monitoring.line_file import LineFile
from populace.monitoring.traces.spans import Span

try:
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
except ImportError as error:
    raise SettingsError(f"traces need OpenTelemetry ({error.name}): pip install 'populace[traces]'") from None

_SENT_WITHIN_S: Final = 3.0
"""How long a collector may take; it is sent to in a thread, and at the run's end waited for."""
_HELD: Final = 16_384
"""Spans that wait to be sent at most; more are left out, and counted."""
_IDS: Final = ("traceId", "spanId", "parentSpanId")


class Exporter:
    """Sends spans to a file, to a collector, or to both. Raises SettingsError for a file that cannot be opened."""

    def __init__(self, file: Path | None, most_bytes: int, endpoint: str, about: Mapping[str, Any]) -> None:
        self._resource = Resource(dict(about))
        self._scope = InstrumentationScope("populace")
        self._file: LineFile | None = None
        self._sender: BatchSpanProcessor | None = None
        self._counted: _Counted | None = None
        if file is not None:
            try:
                self._file = LineFile(file, most_bytes)
            except OSError as error:
                raise SettingsError(f"traces.file = {str(file)!r}: cannot be written ({error.strerror}).") from None
        if endpoint:
            logging.getLogger("opentelemetry").addHandler(logging.NullHandler())  # what fails is counted here
            url = endpoint if urlsplit(endpoint).path.strip("/") else f"{endpoint.rstrip('/')}/v1/traces"
            self._counted = _Counted(OTLPSpanExporter(endpoint=url, timeout=_SENT_WITHIN_S))
            self._sender = BatchSpanProcessor(self._counted, max_queue_size=_HELD)

    def send(self, trace: str, spans: Sequence[Span]) -> None:
        """Hand spans of one trace on."""
        made = [self._made(trace, span) for span in spans]
        if self._file is not None and not self._file.failed:
            self._file.say(otlp_json(made))
        if self._sender is not None and self._counted is not None:
            self._counted.given += len(made)
            for one in made:
                self._sender.on_end(one)

    def close(self) -> str:
        """Send what waits, and let go; gives what is to be said, '' for nothing."""
        file, self._file = self._file, None
        sender, self._sender = self._sender, None
        if file is not None:
            file.close()
        if sender is not None:
            sender.shutdown()
        if sender is None or self._counted is None or not (lost := self._counted.given - self._counted.taken):
            return ""
        return f"{lost:,} of {self._counted.given:,} spans were not taken by the collector at traces.endpoint"

    def _made(self, trace: str, span: Span) -> ReadableSpan:
        def context(own: str) -> Any:
            return SpanContext(
                int(trace, 16), int(own, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
            )

        return ReadableSpan(
            name=span.name,
            context=context(span.id),
            parent=context(span.parent) if span.parent else None,
            resource=self._resource,
            attributes=span.attributes,
            kind=SpanKind.CLIENT if span.asks_model else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR) if span.error else Status(),
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=self._scope,
        )


class _Counted(SpanExporter):  # type: ignore[misc]  # the library's types are not looked at
    """An exporter that counts the spans that were taken."""

    def __init__(self, inner: OTLPSpanExporter) -> None:
        self._inner = inner
        self.given = self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them."""
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.taken += len(spans)
        return result

    def shutdown(self) -> None:
        """Let go of the connection."""
        self._inner.shutdown()


def otlp_json(spans: Sequence[ReadableSpan]) -> str:
    """Spans as one line of OTLP/JSON, in which ids are hexadecimal digits and enumerations numbers."""
    message: dict[str, Any] = MessageToDict(encode_spans(spans), use_integers_for_enums=True)
    for resource in message.get("resourceSpans", ()):
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in _IDS:
                    if name in span:
                        span[name] = base64.b64decode(span[name]).hex()
    return json.dumps(message, separators=(",", ":"))
