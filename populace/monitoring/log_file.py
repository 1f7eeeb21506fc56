"""The log of a run, in lines of JSON. Shell: a clock, files.

A line has when it was written, how grave it is, of which run, attempt, tick and (where it is one's) shard it tells,
what happened, and figures. What society, agents and models wrote is in none of them, unless the settings ask for it.
The coordinator writes it, on Ray too: what befalls a shard comes to it with the shard's report.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from populace.core.errors import SettingsError
from populace.core.records import Counts
from populace.core.text import shown_json
from populace.core.traffic import Vitals
from populace.monitoring.line_file import LineFile
from populace.monitoring.report import Happening, Level, Pulse, TickReport
from populace.settings.watching import LogSettings

_LEVELS: Final[Mapping[Level, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_TEXT_LETTERS: Final = 8000
"""Longer texts are cut: a line stays one that can be read."""
_ASK_TEXTS: Final = ("prompt", "answer", "reasoning", "detail")


class LogFile:
    """The observer that writes a run's log. It never ends a run: once the file cannot be written, it is let go of.

    `run` is the run's name. Raises SettingsError, from `begin` on, where the file cannot be opened.
    """

    def __init__(self, settings: LogSettings, run: str) -> None:
        self._path = Path(settings.file.replace("{run}", run)).expanduser()
        self._least = _LEVELS[settings.level]
        self._texts = settings.texts
        self._most_bytes = settings.most_bytes
        self._run = run
        self._attempt: int | None = None
        self._tick = 0
        self._begun: dict[str, Any] | None = None
        self._breakers: dict[str, int] = {}
        self._file: LineFile | None = None
        self._encode = msgspec.json.Encoder(enc_hook=str).encode

    def begin(self, scenario: str, agents: int, ticks: int, shards: int, model: str) -> None:
        """Open the file. What begins is told once it is known which attempt it is. Raises SettingsError."""
        try:
            self._file = LineFile(self._path, self._most_bytes)
        except OSError as error:
            raise SettingsError(
                f"log.file = {str(self._path)!r}: cannot be written ({error.strerror}). Choose another with --log."
            ) from None
        self._begun = {"scenario": scenario, "agents": agents, "ticks": ticks, "shards": shards, "model": model}

    def happened(self, what: Happening) -> None:
        """Say it; its text only where it is none of the society's, or texts are wanted."""
        if what.event == "attempt":
            self._attempt = int(what.fields["attempt"])
        self._say_begin()
        fields = dict(what.fields)
        if what.text and (self._texts or not what.private):
            fields["text"] = what.text
        elif what.event == "note":
            return  # a failed turn, a loss: told as data, without its text
        self._say(what.event, what.level, what.tick, what.shard, **fields)

    def pulse(self, pulse: Pulse) -> None:
        """Say how far the tick has come, and which breakers have opened or closed."""
        told = msgspec.to_builtins(pulse)
        self._say("pulse", "debug", pulse.tick, **{name: told[name] for name in _OF_A_PULSE})
        self._tell_breakers(pulse.tick, pulse.vitals)

    def tick(self, report: TickReport) -> None:
        """Say what the tick came to, what was troublesome about its calls, and how each shard fared."""
        if not report.stages_s.keys() - {"checkpoint"}:
            self._say("expired", "info", report.tick, **_figures(report.counts), wall_s=round(report.wall_s, 6))
            return
        self._tick = report.tick
        self._say(
            "tick", "info", report.tick, **_figures(report.counts), stages_s=report.stages_s,
            outcomes=report.outcomes, wall_s=round(report.wall_s, 6),
        )  # fmt: skip
        traffic = report.counts.traffic
        if traffic is not None and traffic.retries:
            self._say("retries", "warning", report.tick, by_reason=traffic.retries)
        if traffic is not None and traffic.opened:
            self._say("breaker_opened", "warning", report.tick, by_endpoint=traffic.opened)
        self._tell_breakers(report.tick, report.vitals)
        for one in report.vitals:
            told = {"turns_s": one.turns_s, "observe_s": one.observe_s, "rss_bytes": one.rss_bytes, "lag_s": one.lag_s}
            self._say("shard", "debug", report.tick, one.shard, **told)
        if self._texts:
            self._tell_asks(report)

    def note(self, text: str) -> None:
        """Notes come as happenings too, with whether they may hold somebody's text."""

    def end(self, status: str, manifest: Mapping[str, Any]) -> None:
        """Say how it ended and what it came to, and let go of the file."""
        self._say_begin()
        names = ("turns", "turns_failed", "calls_billed", "tokens_in", "tokens_out", "cost_usd", "wall_s", "trace_hash")
        figures = {name: manifest[name] for name in (*names, "peak_rss_mb") if name in manifest}
        level: Level = "info" if status == "complete" else "warning"
        if self._texts and manifest.get("error"):
            figures["text"] = manifest["error"]
        self._say("end", level, manifest.get("ticks"), status=status, valid=manifest.get("valid", True), **figures)
        self.close()

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _say_begin(self) -> None:
        begun, self._begun = self._begun, None
        if begun is not None:
            self._say("begin", "info", **begun)

    def _tell_breakers(self, tick: int, vitals: list[Vitals]) -> None:
        """Say of which endpoints another number of shards' circuit breakers is open than was told."""
        if not vitals:
            return
        now: dict[str, int] = {}
        for one in vitals:
            for name, load in one.endpoints.items():
                now[name] = now.get(name, 0) + load.breakers_open
        for name in sorted(now.keys() | self._breakers.keys()):
            if now.get(name, 0) != self._breakers.get(name, 0):
                self._say("breakers", "warning", tick, endpoint=name, open=now.get(name, 0))
        self._breakers = now

    def _tell_asks(self, report: TickReport) -> None:
        for rows in report.asks:
            for at, agent in enumerate(rows["agent"]):
                texts: dict[str, Any] = {name: self._text(rows[name][at]) for name in _ASK_TEXTS if rows[name][at]}
                about = {name: rows[name][at] for name in ("nth", "purpose", "settled", "reason")}
                self._say("ask", "info", report.tick, agent=agent, **about, **texts)

    def _text(self, value: Any) -> str:
        return value if isinstance(value, str) else self._encode(value).decode()

    def _say(self, event: str, level: Level, tick: int | None = None, shard: int | None = None, **fields: Any) -> None:
        if self._file is None or _LEVELS[level] < self._least:
            return
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "run": self._run,
            "attempt": self._attempt,
            "shard": shard,
            "tick": self._tick if tick is None else tick,
            "event": event,
            **{name: _cut(value) for name, value in fields.items()},
        }
        self._file.say(shown_json(self._encode(line).decode()))
        if self._file.failed:
            self.close()  # the disk is full, or the folder gone: the run tells where that matters


_OF_A_PULSE: Final = ("turns_due", "turns_done", "asks_waiting", "asks_in_flight", "batches", "wall_s")


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _TEXT_LETTERS:
        return f"{value[:_TEXT_LETTERS]}... ({len(value):,} characters)"
    return value


def _figures(counts: Counts) -> dict[str, Any]:
    """A tick's counts. Reasons are told where they are populace's own words."""
    return {
        "turns": counts.turns,
        "turns_failed": counts.turns_failed,
        "messages_sent": counts.sent,
        "messages_delivered": counts.delivered,
        "messages_expired": counts.expired,
        "messages_refused": counts.refused,
        "actions_applied": counts.applied,
        "actions_refused": sum(counts.acts_refused.values()),
        "asks": counts.asked,
        "answered": counts.answered,
        "cached": counts.cached,
        "replayed": counts.replayed,
        "surrogate": counts.surrogate,
        "abstained": counts.abstained,
        "calls": counts.calls,
        "tokens_in": counts.tokens_in,
        "tokens_out": counts.tokens_out,
        "cost_usd": counts.cost_usd,
    }
