"""A shard that outlives the driver it worked for: who goes on with the run reads what it still put on record."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.attempts import go, same_tables
from support.chaos import TICKS, Provider, options_of, resume_here, run_here
from support.running import run_local

from populace.core.errors import ModelError
from populace.core.records import Answer
from populace.models.scripted.gateway import Scripted
from populace.runs import courses
from populace.runs.courses import resume_course
from populace.runs.resume import resume_with_new_code
from populace.store.folder import JOURNAL, read_run_file
from populace.store.journal import writers
from populace.store.journal.read import read_journal
from populace.store.journal.write import Journal, next_attempt, segment_name
from populace.store.journal.writers import outlast_writers
from populace.store.lock import is_locked
from populace.store.manifest import read_manifest

LATE = 2
"""The tick before which the driver ended, and of which a shard that lives on has all answers."""


def outlives(folder: Path, answered_in: Path, run: str, ready, told) -> None:
    """Another process: it holds a journal of the run and, once it is told to, puts a tick's answers there, and dies."""
    was = read_run_file(answered_in).run
    answers = [one for one in read_journal(answered_in / JOURNAL, run=was) if one.answer.tick == LATE]
    journal = Journal(folder / JOURNAL, run=run, shard=0, attempt=next_attempt(folder / JOURNAL))
    ready.set()
    told.wait()
    journal.append([(one.key, one.answer) for one in answers])
    journal.commit()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A whole run, its manifest, and one that was interrupted in a tick."""
    place = tmp_path_factory.mktemp("runs")
    with Provider() as provider:
        whole = run_here(place / "whole", **options_of(provider))
        assert go(place / "ended", stop_at=LATE, **options_of(provider)) is None
    return place, whole


@pytest.fixture
def outlived(runs, tmp_path):
    """The folder of the interrupted run, in which a process writes, and what has that process end."""
    place, _ = runs
    out = tmp_path / "run"
    shutil.copytree(place / "ended", out)
    context = multiprocessing.get_context("forkserver")
    ready, told = context.Event(), context.Event()
    process = context.Process(target=outlives, args=(out, place / "whole", read_run_file(out).run, ready, told))
    process.start()
    try:
        assert ready.wait(120)
        yield out, told.set
    finally:
        told.set()
        process.join(120)
        process.kill()


@pytest.fixture
def looked(monkeypatch) -> threading.Event:
    """Set once it was found that somebody writes to a journal."""
    found = threading.Event()

    def looking(path: Path) -> bool:
        locked = is_locked(path)
        if locked:
            found.set()
        return locked

    monkeypatch.setattr(writers, "is_locked", looking)
    return found


def test_a_run_goes_on_once_nobody_writes_to_its_journals_any_more(runs, outlived, looked, asked):
    place, whole = runs
    out, have_it_end = outlived
    ended: list[dict[str, Any]] = []
    with Provider() as provider:
        options = {"endpoint__base_url": provider.base_url}
        going = threading.Thread(target=lambda: ended.append(resume_here(out, **options)))
        going.start()
        assert looked.wait(120)
        assert provider.calls == 0
        have_it_end()
        going.join(240)
    assert ended[0]["trace_hashes"] == whole["trace_hashes"]
    assert {tick for _, tick, _ in asked} == set(range(LATE + 1, TICKS)), "what it was answered last is not asked again"
    same_tables(out, place / "whole")


def test_a_run_that_goes_on_by_new_code_waits_too(tmp_path, outlived, looked, asked):
    out, have_it_end = outlived
    with Provider() as provider:
        ways: dict[str, Any] = {"trust": True, "endpoint__base_url": provider.base_url}
        going = threading.Thread(target=lambda: resume_with_new_code(out, out=tmp_path / "new", **ways))
        going.start()
        assert looked.wait(120)
        have_it_end()
        going.join(240)
    assert read_manifest(tmp_path / "new")["status"] == "complete"
    assert {tick for _, tick, _ in asked} == set(range(LATE + 1, TICKS))


def test_who_did_not_wait_would_pay_twice(runs, outlived, asked, monkeypatch):
    """The control."""
    _, whole = runs
    out, _ = outlived
    monkeypatch.setattr(courses, "outlast_writers", lambda *_, **__: [])
    with Provider() as provider:
        manifest = resume_here(out, endpoint__base_url=provider.base_url)
    assert {tick for _, tick, _ in asked} == set(range(LATE, TICKS))
    assert manifest["trace_hashes"] == whole["trace_hashes"]


def test_of_one_that_does_not_end_it_is_told(outlived, monkeypatch):
    monkeypatch.setattr(courses, "outlast_writers", partial(outlast_writers, patience_s=0.1))
    said: list[str] = []
    (note,) = resume_course(outlived[0], say=said.append).notes
    assert [one for one in said if "waiting up to 30 s" in one] == said != []
    assert "s0000-a0001-000000.journal" in note
    assert "paid for twice" in note


def test_journals_are_written_to_from_their_first_segment_until_they_are_closed(tmp_path):
    asks = [(bytes([nth]) * 16, Answer(0, 0, nth, "ok", text="yes" * 40)) for nth in range(3)]
    assert outlast_writers(tmp_path / "none", 0.0) == []
    with Journal(tmp_path, run="r", shard=1, attempt=0, segment_bytes=200) as journal:
        for one in asks:
            journal.append([one])
        assert journal.position.segment > 0
        assert outlast_writers(tmp_path, 0.0) == [segment_name(1, 0, journal.position.segment)]
        other = Journal(tmp_path, run="r", shard=0, attempt=1)
        assert len(outlast_writers(tmp_path, 0.0)) == 2
        other.close()
    assert outlast_writers(tmp_path, 0.0) == []


def test_a_writer_that_begins_its_next_segment_as_it_is_looked_at_is_found(tmp_path, monkeypatch):
    answer = Answer(0, 0, 0, "ok", text="yes" * 40)
    with Journal(tmp_path, run="r", shard=1, attempt=0, segment_bytes=200) as journal:

        def rotated_before(path: Path) -> bool:
            if journal.position.segment == 0:
                for nth in range(2):
                    journal.append([(bytes([nth]) * 16, answer)])
            return is_locked(path)

        monkeypatch.setattr(writers, "is_locked", rotated_before)
        assert outlast_writers(tmp_path, 0.0) == [segment_name(1, 0, 1)]


def test_a_run_whose_model_cannot_be_opened_leaves_no_journal_open(tmp_path, monkeypatch):
    """Who mends that and resumes it in the same process, in a notebook, would wait for itself."""

    async def unable(_: object) -> None:
        raise ModelError("no way there")

    monkeypatch.setattr(Scripted, "open", unable)
    with pytest.raises(ModelError, match="no way there"):
        run_local(tmp_path, agents=8, shards=2)
    assert list((tmp_path / JOURNAL).iterdir())
    assert outlast_writers(tmp_path / JOURNAL, 0.0) == []
