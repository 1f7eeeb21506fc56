"""What a person sees of an experiment while it goes on: a bar on a terminal, else a line of JSON a run. Shell."""

from __future__ import annotations

import os
import time
from typing import Any, Final, TextIO

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from populace.core.text import shown_json, shown_line, shown_text
from populace.experiments.design import Task
from populace.experiments.schedule import Ended, Schedule
from populace.monitoring.live import AtFoot
from populace.monitoring.pace import duration_text
from populace.monitoring.progress import money

_REDRAW_S: Final = 0.2


class Silent:
    """Shows nothing; what shows something says so. See `conducting.Watcher`."""

    def begun(self, schedule: Schedule, jobs: int) -> None:
        """The experiment begins, or goes on."""

    def started(self, task: Task) -> None:
        """A run begins."""

    def ticked(self, task: Task, tick: int, ticks: int) -> None:
        """A run has come so far."""

    def ended(self, one: Ended) -> None:
        """A run has ended."""

    def note(self, text: str) -> None:
        """Something to know."""

    def close(self) -> None:
        """Give the terminal back."""


def choose_display(stream: TextIO, *, quiet: bool = False) -> Silent:
    """A bar where `stream` is a terminal that can move its cursor, JSON lines otherwise; nothing where `quiet`."""
    if quiet:
        return Silent()
    if stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown"):
        return Bar(Console(file=stream))
    return Lines(stream)


class _Standing(Silent):
    """How far an experiment is, and what is to come."""

    def __init__(self) -> None:
        self.schedule: Schedule | None = None
        self.jobs = 1
        self.shares: dict[str, float] = {}
        self._began_s = time.monotonic()

    def begun(self, schedule: Schedule, jobs: int) -> None:
        """Take what is to be shown."""
        if self.schedule is None:
            self._began_s = time.monotonic()
        self.schedule, self.jobs = schedule, jobs

    @property
    def wall_s(self) -> float:
        """Seconds since it began or was gone on with."""
        return time.monotonic() - self._began_s

    def told(self) -> dict[str, Any]:
        """Runs done and in all, what they cost, what is to come of money and time."""
        if self.schedule is None:
            return {}
        to_come = self.schedule.to_come()
        return {
            "done": len(self.schedule.done),
            "failed": len(self.schedule.failed),
            "runs": len(self.schedule.tasks),
            "cost_usd": round(self.schedule.cost_usd, 6),
            "cost_to_come_usd": None if to_come is None else round(to_come[0], 6),
            "left_s": None if to_come is None else round(to_come[1] / self.jobs, 1),
        }


class Lines(_Standing):
    """One JSON object a line and event: begin, run (one has ended), note. A reader that goes away ends nothing."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def begun(self, schedule: Schedule, jobs: int) -> None:
        """Say what begins."""
        super().begun(schedule, jobs)
        design = schedule.design
        self._say("begin", experiment=design.name, arms=[arm.name for arm in design.arms], jobs=jobs,
                  replicates=design.replicates, model=design.read_settings().model.label, **self.told())  # fmt: skip

    def ended(self, one: Ended) -> None:
        """Say what a run came to."""
        self._say("run", run=one.task.run, status=one.status, calls=one.calls, replayed=one.replayed, **self.told())

    def note(self, text: str) -> None:
        """Say it."""
        self._say("note", text=text)

    def _say(self, event: str, **values: Any) -> None:
        try:
            self._stream.write(shown_json(msgspec.json.encode({"event": event, **values}).decode()) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            return


class Bar(AtFoot, _Standing):
    """A bar over all runs, with what they cost and will cost below it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._live: Live | None = None
        self._drawn_s = 0.0
        self._now = ""

    def begun(self, schedule: Schedule, jobs: int) -> None:
        """Draw the bar."""
        super().begun(schedule, jobs)
        if self._live is not None:
            self._redraw()
            return
        design = schedule.design
        title = f"{design.name}: {schedule.what}, model {design.read_settings().model.label}, {jobs} at once"
        self._console.print(Text(shown_line(title), style="bold"))
        self._live = Live(self._draw(), console=self._console, auto_refresh=False)
        self._live.start(refresh=True)

    def started(self, task: Task) -> None:
        """A run begins."""
        self.shares[task.run] = 0.0
        self._now = task.run
        self._redraw()

    def ticked(self, task: Task, tick: int, ticks: int) -> None:
        """A run has come so far."""
        self.shares[task.run] = tick / ticks if ticks else 0.0
        self._now = f"{task.run}: tick {tick:,} of {ticks:,}"
        self._redraw()

    def ended(self, one: Ended) -> None:
        """A run has ended."""
        self.shares.pop(one.task.run, None)
        self._redraw()

    def note(self, text: str) -> None:
        """Show a line above the bar."""
        self._console.print(Text(shown_text(text), style="yellow"))

    def _redraw(self) -> None:
        if self._live is not None and self.wall_s - self._drawn_s >= _REDRAW_S:
            self._drawn_s = self.wall_s
            self._live.update(self._draw(), refresh=True)

    def _draw(self) -> Group:
        told = self.told()
        done, runs = told["done"], told["runs"]
        share = min(1.0, (done + sum(self.shares.values())) / runs) if runs else 1.0
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(no_wrap=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True, justify="right")
        left = "" if told["left_s"] is None or share >= 1.0 else f", about {duration_text(told['left_s'])} left"
        bar.add_row(
            Text(f"run {done:,}/{runs:,}"), ProgressBar(total=1.0, completed=share),
            Text(f"{int(100 * share)}% {duration_text(self.wall_s)}{left}"),
        )  # fmt: skip
        to_come = "" if told["cost_to_come_usd"] is None else f", about {money(told['cost_to_come_usd'])} to come"
        failed = f" · {told['failed']:,} failed" if told["failed"] else ""
        line = Text(shown_line(f"  {money(told['cost_usd'])} spent{to_come}{failed} · {self._now}"), style="dim")
        return Group(bar, line)
