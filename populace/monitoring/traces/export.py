"""Spans on their way to a collector, in OpenTelemetry's form. Shell: opentelemetry, HTTP, a thread."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from populace.core.errors import SettingsError
from populace.monitoring.traces.lines import SCOPE
from populace.monitoring.traces.spans import Span

try:
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


class Collector:
    """Sends spans to a collector, over OTLP/HTTP, from a thread; `about` are the attributes of their resource."""

    def __init__(self, endpoint: str, about: Mapping[str, Any]) -> None:
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())  # what fails is counted here
        url = endpoint if urlsplit(endpoint).path.strip("/") else f"{endpoint.rstrip('/')}/v1/traces"
        self._resource = Resource(dict(about))
        self._scope = InstrumentationScope(SCOPE)
        self._counted = _Counted(OTLPSpanExporter(endpoint=url, timeout=_SENT_WITHIN_S))
        self._sender = BatchSpanProcessor(self._counted, max_queue_size=_HELD)

    def send(self, trace: str, spans: Sequence[Span]) -> None:
        """Hand spans of one trace on."""
        self._counted.given += len(spans)
        for span in spans:
            self._sender.on_end(self.made(trace, span))

    def close(self) -> str:
        """Send what waits, and let go; gives what is to be said, '' for nothing."""
        self._sender.shutdown()
        if not (lost := self._counted.given - self._counted.taken):
            return ""
        return f"{lost:,} of {self._counted.given:,} spans were not taken by the collector at traces.endpoint"

    def made(self, trace: str, span: Span) -> ReadableSpan:
        """A span as the library has it."""

        def context(own: str) -> Any:
            flags = TraceFlags(TraceFlags.SAMPLED)
            return SpanContext(int(trace, 16), int(own, 16), is_remote=False, trace_flags=flags)

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
