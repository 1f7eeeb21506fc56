"""One of the processes that play an experiment's runs: `python -m populace.experiments.worker FOLDER`. Shell.

It reads which run to play from its input, a line of JSON each, and writes what becomes of it to its output, a line of
JSON each. Where its input ends, so does it: a run that is under way is saved, and can be gone on with.
"""

from __future__ import annotations

import queue
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

import msgspec

from populace.core.errors import PopulaceError
from populace.experiments.design import Design, Task, read_design
from populace.experiments.playing import play
from populace.experiments.schedule import ended
from populace.monitoring.report import TickReport
from populace.runs.stop import Stop


class Order(msgspec.Struct, frozen=True):
    """A run to play, with the settings of this attempt; of the `design` that it comes with, or of the one before."""

    task: Task
    bounds: list[tuple[str, Any]]
    design: Design | None = None


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What becomes of a run: `what` is ready, tick, note, ended or failed."""

    what: str
    tick: int = 0
    ticks: int = 0
    text: str = ""
    kind: str = ""
    notes: list[str] = []
    ended: Any = None


class _Telling:
    """Tells of a run's ticks."""

    def __init__(self, tell: Any) -> None:
        self._tell = tell

    def begin(self, *_: Any) -> None: ...
    def pulse(self, *_: Any) -> None: ...
    def end(self, *_: Any) -> None: ...

    def tick(self, report: TickReport) -> None:
        """A tick has ended."""
        self._tell(Told("tick", report.tick, report.ticks))

    def note(self, text: str) -> None:
        """Something to know."""
        self._tell(Told("note", text=text))


def main() -> None:
    """Play runs until the input ends."""
    folder = Path(sys.argv[1])
    out, sys.stdout = sys.stdout, sys.stderr  # what a society prints is nothing that is told
    design, stop = read_design(folder), Stop()
    orders: queue.Queue[Order | None] = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin, orders, stop), daemon=True).start()

    def tell(told: Told) -> None:
        try:
            out.write(msgspec.json.encode(told).decode() + "\n")
            out.flush()
        except BrokenPipeError:
            stop()

    tell(Told("ready"))
    while (order := orders.get()) is not None:
        design = order.design or design
        try:
            manifest = play(folder, design, order.task, order.bounds, observers=[_Telling(tell)], stop=stop)
            tell(Told("ended", ended=msgspec.to_builtins(ended(order.task, manifest))))
        except PopulaceError as error:
            notes = list(getattr(error, "__notes__", ()))
            tell(Told("failed", text=str(error), kind=type(error).__name__, notes=notes))


def _listen(stream: TextIO, orders: queue.Queue[Order | None], stop: Stop) -> None:
    for line in stream:
        orders.put(msgspec.json.decode(line, type=Order))
    orders.put(None)
    stop()


if __name__ == "__main__":
    main()
