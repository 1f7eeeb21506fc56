"""What a person sees of a run: the bar on a terminal, JSON lines elsewhere, and how honest the estimate is."""

from __future__ import annotations

import io
import json
import os
import pty
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.monitoring_support import AGENTS, reports, tell, whole_manifest

from populace.core.records import Counts
from populace.monitoring.pace import Left, Pace, duration_text, left_text
from populace.monitoring.progress import NOTES_SHOWN, Bar, JsonLines, batches_text, choose_progress, money
from populace.monitoring.report import Pulse, TickReport


def _bar(width: int = 100) -> tuple[Bar, Console]:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=20, color_system=None, record=True)
    return Bar(console), console


def _screen(bar: Bar, width: int = 100) -> list[str]:
    """The lines of the bar as it stands."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(bar._draw())
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_bar_says_where_the_run_is() -> None:
    bar, console = _bar()
    bar.begin("polarization", AGENTS, 4, 2, "SmolLM2-135M-Instruct")
    assert console.export_text().startswith("polarization: 20 agents, 4 ticks, 2 shards, model SmolLM2-135M-Instruct\n")
    assert _screen(bar)[0].endswith("0% 0 s, no estimate yet")
    one, plain = _bar()
    one.begin("polarization", 1, 1, 1, "echo")
    assert plain.export_text().startswith("polarization: 1 agent, 1 tick, 1 shard, model echo\n")
    events = list(reports(4))
    tell(bar, events[: 2 * 5 + 3])
    first, now, total = _screen(bar)
    assert first.startswith("tick 2/4 ━")
    assert first.endswith("62% 5 s, about 3 s left")
    assert now == "  10.0 turns/s · turns 10/20 · asks in flight 1 · waiting 3"
    assert total == "  40 turns, 1 failed · $0.002 · 8 asks, 2 abstained (deadline 1, schema 1)"
    tell(bar, events[2 * 5 + 3 :])
    bar.end("completed", whole_manifest())
    first, now, total = _screen(bar)
    assert first.endswith("100% 8 s, completed")
    assert total.startswith("  80 turns, 2 failed · $0.004 · 16 asks, 4 abstained")


def test_the_bar_says_which_batches_are_out() -> None:
    states = {"in_progress": 2, "sending": 1}
    assert batches_text(states) == "2 in progress, 1 sending"
    for batches, ends in ((states, "waiting 0 · batches out: 2 in progress, 1 sending"), ({}, "waiting 0")):
        bar, _ = _bar()
        bar.begin("s", 4, 2, 1, "m")
        bar.pulse(Pulse(0, 4, 0, 0, 4, 1.0, batches=batches))
        assert _screen(bar)[1].endswith(ends)
        bar.close()


def test_turns_within_a_tick_move_the_bar() -> None:
    bar, _ = _bar()
    bar.begin("polarization", AGENTS, 2, 1, "embedded")
    shares = []
    for event in reports(2):
        tell(bar, [event])
        shares.append(_screen(bar)[0].split("━")[-1].split("%")[0].split()[-1])
    assert shares == ["0", "12", "25", "37", "50", "50", "62", "75", "87", "100"]
    bar.close()


def test_the_bar_fits_a_narrow_terminal() -> None:
    bar, _ = _bar(50)
    bar.begin("polarization", AGENTS, 4, 2, "embedded")
    tell(bar, list(reports(4))[:8])
    lines = _screen(bar, 50)
    assert len(lines) == 3
    assert max(map(len, lines)) <= 50
    bar.close()


def test_a_fast_run_is_not_slowed_by_drawing() -> None:
    bar, _ = _bar()
    bar.begin("rules", 10, 1000, 1, "scripted")
    drawn = 0
    refresh = bar._live.update

    def count(*args: object, **options: object) -> None:
        nonlocal drawn
        drawn += 1
        refresh(*args, **options)

    bar._live.update = count
    tell(bar, reports(1000, tick_s=0.001))
    assert 5 <= drawn <= 15, "a tenth of a second of a run of a second is ten drawings"
    bar.close()


def test_notes_stand_above_the_bar_and_are_not_taken_for_markup() -> None:
    bar, console = _bar()
    bar.begin("polarization", AGENTS, 4, 2, "scripted")
    bar.note("tick 1, agent 7: KeyError: [red]x[/red]")
    assert "tick 1, agent 7: KeyError: [red]x[/red]" in console.export_text()
    bar.close()


@pytest.mark.parametrize("kind", ["bar", "lines"])
def test_too_many_notes_are_counted_not_shown(kind: str) -> None:
    bar, console = _bar()
    stream = io.StringIO()
    progress = bar if kind == "bar" else JsonLines(stream)
    progress.begin("polarization", AGENTS, 4, 2, "scripted")
    for n in range(NOTES_SHOWN + 7):
        progress.note(f"note number {n}.")
    progress.end("completed", {})
    shown = console.export_text() if kind == "bar" else stream.getvalue()
    assert f"note number {NOTES_SHOWN - 1}." in shown
    assert f"note number {NOTES_SHOWN}." not in shown
    assert ("7 further lines were not shown" if kind == "bar" else '"notes_not_shown":7') in shown


def test_the_bar_starts_no_thread_and_gives_the_terminal_back() -> None:
    before = threading.enumerate()
    bar, console = _bar()
    was = sys.stdout, sys.stderr
    bar.begin("polarization", AGENTS, 4, 2, "scripted")
    tell(bar, reports(1))
    assert threading.enumerate() == before
    bar.close()
    bar.close()
    assert (sys.stdout, sys.stderr) == was
    written = console.file.getvalue()
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l"), "the cursor is shown again"


def test_json_lines_are_one_object_an_event() -> None:
    stream = io.StringIO()
    lines = JsonLines(stream, every_s=0.0)
    lines.begin("polarization", AGENTS, 4, 2, "scripted")
    lines.note("a failed turn\nin two lines")
    tell(lines, reports(4))
    lines.end("completed", whole_manifest(where=Path("runs/a")))
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in said] == ["begin", "note", "tick", "tick", "tick", "tick", "end"]
    assert said[0] == {
        "event": "begin",
        "scenario": "polarization",
        "agents": 20,
        "ticks": 4,
        "shards": 2,
        "model": "scripted",
    }
    assert said[1]["text"] == "a failed turn\nin two lines"
    assert said[3]["tick"] == 2
    assert said[3]["turns_per_s"] == 10.0
    assert said[3]["left_s"] == [4.0, 4.0]
    assert said[3]["tick_counts"]["turns"] == 20
    assert said[3]["total"]["turns"] == 40
    assert said[3]["total"]["abstained"] == {"schema": 1, "deadline": 1}
    assert said[3]["outcomes"] == {"variance": 1.0}
    assert said[-1]["manifest"]["trace_hash"] == whole_manifest()["trace_hash"]


def test_pulses_are_said_when_nothing_else_was_for_ten_seconds() -> None:
    stream = io.StringIO()
    lines = JsonLines(stream)
    lines.begin("polarization", AGENTS, 1, 2, "embedded")
    tell(lines, (Pulse(0, 20, n // 3, 2, 1, n / 2) for n in range(61)))
    said = [json.loads(line) for line in stream.getvalue().splitlines()][1:]
    assert [(event["event"], event["wall_s"], event["turns_done"]) for event in said] == [
        ("pulse", 10.0, 6),
        ("pulse", 20.0, 13),
        ("pulse", 30.0, 20),
    ]


def test_ticks_are_said_every_few_seconds_and_always_the_first_and_the_last() -> None:
    stream = io.StringIO()
    lines = JsonLines(stream)
    lines.begin("polarization", AGENTS, 100, 2, "scripted")
    told = list(reports(100, tick_s=0.3))
    tell(lines, [*told, told[-1]])
    said = [json.loads(line) for line in stream.getvalue().splitlines()][1:]
    ticks = [event["tick"] for event in said if event["event"] == "tick"]
    assert (ticks[0], ticks[-1]) == (1, 100)
    assert said[-1]["event"] == "closing", "what the end adds is said too"
    waits = [(later - before) * 0.3 for before, later in pairwise(ticks[:-1])]
    assert all(4.99 <= wait < 5.4 for wait in waits)
    assert len(waits) == 5


def test_a_variable_says_how_often(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setenv("POPULACE_PROGRESS_S", "0.8")
    lines = choose_progress(stream)
    tell(lines, reports(10, tick_s=0.3))
    assert [json.loads(line)["tick"] for line in stream.getvalue().splitlines()] == [1, 4, 7, 10]


def test_values_that_json_lacks_are_null() -> None:
    stream = io.StringIO()
    lines = JsonLines(stream)
    lines.tick(TickReport(1, 2, 3, Counts(), Counts(), {}, {"r": float("nan")}, 1.0))
    assert json.loads(stream.getvalue())["outcomes"] == {"r": None}


def test_a_reader_that_goes_away_does_not_end_the_run() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        lines = JsonLines(stream)
        lines.begin("polarization", AGENTS, 4, 2, "scripted")
        os.close(reader)
        tell(lines, reports(4))
        lines.end("completed", {})
        assert lines._gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)  # what the stream still buffers needs somewhere to go


def test_a_terminal_gets_a_bar_and_anything_else_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(choose_progress(io.StringIO()), JsonLines)
    theirs, ours = pty.openpty()
    with os.fdopen(ours, "w") as terminal, os.fdopen(theirs, "rb"):
        assert isinstance(choose_progress(terminal), Bar)
        monkeypatch.setenv("TERM", "dumb")
        assert isinstance(choose_progress(terminal), JsonLines)


def test_there_is_no_estimate_without_evidence() -> None:
    pace = Pace()
    assert pace.left() is None
    pace.see(0.5, 0.2, 10)
    assert pace.left() is None, "half a second is too little to go by"
    pace.see(30.0, 0.0, 0)
    assert Pace().turns_per_s == 0.0
    silent = Pace()
    silent.see(30.0, 0.0, 0)
    assert silent.left() is None, "nothing is done yet"
    assert left_text(silent.left()) == "no estimate yet"


def test_an_even_run_is_estimated_exactly() -> None:
    pace = Pace()
    for second in range(1, 41):
        pace.see(second, second / 100, 5 * second)
        if second > 1:
            assert pace.left() == pytest.approx(Left(100 - second, 100 - second))
            assert pace.turns_per_s == pytest.approx(5)


def test_a_slow_start_shows_as_a_range_and_is_forgotten_in_time() -> None:
    pace = Pace()
    for second in range(1, 61):
        pace.see(second, 0.0, 0)  # a minute of loading
    for second in range(1, 101):
        pace.see(60.0 + second, second / 200, second)
        if second == 20:
            left = pace.left()
            assert left is not None
            assert left.high_s == pytest.approx(720, rel=0.01)
            assert left.low_s == pytest.approx(360, rel=0.01)
    left = pace.left()
    assert left is not None
    assert left.low_s == pytest.approx(100, rel=0.01), "the later half tells the truth"
    assert left.high_s == pytest.approx(160, rel=0.01)
    assert left_text(left) == "1 min 40 s to 2 min 40 s left"


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(0.0, 0.01)), min_size=1, max_size=300))
def test_an_estimate_is_a_range_of_times_to_come(steps: list[tuple[float, float]]) -> None:
    pace, wall, share = Pace(), 0.0, 0.0
    for seconds, done in steps:
        wall, share = wall + seconds, min(1.0, share + done)
        pace.see(wall, share, 100 * share)
        left = pace.left()
        assert left is None or 0.0 <= left.low_s <= left.high_s
        assert pace.turns_per_s >= 0.0


def test_a_long_run_does_not_fill_the_memory() -> None:
    pace = Pace()
    for n in range(100_000):
        pace.see(n / 2, n / 100_000, n)
    assert len(pace._points) < 100


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (599.7, "10 min"), (2820, "47 min"),
        (3599, "1 h 00 min"), (12_000, "3 h 20 min"), (200_000, "2 d 07 h"),
    ],
)  # fmt: skip
def test_durations_read_as_a_person_says_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_estimates_read_as_a_person_says_them() -> None:
    assert left_text(Left(0.1, 0.3)) == "about 1 s left"
    assert left_text(Left(300, 320)) == "about 5 min 10 s left"
    assert left_text(Left(240, 700)) == "4 min 00 s to 12 min left"
    assert [money(usd) for usd in (0, 0.00001, 0.00168, 0.5, 1234.5)] == [
        "$0",
        "less than $0.0001",
        "$0.0017",
        "$0.50",
        "$1,234.50",
    ]
