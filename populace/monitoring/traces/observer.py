"""The observer that makes traces of a run, as it goes on. Shell: a clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from populace.core.errors import SettingsError
from populace.core.records import DEFAULT_ROLE
from populace.monitoring.line_file import LineFile
from populace.monitoring.report import Happening, Pulse, TickReport
from populace.monitoring.traces.lines import otlp_line
from populace.monitoring.traces.spans import Named, Span, tick_spans
from populace.settings import Settings

if TYPE_CHECKING:
    from populace.monitoring.traces.export import Collector


class Traces:
    """An observer that hands on the spans of a run: of each tick when the next has begun, of the run at its end.

    An attempt that goes back to a checkpoint has a trace of its own. Raises SettingsError, from `begin` on, where
    the file cannot be opened, or there is a collector and OpenTelemetry is not installed. `say` is told what did not
    arrive.
    """

    def __init__(self, settings: Settings, run: str, say: Callable[[str], None]) -> None:
        roles = {role: settings.of_role(role).model for role in (DEFAULT_ROLE, *settings.model.roles)}
        self._settings = settings.traces
        self._named = Named(
            run, 0, settings.seed, settings.traces.share,
            {role: model.label for role, model in roles.items()},
            {role: "openai" if model.kind == "openai" else f"populace.{model.kind}" for role, model in roles.items()},
        )  # fmt: skip
        self._about = {"service.name": "populace", "populace.run": run}
        belongs = {"populace.experiment": settings.experiment, "populace.arm": settings.arm}
        self._about |= {name: value for name, value in belongs.items() if value}
        self._say = say
        self._file: LineFile | None = None
        self._collector: Collector | None = None
        self._began_ns = 0
        self._run: dict[str, Any] = {}
        self._waiting: list[Span] = []

    def begin(self, scenario: str, agents: int, ticks: int, shards: int, model: str) -> None:
        """Open what spans go to. Raises SettingsError."""
        if self._settings.file:
            path = Path(self._settings.file.replace("{run}", self._named.run)).expanduser()
            try:
                self._file = LineFile(path, self._settings.most_bytes)
            except OSError as error:
                raise SettingsError(f"traces.file = {str(path)!r}: cannot be written ({error.strerror}).") from None
        if self._settings.endpoint:
            from populace.monitoring.traces.export import Collector

            self._collector = Collector(self._settings.endpoint, self._about)
        self._began_ns = time.time_ns()
        self._run = {"populace.scenario": scenario, "populace.agents": agents, "populace.shards": shards}

    def happened(self, what: Happening) -> None:
        """Take which attempt it is, and how long a checkpoint took, which may become whole some ticks later."""
        if what.event == "attempt" and (attempt := int(what.fields["attempt"])) != self._named.attempt:
            if self._waiting:
                self._end_attempt(error=True)
            self._named = msgspec.structs.replace(self._named, attempt=attempt)
            self._began_ns = time.time_ns()
        if what.event == "checkpoint":
            now_ns, of = time.time_ns(), self._named.id("tick", what.tick)
            began_ns, waited_s = now_ns - int(what.fields["took_s"] * 1e9), what.fields["waited_s"]
            about = {
                "populace.checkpoint_bytes": what.fields["checkpoint_bytes"],
                "populace.checkpoint_waited_s": waited_s,
            }
            saved = Span("checkpoint", self._named.id("checkpoint", what.tick), of, began_ns, now_ns, about)
            waiting = (
                msgspec.structs.replace(one, end_ns=began_ns + int(waited_s * 1e9)) if one.id == of else one
                for one in self._waiting
            )
            self._waiting = [*waiting, saved]

    def pulse(self, pulse: Pulse) -> None:
        """A tick is told of at its end."""

    def tick(self, report: TickReport) -> None:
        """Hand on the tick before, and keep this one until it is known whether a checkpoint follows."""
        if not report.stages_s.keys() - {"checkpoint"}:
            return
        self._send()
        self._waiting = tick_spans(self._named, report, time.time_ns())

    def note(self, text: str) -> None:
        """Notes are for persons."""

    def end(self, status: str, manifest: Mapping[str, Any]) -> None:
        """Hand on what waits and the run's own span."""
        self._run["populace.status"] = status
        self._end_attempt(error=status != "complete")
        self.close()

    def close(self) -> None:
        """Let go of file and collector; a second call does nothing."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
        collector, self._collector = self._collector, None
        if collector is not None and (said := collector.close()):
            self._say(f"note: {said}")

    def _end_attempt(self, *, error: bool) -> None:
        self._send()
        about = {**self._run, "populace.attempt": self._named.attempt}
        self._waiting = [Span("run", self._named.id("run"), "", self._began_ns, time.time_ns(), about, error=error)]
        self._send()

    def _send(self) -> None:
        spans, self._waiting = self._waiting, []
        if spans and self._file is not None and not self._file.failed:
            self._file.say(otlp_line(self._named.trace, spans, self._about))
        if spans and self._collector is not None:
            self._collector.send(self._named.trace, spans)
