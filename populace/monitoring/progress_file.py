"""What a run has told of itself so far, in lines of JSON in its folder: `progress.jsonl`. Shell: a clock, files.

Tables reach the disk when a checkpoint is saved. Whoever watches wants to know of a tick within a second or two, so a
run appends a line when a tick has ended: at most five a second, and of what is left out the last one stays until the
next sign of life. A run that goes back to a checkpoint tells its ticks again; then the later line holds. Nothing here
stands in a hash, and nothing is synced: a lost machine may lose the last lines.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import msgspec

from populace.core.records import Counts
from populace.monitoring.report import Pulse, TickReport

PROGRESS: Final = "progress.jsonl"
TICK_EVERY_S: Final = 0.2
PULSE_EVERY_S: Final = 1.0
SLOWEST_S: Final = 1.0
_GROWTH: Final = 1e-4
"""Lines become rarer as a run lasts, down to one in `SLOWEST_S` seconds: a day is some tens of megabytes at most."""
_NOTES: Final = 200
_NOTE_LETTERS: Final = 2000


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line. `event` is begin, tick, pulse, note or end; `at_s` is seconds of Unix time.

    `tick` counts the ticks completed, of `ticks` planned. All counts are the run's so far: turns, failed turns,
    messages sent, asks, those that abstained by reason, tokens, US dollars. A pulse tells of the tick under way: turns
    due and done, asks waiting and in flight. `wall_s` is wall seconds since the run began, attempts before included.
    """

    event: Literal["begin", "tick", "pulse", "note", "end"]
    at_s: float
    tick: int = 0
    ticks: int = 0
    agents: int = 0
    wall_s: float = 0.0
    outcomes: dict[str, float | None] = {}
    turns: int = 0
    turns_failed: int = 0
    messages: int = 0
    asks: int = 0
    abstained: dict[str, int] = {}
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    turns_due: int = 0
    turns_done: int = 0
    waiting: int = 0
    in_flight: int = 0
    batches: dict[str, int] = {}
    scenario: str = ""
    model: str = ""
    shards: int = 0
    text: str = ""


class ProgressFile:
    """The observer that writes `progress.jsonl` into a run's folder. It never ends a run: what fails is left out."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS
        self._file: BinaryIO | None = None
        self._encode = msgspec.json.Encoder().encode
        self._last = Told("begin", 0.0)
        self._held: Told | None = None
        self._told_s = self._pulsed_s = 0.0
        self._notes = 0

    def begin(self, scenario: str, agents: int, ticks: int, shards: int, model: str) -> None:
        """Open the file and say what begins."""
        try:
            self._file = self._path.open("ab", buffering=0)
        except OSError:
            return
        line = Told("begin", time.time(), ticks=ticks, agents=agents, scenario=scenario, model=model, shards=shards)
        self._say(line)

    def pulse(self, pulse: Pulse) -> None:
        """Say what was held back, and how far the tick has come."""
        self._flush()
        now = time.monotonic()
        if now - self._pulsed_s >= max(PULSE_EVERY_S, _GROWTH * pulse.wall_s):
            self._pulsed_s = now
            self._say(
                Told(
                    "pulse", time.time(), pulse.tick, self._last.ticks, self._last.agents, pulse.wall_s,
                    turns_due=pulse.turns_due, turns_done=pulse.turns_done, waiting=pulse.asks_waiting,
                    in_flight=pulse.asks_in_flight, batches=pulse.batches,
                )
            )  # fmt: skip

    def tick(self, report: TickReport) -> None:
        """Say what the tick came to, or hold it back where one was told a moment ago."""
        self._held = _told(report)  # now: the run goes on counting in what it gave
        every_s = min(SLOWEST_S, max(TICK_EVERY_S, _GROWTH * report.wall_s))
        if time.monotonic() - self._told_s >= every_s or report.tick >= report.ticks:
            self._flush()

    def note(self, text: str) -> None:
        """Say a note; of very many the first ones."""
        self._notes += 1
        if self._notes <= _NOTES:
            self._say(Told("note", time.time(), text=text[:_NOTE_LETTERS]))

    def end(self, status: str, manifest: Mapping[str, Any]) -> None:
        """Say how it ended, and let go of the file."""
        self._flush()
        last = self._last
        self._say(msgspec.structs.replace(last, event="end", at_s=time.time(), text=status))
        self.close()

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _flush(self) -> None:
        line, self._held = self._held, None
        if line is not None:
            self._told_s = time.monotonic()
            self._last = line
            self._say(line)

    def _say(self, line: Told) -> None:
        if self._file is None:
            return
        try:
            self._file.write(self._encode(line) + b"\n")
        except OSError:
            self.close()  # the disk is full, or the folder gone: the run tells where that matters


def _told(report: TickReport) -> Told:
    total: Counts = report.total
    return Told(
        "tick", time.time(), report.tick, report.ticks, report.agents, report.wall_s, dict(report.outcomes),
        total.turns, total.turns_failed, total.sent, total.asked, dict(total.abstained), total.tokens_in,
        total.tokens_out, total.cost_usd,
    )  # fmt: skip


def first_and_last(folder: Path, tail_bytes: int = 65_536) -> tuple[Told | None, Told | None]:
    """The first line of a run's `progress.jsonl`, and the last that tells counts; None for what is not there.

    Of a long file only its beginning and its end are read.
    """
    decode = msgspec.json.Decoder(Told).decode
    try:
        with (folder / PROGRESS).open("rb") as file:
            first = file.readline(tail_bytes)
            file.seek(0, 2)
            file.seek(max(0, file.tell() - tail_bytes))
            lines = file.read().split(b"\n")
    except OSError:
        return None, None
    found: list[Told | None] = []
    for several in ([first], reversed(lines)):
        one = None
        for line in several:
            try:
                told = decode(line)
            except msgspec.MsgspecError:
                continue
            if told.event in ("begin", "tick", "end"):
                one = told
                break
        found.append(one)
    return found[0], found[1]


def goes_on(folder: Path) -> bool:
    """Whether a run has told nothing of an end since it began, or went on, the last time."""
    last = first_and_last(folder)[1]
    return last is not None and last.event != "end"


class ProgressReader:
    """Reads `progress.jsonl` as it grows: `more` gives the lines since the last call, whole ones only.

    A line that is none of populace's is left out. Where the file has become shorter, or is another, it is read again.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS
        self._decode = msgspec.json.Decoder(Told).decode
        self._at = 0
        self._inode = 0

    def more(self, most_bytes: int = 8 * 2**20) -> list[Told]:
        """The lines since the last call, at most so many bytes of them."""
        try:
            with self._path.open("rb") as file:
                found = self._path.stat()
                if found.st_ino != self._inode or found.st_size < self._at:
                    self._at, self._inode = 0, found.st_ino
                file.seek(self._at)
                data = file.read(most_bytes)
        except OSError:
            return []
        end = data.rfind(b"\n") + 1
        self._at += end
        lines = []
        for line in data[:end].splitlines():
            try:
                lines.append(self._decode(line))
            except msgspec.MsgspecError:
                continue
        return lines
