"""What a person sees while a run goes on: a bar in a terminal, JSON lines anywhere else.

Neither reads a clock nor starts a thread: both draw when the run reports, no more often than is of use, and time
is the wall time of the reports.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, TextIO

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from populace.core.records import Counts
from populace.core.text import shown_json, shown_line, shown_text
from populace.monitoring.live import AtFoot
from populace.monitoring.pace import Pace, counted, duration_text, left_text
from populace.monitoring.report import Pulse, TickReport

NOTES_SHOWN: Final = 50
"""Notes shown to a person; later ones are counted, and all failed turns stand in failures.parquet."""

_REDRAW_S: Final = 0.1
_PULSE_LINE_S: Final = 10.0
_LINE_S: Final = 5.0
EVERY: Final = "POPULACE_PROGRESS_S"
"""The environment's variable for seconds between two lines of progress where there is no terminal."""
_REASONS_SHOWN: Final = 3


def choose_progress(stream: TextIO) -> Bar | JsonLines:
    """A bar when `stream` is a terminal that can move its cursor, JSON lines otherwise."""
    if stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown"):
        return Bar(Console(file=stream))
    return JsonLines(stream, float(os.environ.get(EVERY, _LINE_S)))


class _Progress:
    """What both kinds keep: where the run is, its pace, and how many notes there were."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._total = Counts()
        self._tick = self._ticks = self._agents = 0
        self._pulse: Pulse | None = None
        self._wall_s = 0.0
        self._notes = 0

    def _begun(self, agents: int, ticks: int) -> None:
        self._agents, self._ticks = agents, ticks

    def _pulsed(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self._tick, self._wall_s = pulse.tick, pulse.wall_s
        self._pace.see(pulse.wall_s, self._share(), self._total.turns + pulse.turns_done)

    def _ticked(self, report: TickReport) -> None:
        self._pulse = None
        self._total = Counts()
        self._total.add(report.total)
        self._tick, self._ticks, self._agents = report.tick, report.ticks, report.agents
        self._wall_s = report.wall_s
        self._pace.see(report.wall_s, self._share(), report.total.turns)

    def _share(self) -> float:
        """How much of the run is done, 0 to 1: ticks completed, and of the one under way the turns done."""
        within = 0.0
        if self._pulse is not None and self._pulse.turns_due:
            within = min(1.0, self._pulse.turns_done / self._pulse.turns_due)
        return min(1.0, (self._tick + within) / self._ticks) if self._ticks else 0.0

    def _worth_showing(self) -> bool:
        self._notes += 1
        return self._notes <= NOTES_SHOWN

    @property
    def _unshown(self) -> int:
        return max(0, self._notes - NOTES_SHOWN)


class Bar(AtFoot, _Progress):
    """A bar on a terminal, with two lines of numbers below it. `close` gives the terminal back."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._live: Live | None = None
        self._title = ""
        self._drawn_s = -_REDRAW_S
        self._status = ""

    def begin(self, scenario: str, agents: int, ticks: int, shards: int, model: str) -> None:
        """Draw the empty bar."""
        self._begun(agents, ticks)
        counts = f"{counted(agents, 'agent')}, {_planned(ticks)}, {counted(shards, 'shard')}"
        self._title = f"{scenario}: {counts}, model {model}"
        self._console.print(Text(shown_line(self._title), style="bold"))
        self._live = Live(self._draw(), console=self._console, auto_refresh=False)
        self._live.start(refresh=True)

    def pulse(self, pulse: Pulse) -> None:
        """Move the bar within the tick."""
        self._pulsed(pulse)
        self._redraw()

    def tick(self, report: TickReport) -> None:
        """Move the bar to the tick's end."""
        self._ticked(report)
        self._redraw()

    def note(self, text: str) -> None:
        """Show a line above the bar."""
        if self._worth_showing():
            self._console.print(Text(shown_text(text), style="yellow"))
        elif self._unshown == 1:
            self._console.print(Text(f"More than {NOTES_SHOWN} such lines; further ones are counted.", style="yellow"))

    def end(self, status: str, manifest: Mapping[str, Any]) -> None:
        """Draw how it ended, and give the terminal back."""
        self._pulse = None
        self._status = status
        self.close()
        if self._unshown:
            self._console.print(Text(f"{self._unshown:,} further lines were not shown.", style="yellow"))

    def _redraw(self) -> None:
        if self._live is not None and (self._wall_s - self._drawn_s >= _REDRAW_S or self._tick == self._ticks):
            self._drawn_s = self._wall_s
            self._live.update(self._draw(), refresh=True)

    def _draw(self) -> Group:
        share = self._share()
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(no_wrap=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True, justify="right")
        bar.add_column(no_wrap=True)
        time = duration_text(self._wall_s)
        left = self._status or ("" if share >= 1.0 else left_text(self._pace.left()))
        bar.add_row(
            Text(f"tick {self._tick:,}/{self._ticks:,}"),
            ProgressBar(total=1.0, completed=share),
            Text(f"{int(100 * share)}%"),
            Text(f"{time}, {left}" if left else time),
        )
        return Group(bar, self._now_line(), self._total_line())

    def _now_line(self) -> Text:
        parts = [f"{_rate(self._pace.turns_per_s)} turns/s"]
        if self._pulse is not None:
            parts += [
                f"turns {self._pulse.turns_done:,}/{self._pulse.turns_due:,}",
                f"asks in flight {self._pulse.asks_in_flight:,}",
                f"waiting {self._pulse.asks_waiting:,}",
            ]
            if self._pulse.batches:
                parts.append(f"batches out: {batches_text(self._pulse.batches)}")
        return Text("  " + " · ".join(parts), style="dim", overflow="ellipsis", no_wrap=True)

    def _total_line(self) -> Text:
        total = self._total
        abstained = sum(total.abstained.values())
        line = Text("  ", overflow="ellipsis", no_wrap=True)
        line.append(f"{total.turns:,} turns, ")
        line.append(f"{total.turns_failed:,} failed", style="bold red" if total.turns_failed else "")
        line.append(f" · {money(total.cost_usd)} · {total.asked:,} asks, ")
        line.append(f"{abstained:,} abstained{_reasons(total.abstained)}", style="yellow" if abstained else "")
        return line


