"""A run's folder with one file damaged: it goes on from what is good, or says what is not; nothing false is read.

The folder is a real one: a run that was stopped, gone on with and stopped again, so that there are answers of two
attempts before and after its checkpoints.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.attempts import TICKS, go
from support.damaging import corrupt
from support.kernel_support import same
from support.long import cases
from support.reading import read_all

from populace.core.errors import CheckpointDamaged, JournalDamaged, StorageError
from populace.kernel.snapshot import RunState, from_blocks
from populace.runs.courses import resume_course
from populace.store.checkpoint import file as checkpoint_file
from populace.store.checkpoint.file import generations
from populace.store.checkpoint.generations import load
from populace.store.folder import CHECKPOINTS, JOURNAL, Store, read_run_file
from populace.store.journal import write as journal
from populace.store.journal.read import Report, read_journal

DAMAGES = cases(1000, 300)
Answers = dict[tuple[int, int, int, int], Any]
"""By attempt, tick, agent and place in the turn."""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("stopped") / "run"
    assert go(out, stop_at=3, checkpoint__every_ticks=2, shards=2) is None
    assert go(out, stop_at=6, going=resume_course(out, shards=3)) is None
    return out


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> list[str]:
    return go(tmp_path_factory.mktemp("whole"))["trace_hashes"]


def store_of(folder: Path) -> Store:
    file = read_run_file(folder)
    return Store(folder, file.run, file.read_settings())


def states_of(folder: Path) -> dict[int, RunState]:
    """The state of each generation, by tick."""
    found = map(load, generations(folder / CHECKPOINTS).values())
    return {one.tick: from_blocks(one.tick, one.blocks) for one in found}


def answers_of(folder: Path, **where: Any) -> Answers:
    return {
        (one.attempt, one.answer.tick, one.answer.agent, one.answer.nth): (one.key, one.answer)
        for one in read_journal(folder / JOURNAL, **where)
    }


def files_of(folder: Path) -> list[Path]:
    return sorted([*(folder / JOURNAL).iterdir(), *(folder / CHECKPOINTS).iterdir()])


@contextmanager
def damaged(file: Path, rng: random.Random) -> Iterator[None]:
    data = file.read_bytes()
    while (changed := corrupt(rng, data)) == data:
        pass
    file.write_bytes(changed)
    try:
        yield
    finally:
        file.write_bytes(data)


def notice(folder: Path, file: Path) -> str:
    """How damage to a file shows when all of it is read; '' where it does not."""
    if file.parent.name == CHECKPOINTS:
        try:
            read_all(file)
        except CheckpointDamaged as error:
            return "a damaged checkpoint" if str(file) in str(error) else ""
        return ""
    report = Report()
    try:
        answers_of(folder, report=report)
    except JournalDamaged as error:
        return "a damaged journal" if str(file) in str(error) else ""
    if report.torn:
        return "a torn journal" if report.torn[0].path == file else ""
    return "a journal without its end" if len(report.closed) < 5 else ""


def take_up(folder: Path, states: dict[int, RunState], answers: Answers) -> str:
    """Read what a run that is gone on with reads: all of it is true, or it is refused by name."""
    store, newest = store_of(folder), max(states)
    state = store.latest()
    if state is None:
        assert store.skipped
        assert states, "a run whose checkpoints are lost begins again"
    else:
        assert same(state, states[state.tick]), "a false state was read as good"
        assert (state.tick == newest) == (not store.skipped)
    past = store.past(state, 2)
    try:
        found = answers_of(folder, run=past.run, since=past.since, before=past.before)
    except StorageError as error:
        return "refused" if str(folder) in str(error) else "refused without a name"
    assert all(answers[identity] == one for identity, one in found.items()), "a false answer was read as good"
    if state is None:
        return "from the journal alone"
    return "as if nothing were" if state.tick == newest else "one generation back"


def test_damages_to_a_runs_folder_are_noticed_and_nothing_false_is_read(stopped: Path) -> None:
    states, answers, files = states_of(stopped), answers_of(stopped), files_of(stopped)
    assert len(states) == 2
    assert {identity[0] for identity in answers} == {0, 1}
    assert notice(stopped, files[-1]) == notice(stopped, files[0]) == ""
    assert take_up(stopped, states, answers) == "as if nothing were"
    rng = random.Random(11)
    noticed: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for _ in range(DAMAGES):
        file = rng.choice(files)
        with damaged(file, rng):
            how = notice(stopped, file)
            noticed[how] += 1
            assert how, f"damage to {file} was not noticed"
            taken[take_up(stopped, states, answers)] += 1
    assert "refused without a name" not in taken
    assert min(noticed["a damaged checkpoint"], noticed["a damaged journal"], noticed["a torn journal"]) > 20, noticed
    assert min(taken["one generation back"], taken["refused"], taken["as if nothing were"]) > 20, taken


def test_both_generations_damaged_leave_the_journal(stopped: Path) -> None:
    states, answers = states_of(stopped), answers_of(stopped)
    rng = random.Random(12)
    one, two = generations(stopped / CHECKPOINTS).values()
    with damaged(one, rng), damaged(two, rng):
        assert take_up(stopped, states, answers) == "from the journal alone"


def test_control_without_checksums_false_things_are_read(tmp_path: Path, monkeypatch) -> None:
    """A run of its own, whose journal is written without checksums; those of its checkpoints fit whatever is read."""

    class Fits(bytes):
        def __ne__(self, other: object) -> bool:
            return False

    monkeypatch.setattr(journal, "checksum", lambda data, chain=0: 0)
    folder = tmp_path / "run"
    assert go(folder, stop_at=5, checkpoint__every_ticks=2, shards=2) is None
    monkeypatch.setattr(checkpoint_file, "digest", lambda part: Fits())
    states, answers, files = states_of(folder), answers_of(folder), files_of(folder)
    rng = random.Random(13)
    false: Counter[str] = Counter()
    for _ in range(cases(150, 60)):
        with damaged(rng.choice(files), rng):
            try:
                take_up(folder, states, answers)
            except Exception as error:  # without checksums anything may come of it
                false[str(error).partition("\n")[0]] += 1
    assert false["a false answer was read as good"], false
    assert false["a false state was read as good"], false


def test_a_run_with_a_damaged_file_goes_on_to_the_same_end_or_says_which_file(
    stopped: Path, whole: list[str], tmp_path: Path
) -> None:
    rng = random.Random(14)
    ended: Counter[str] = Counter()
    for n, file in enumerate(files_of(stopped) * 3):
        folder = tmp_path / str(n)
        shutil.copytree(stopped, folder)
        copy = folder / file.relative_to(stopped)
        data = copy.read_bytes()
        while (changed := corrupt(rng, data)) == data:
            pass
        copy.write_bytes(changed)
        said = ""
        try:
            manifest = go(folder, going=resume_course(folder))
        except StorageError as error:
            said = str(error)
            copy.write_bytes(data)
            manifest = go(folder, going=resume_course(folder))
        assert not said or str(copy) in said
        ended["refused; a good copy mends it" if said else "the same end"] += 1
        assert manifest["trace_hashes"] == whole
        assert len(manifest["trace_hashes"]) == TICKS
    assert min(ended["refused; a good copy mends it"], ended["the same end"]) > 3, ended
