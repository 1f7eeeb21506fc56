"""Answers that come together go on record together, before a turn sees them and before another call begins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from support.chaos import Provider, options_of, run_here

from populace.agents.answers import compile_answer
from populace.core.records import Answer, Ask
from populace.models.http import Http
from populace.models.protocol import Deliver, Pressure
from populace.store.journal.read import read_journal
from populace.store.journal.recording import Recording
from populace.store.journal.write import Journal

CONCURRENCY = 8
MANY = 12


class Holding:
    """A gateway that holds asks until it is told to answer."""

    failure = None

    def __init__(self) -> None:
        self.asks: list[Ask] = []

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    def wind_down(self) -> None: ...
    def abort(self) -> None: ...
    def pressure(self) -> Pressure:
        return Pressure()

    def offer(self, asks: Sequence[Ask], deliver: Deliver) -> None:
        self.asks += asks
        self.deliver = deliver

    def answer(self) -> None:
        """Answer all, one by one."""
        for ask in self.asks:
            self.deliver([Answer(ask.agent, ask.tick, ask.nth, "answered", "yes", calls=1)])


def put(agent: int) -> Ask:
    return Ask(agent, 0, 0, "ask", (("user", "?"),), compile_answer(str), 5, 0.0, bytes([agent]) * 16)


def recorded(folder) -> list[int]:
    return [one.answer.agent for one in read_journal(folder, run="r")]


async def answered_together(folder, after: Callable[[Recording], None]) -> tuple[int, list[list[int]]]:
    """How often the journal was written to, and what was on record as each answer was handed on."""
    writes, seen = 0, []

    class Counting(Journal):
        def append(self, batch):
            nonlocal writes
            writes += 1
            super().append(batch)

    inner = Holding()
    recording = Recording(inner, Counting(folder, run="r", shard=0, attempt=0))  # type: ignore[arg-type]
    await recording.open()
    recording.offer([put(agent) for agent in range(MANY)], lambda answers: seen.append(recorded(folder)))
    inner.answer()
    after(recording)
    await asyncio.sleep(0)
    await recording.close()
    return writes, seen


@pytest.mark.parametrize("after", [lambda one: None, lambda one: one.abort()])
def test_what_comes_together_is_written_once_and_handed_on_then(tmp_path, after):
    assert asyncio.run(answered_together(tmp_path, after)) == (1, [list(range(MANY))] * MANY)


def test_what_came_last_is_on_record_once_it_is_closed(tmp_path):
    async def closed_at_once() -> list[int]:
        inner, seen = Holding(), []
        recording = Recording(inner, Journal(tmp_path, run="r", shard=0, attempt=0))  # type: ignore[arg-type]
        await recording.open()
        recording.offer([put(agent) for agent in range(MANY)], seen.extend)
        inner.answer()
        await recording.close()
        return [answer.agent for answer in seen]

    assert asyncio.run(closed_at_once()) == recorded(tmp_path) == list(range(MANY))


def test_control_handed_on_as_they_come_they_are_not_on_record_yet(tmp_path, monkeypatch):
    put_down = Recording._put_down

    def at_once(recording, records, answers, deliver):
        put_down(recording, records, answers, lambda _: None)
        deliver(answers)

    monkeypatch.setattr(Recording, "_put_down", at_once)
    assert asyncio.run(answered_together(tmp_path, lambda one: None))[1] == [[]] * MANY


def most_off_record(folder, monkeypatch) -> int:
    """The most calls of a run that were in flight or answered and not on record, as any of them began."""
    begun = on_record = most = 0
    post, append = Http.post, Journal.append

    def posting(http, path, body):
        nonlocal begun, most
        begun += 1
        most = max(most, begun - on_record)
        return post(http, path, body)

    def appending(journal, batch):
        nonlocal on_record
        batch = list(batch)
        append(journal, batch)
        on_record += len(batch)

    monkeypatch.setattr(Http, "post", posting)
    monkeypatch.setattr(Journal, "append", appending)
    with Provider() as provider:
        run_here(folder, **options_of(provider))
    return most


def test_no_call_begins_in_the_place_of_one_that_is_not_on_record(tmp_path, monkeypatch):
    assert most_off_record(tmp_path / "run", monkeypatch) == CONCURRENCY


def test_control_written_a_little_later_more_calls_than_may_be_open_are_not_on_record(tmp_path, monkeypatch):
    flush = Recording._flush

    def later(recording, rounds=3):
        if rounds and recording._open:
            asyncio.get_running_loop().call_soon(later, recording, rounds - 1)
        else:
            flush(recording)

    monkeypatch.setattr(Recording, "_flush", later)
    assert most_off_record(tmp_path / "run", monkeypatch) > CONCURRENCY
