"""`progress.jsonl`: what a run tells of itself while it lasts, in lines, and how they are read as they grow."""

from __future__ import annotations

import msgspec
import pytest
from support.monitoring_support import reports

import populace
from populace.monitoring import progress_file
from populace.monitoring.progress_file import PROGRESS, ProgressFile, ProgressReader, Told
from populace.monitoring.report import Pulse


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock of the file, which stands until it is set."""

    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

        def time(self) -> float:
            return 1e9 + self.now

    clock = Clock()
    monkeypatch.setattr(progress_file, "time", clock)
    return clock


def ticks_of(told: list[Told]) -> list[int]:
    return [one.tick for one in told if one.event == "tick"]


def play(file: ProgressFile, clock, step_s: float, ticks: int = 10) -> None:
    file.begin("small", 20, ticks, 1, "scripted")
    for one in reports(ticks, step_s):
        if isinstance(one, Pulse):
            continue
        clock.now += step_s
        file.tick(one)
    file.end("complete", {})


def test_slow_ticks_are_told_each_with_counts_so_far(tmp_path, clock):
    play(ProgressFile(tmp_path), clock, 1.0)
    told = ProgressReader(tmp_path).more()
    assert [one.event for one in told] == ["begin", *["tick"] * 10, "end"]
    assert ticks_of(told) == list(range(1, 11))
    third = told[3]
    assert (third.turns, third.turns_failed, third.asks, third.messages) == (60, 1, 12, 30)
    assert third.abstained == {"schema": 2, "deadline": 1}
    assert third.at_s == 1e9 + 103.0
    assert third.outcomes
    assert (told[-1].text, told[-1].tick) == ("complete", 10)


def test_of_fast_ticks_few_are_told_and_the_last_always(tmp_path, clock):
    play(ProgressFile(tmp_path), clock, 0.0625)
    assert ticks_of(ProgressReader(tmp_path).more()) == [1, 5, 9, 10]


def test_what_was_held_back_is_told_at_the_next_sign_of_life_as_it_was_then(tmp_path, clock):
    file = ProgressFile(tmp_path)
    file.begin("small", 20, 10, 1, "scripted")
    all_of = list(reports(3))
    one, two = (report for report in all_of if not isinstance(report, Pulse) and report.tick < 3)
    clock.now += 1.0
    file.tick(one)
    file.tick(two)
    assert ticks_of(ProgressReader(tmp_path).more()) == [1]
    two.total.turns = 10**6  # the run goes on counting in what it gave
    file.pulse(all_of[0])
    told = ProgressReader(tmp_path).more()
    assert ticks_of(told) == [1, 2]
    assert told[2].turns == 40
    file.close()


def test_a_reader_takes_what_is_new_and_whole_and_leaves_out_what_is_foreign(tmp_path):
    path = tmp_path / PROGRESS
    reader = ProgressReader(tmp_path)
    assert reader.more() == []
    line = msgspec.json.encode(Told("tick", 1.0, 1))
    path.write_bytes(line + b"\n" + line[:10])
    assert ticks_of(reader.more()) == [1]
    with path.open("ab") as file:
        file.write(line[10:] + b"\nnot JSON\n" + msgspec.json.encode(Told("tick", 2.0, 2)) + b"\n")
    assert ticks_of(reader.more()) == [1, 2]
    assert reader.more() == []
    path.write_bytes(line + b"\n")
    assert ticks_of(reader.more()) == [1], "a file that became shorter is read again"


def test_what_cannot_be_written_ends_no_run(tmp_path):
    file = ProgressFile(tmp_path / "nowhere")
    file.begin("small", 20, 10, 1, "scripted")
    file.note("a note")
    file.end("complete", {})
    assert not (tmp_path / "nowhere").exists()


def test_a_run_tells_each_life_of_itself_and_its_trace_is_the_same(tmp_path, monkeypatch):
    run = populace.run("polarization", model="scripted", agents=6, ticks=2, out=tmp_path / "run", quiet=True)
    told = ProgressReader(run.folder).more()
    assert (told[0].event, told[0].scenario, told[0].ticks) == ("begin", "polarization", 2)
    assert (told[-1].event, told[-1].text, told[-1].tick) == ("end", "complete", 2)
    assert set(told[-2].outcomes) == set(run.outcomes)
    assert told[-1].turns == run.manifest["turns"]
    monkeypatch.setattr(ProgressFile, "begin", lambda *_: None)  # then it writes nothing
    silent = populace.run("polarization", model="scripted", agents=6, ticks=2, out=tmp_path / "silent", quiet=True)
    assert not (silent.folder / PROGRESS).exists()
    assert silent.manifest["trace_hash"] == run.manifest["trace_hash"]