class JsonLines(_Progress):
    """One JSON object a line and event: begin, tick, note, end, and a pulse at most every ten seconds.

    Of ticks the first and the last are said, and between them at most one in `every_s` seconds.
    A reader that goes away (`| head`) does not end the run.
    """

    def __init__(self, stream: TextIO, every_s: float = _LINE_S) -> None:
        self._last_tick = -1
        self._every_s = every_s
        super().__init__()
        self._stream = stream
        self._said_s = 0.0
        self._gone = False

    def begin(self, scenario: str, agents: int, ticks: int, shards: int, model: str) -> None:
        """Say what begins."""
        self._begun(agents, ticks)
        self._say("begin", scenario=scenario, agents=agents, ticks=ticks, shards=shards, model=model)

    def pulse(self, pulse: Pulse) -> None:
        """Say how far the tick has come, when nothing was said for ten seconds."""
        self._pulsed(pulse)
        if self._is_time(_PULSE_LINE_S):
            self._say("pulse", **msgspec.to_builtins(pulse), **self._speed())

    def tick(self, report: TickReport) -> None:
        """Say what the tick came to (`tick_counts`) and the run so far (`total`).

        What the run's end adds (expired messages) is an event of its own, `closing`.
        """
        event = "closing" if report.tick == self._last_tick else "tick"
        first, self._last_tick = self._last_tick < 0, report.tick
        self._ticked(report)
        if not (first or event == "closing" or report.tick >= report.ticks or self._is_time(self._every_s)):
            return
        self._say(
            event,
            tick=report.tick,
            ticks=report.ticks,
            wall_s=report.wall_s,
            **self._speed(),
            tick_counts=_brief(report.counts),
            total=_brief(report.total),
            outcomes=report.outcomes,
            stages_s=report.stages_s,
        )

    def note(self, text: str) -> None:
        """Say it, unless there were too many."""
        if self._worth_showing():
            self._say("note", text=text)

    def end(self, status: str, manifest: Mapping[str, Any]) -> None:
        """Say how it ended, with the manifest."""
        self._say("end", status=status, notes_not_shown=self._unshown, manifest=manifest)

    def close(self) -> None:
        """There is nothing to give back."""

    def _is_time(self, every_s: float) -> bool:
        return self._wall_s - self._said_s >= every_s

    def _speed(self) -> dict[str, Any]:
        left = self._pace.left()
        return {
            "turns_per_s": round(self._pace.turns_per_s, 3),
            "left_s": [round(left.low_s, 1), round(left.high_s, 1)] if left else None,
        }

    def _say(self, event: str, **values: Any) -> None:
        self._said_s = self._wall_s
        if self._gone:
            return
        line = shown_json(msgspec.json.encode({"event": event, **values}, enc_hook=str).decode())
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except BrokenPipeError:
            self._gone = True


def _brief(counts: Counts) -> dict[str, Any]:
    return {
        "turns": counts.turns,
        "turns_failed": counts.turns_failed,
        "messages_sent": counts.sent,
        "messages_delivered": counts.delivered,
        "asks": counts.asked,
        "abstained": counts.abstained,
        "calls_billed": counts.calls,
        "cost_usd": counts.cost_usd,
    }


def _planned(ticks: int) -> str:
    return counted(ticks, "tick") if ticks else "as many ticks as its interactions take"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}" if rate >= 0.995 else f"{rate:.2f}"


def batches_text(states: Mapping[str, int]) -> str:
    """How many batches are in which state, in words; a state is the endpoint's word."""
    return ", ".join(f"{n:,} {shown_line(state.replace('_', ' '))}" for state, n in sorted(states.items()))


def _reasons(by_reason: Mapping[str, int]) -> str:
    ranked = sorted(by_reason.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{reason} {n:,}" for reason, n in ranked[:_REASONS_SHOWN]]
    if len(ranked) > _REASONS_SHOWN:
        parts.append("...")
    return f" ({', '.join(parts)})" if parts else ""


def money(usd: float) -> str:
    """An amount of US dollars, to the cent, or to two figures when it is less than ten cents."""
    if usd == 0.0:
        return "$0"
    return f"${usd:,.2f}" if usd >= 0.095 else f"${usd:.2g}" if usd >= 0.0001 else "less than $0.0001"
