"""Each file of a run's folder missing, cut or with a byte changed: whatever is done next goes on rightly or says why.

Never a traceback, never "complete" with what cannot be replayed, and damage to the journal is told as damage (exit code
6) and not as a difference (9).
"""

from __future__ import annotations

import io
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.attempts import go
from support.running import SOCIETIES

from populace.cli.costs import print_costs
from populace.core.errors import JournalDamaged, PopulaceError, StorageError
from populace.runs import courses
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.diff import diff_runs
from populace.runs.replay import replay_run
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table
from populace.store.trust import check_trust

DOINGS = ("replay", "fork", "diff", "costs", "resume")
OPTIONS = {"agents": 6, "ticks": 5, "scenario": SOCIETIES}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    assert go(out, shards=2, **OPTIONS)["status"] == "complete"
    return out


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """Stopped twice, so with answers of two attempts before its checkpoints."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    assert go(out, stop_at=1, shards=2, **OPTIONS) is None
    assert go(out, stop_at=2, going=resume_course(out, shards=1)) is None
    return out


def harms(file: Path, rng: random.Random) -> Iterator[Callable[[Path], None]]:
    data = file.read_bytes()
    at = rng.randrange(len(data))
    flipped = bytearray(data)
    flipped[at] ^= 1 << rng.randrange(7)
    yield lambda path: path.unlink()
    yield lambda path: path.write_bytes(data[: rng.randrange(len(data))]) and None
    yield lambda path: path.write_bytes(bytes(flipped)) and None


def replayed(folder: Path, out: Path) -> bool:
    return replay_run(replay_course(folder), folder, out).diverged is None


def everything_done_to(folder: Path, whole: Path, tmp: Path, which: Sequence[str]) -> dict[str, str]:
    """What came of each thing that is done with a run's folder: 'good', or an error and its exit code."""
    hashes = read_manifest(whole)["trace_hashes"]

    def resumed() -> bool:
        manifest = go(folder, going=resume_course(folder))
        assert manifest["status"] == "complete"
        assert read_table(folder, "asks").num_rows == read_table(whole, "asks").num_rows
        return manifest["trace_hashes"] == hashes and replayed(folder, tmp / "after")

    doings: dict[str, Callable[[], bool]] = {
        "replay": lambda: replayed(folder, tmp / "again"),
        "fork": lambda: go(tmp / "fork", going=fork_course(folder, 1))["trace_hashes"] == hashes,
        "diff": lambda: diff_runs(folder, whole).identical,
        "costs": lambda: print_costs([folder], io.StringIO()) is None,
        "resume": resumed,
    }
    came = {}
    for name in which:
        try:
            if name in ("replay", "fork", "resume"):
                check_trust(folder, name)
            came[name] = "good" if doings[name]() else "another run"
        except PopulaceError as error:
            came[name] = f"{type(error).__name__}, exit code {error.exit_code}"
    return came


@pytest.mark.parametrize("which", ["whole", "stopped"])
def test_whatever_file_is_damaged_a_run_goes_on_rightly_or_says_why(which, whole, request, tmp_path):
    source = request.getfixturevalue(which)
    rng = random.Random(5)
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        named = file.relative_to(source)
        of_a_table = file.suffix == ".parquet"  # one harm is enough, and done to what reads them
        chosen = rng.randrange(3)
        for number, harm in enumerate(harms(file, rng)):
            if of_a_table and number != chosen:
                continue
            shutil.rmtree(tmp_path / "x", ignore_errors=True)
            folder = tmp_path / "x" / "run"
            shutil.copytree(source, folder)
            harm(folder / named)
            doings = ("diff", "resume") if of_a_table else DOINGS
            came = everything_done_to(folder, whole, tmp_path / "x", doings)
            assert "another run" not in came.values(), (named, number, came)
            if named.parent.name == "journal":
                assert came["replay"] == "JournalDamaged, exit code 6", (named, number, came)
                assert came["fork"] == "JournalDamaged, exit code 6", (named, number, came)
                assert came["resume"].endswith("exit code 6" if which == "stopped" else "exit code 2"), came


def a_byte_before_the_checkpoint(folder: Path) -> Path:
    file = min((folder / "journal").iterdir())
    data = bytearray(file.read_bytes())
    data[len(data) // 4] ^= 1
    file.write_bytes(data)
    return file


def test_damage_before_the_checkpoint_is_refused_at_the_resume_and_named(stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / "run")
    file = a_byte_before_the_checkpoint(tmp_path / "run")
    with pytest.raises(JournalDamaged, match=rf"{file.name}: damaged at byte \d+.*--salvage"):
        resume_course(tmp_path / "run")
    manifest = go(tmp_path / "run", going=resume_course(tmp_path / "run", salvage=True))
    assert manifest["salvaged"] == [file.name]
    assert f"of the journal's {file.name} a part is known to be lost" in replay_course(tmp_path / "run").notes


def test_control_unchecked_it_is_complete_and_cannot_be_replayed(stopped, tmp_path, monkeypatch):
    shutil.copytree(stopped, tmp_path / "run")
    a_byte_before_the_checkpoint(tmp_path / "run")
    monkeypatch.setattr(courses, "check_journal", lambda *_: None)
    assert go(tmp_path / "run", going=resume_course(tmp_path / "run"))["status"] == "complete"
    with pytest.raises(JournalDamaged):
        replayed(tmp_path / "run", tmp_path / "again")


def test_control_without_the_lengths_in_the_manifest_a_cut_journal_is_another_run(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "run")
    file = min((tmp_path / "run" / "journal").iterdir())
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(JournalDamaged, match=f"{file.name}: damaged at byte .*the run counts on"):
        replayed(tmp_path / "run", tmp_path / "again")
    monkeypatch.setattr(courses, "journal_files", lambda _: {})
    assert not replayed(tmp_path / "run", tmp_path / "again")


def test_a_changed_byte_in_a_table_is_an_error_that_names_it(whole, tmp_path):
    """Dictionaries of values have no checksum in Parquet, so not every byte is found; the control reads far more."""
    shutil.copytree(whole, tmp_path / "run")
    file = tmp_path / "run" / "asks.parquet"
    data, true = file.read_bytes(), read_table(whole, "asks")
    false: dict[str, list[int]] = {"checked": [], "unchecked": []}
    for at in range(4, len(data) - 400, 31):
        changed = bytearray(data)
        changed[at] ^= 4
        file.write_bytes(changed)
        for how, read in (
            ("checked", lambda: read_table(file.parent, "asks")),
            ("unchecked", lambda: pq.read_table(file)),
        ):
            try:
                same = read().equals(true)
            except (StorageError, pa.ArrowException, OSError) as error:
                same = str(file) in str(error) or how == "unchecked"
            if not same:
                false[how].append(at)
    assert len(false["unchecked"]) > 3 * len(false["checked"]), false
