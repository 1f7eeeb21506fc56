"""A damaged journal: a run is not gone on with in silence, the command that is advised works, and says what is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.attempts import asked, go, reference
from support.command import populace

from populace.core.errors import JournalDamaged
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.replay import replay_run
from populace.store.folder import JOURNAL, read_run_file
from populace.store.manifest import read_manifest

__all__ = ["asked", "reference"]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """Stopped in tick 5, with a checkpoint before tick 4."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    assert go(out, stop_at=5, checkpoint__every_ticks=4, shards=2) is None
    return out


@pytest.fixture
def run(stopped, tmp_path) -> Path:
    shutil.copytree(stopped, tmp_path / "run")
    return tmp_path / "run"


def lose_all(journal: Path) -> None:
    shutil.rmtree(journal)


def lose_one(journal: Path) -> None:
    min(journal.iterdir()).unlink()


def cut(journal: Path) -> None:
    file = sorted(journal.iterdir())[1]
    file.write_bytes(file.read_bytes()[:200])


def flip_at_the_end(journal: Path) -> None:
    """After the checkpoint, so that it is found when the journal is read."""
    file = min(journal.iterdir())
    data = bytearray(file.read_bytes())
    data[-60] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("harm", [lose_all, lose_one, cut, flip_at_the_end])
def test_a_damaged_journal_is_refused_and_what_is_advised_works(run, reference, asked, harm):
    harm(run / JOURNAL)
    with pytest.raises(JournalDamaged, match=r"`populace resume .*run --salvage`"):
        go(run, going=resume_course(run))
    assert not asked, "nothing was asked"
    going = resume_course(run, salvage=True)
    assert any("damaged" in note for note in going.notes)
    assert go(run, going=going)["trace_hashes"] == reference[0]["trace_hashes"]
    assert min(tick for _, tick, _ in asked) >= 4, "the checkpoint stands"


def test_a_salvaged_run_knows_its_damage_and_no_other(run, reference):
    flip_at_the_end(run / JOURNAL)
    name = min((run / JOURNAL).iterdir()).name
    going = resume_course(run, salvage=True)
    assert go(run, stop_at=7, going=going) is None
    assert read_run_file(run).salvaged == [name]
    assert go(run, going=resume_course(run))["trace_hashes"] == reference[0]["trace_hashes"], "without --salvage"
    replayed = replay_run(replay_course(run), run, run.parent / "again")
    assert replayed.diverged is None, replayed.text()
    other = next(path for path in sorted((run / JOURNAL).iterdir()) if path.name != name and path.stat().st_size > 500)
    data = bytearray(other.read_bytes())
    data[300] ^= 1
    other.write_bytes(data)
    with pytest.raises(JournalDamaged):
        replay_run(replay_course(run), run, run.parent / "not")


def test_a_fork_of_a_damaged_run_asks_what_is_lost(run, reference, asked):
    assert go(run, going=resume_course(run)) is not None
    asked.clear()
    flip_at_the_end(run / JOURNAL)
    with pytest.raises(JournalDamaged, match=r"`populace fork .* --salvage`"):
        go(run.parent / "not", going=fork_course(run, 8))
    assert (
        go(run.parent / "fork", going=fork_course(run, 8, salvage=True))["trace_hashes"]
        == (reference[0]["trace_hashes"])
    )
    assert len(asked) <= 2


def test_the_command_says_what_is_lost(run):
    lose_all(run / JOURNAL)
    refused = populace("resume", "run", cwd=run.parent)
    assert refused.returncode == 6
    assert "is missing, and a checkpoint counts on" in refused.stderr
    assert "--salvage" in refused.stderr
    assert "to go on: populace resume" not in refused.stderr
    done = populace("resume", "run", "--salvage", cwd=run.parent)
    assert done.returncode == 0, done.stderr
    assert "answers from before tick 5" in done.stderr, "where the interrupt saved the last whole tick"
    assert read_manifest(run)["status"] == "complete"


def test_a_salvage_of_a_good_journal_says_so(run):
    assert resume_course(run, salvage=True).notes == ("nothing of the journal is damaged",)
