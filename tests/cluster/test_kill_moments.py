"""A driver that dies between any two steps of what makes a run last, and what it left damaged afterwards."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.attempts import go, same_tables
from support.chaos import (
    EVERY,
    TICKS,
    Clock,
    Command,
    Provider,
    options_of,
    resume_here,
    run_elsewhere,
    run_here,
    run_on_ray,
)
from support.killing import MOMENTS, armed_scenario, set_trap

from populace.core.errors import SettingsError
from populace.runs.courses import resume_course
from populace.store.manifest import read_manifest

NTH = {"arrived": 70, "torn": 90, "committed": 110, "tables": 1, "manifest": 1}
"""Of which passing of a moment the process dies; the second for the others: of two checkpoints."""
CONCURRENCY = 8


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The run that all others must come to."""
    out = tmp_path_factory.mktemp("undisturbed")
    with Provider() as provider:
        return run_here(out, **options_of(provider)), out


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_driver_that_dies_at_any_moment_is_resumed(tmp_path, undisturbed, moment):
    whole, folder = undisturbed
    traps, out = tmp_path / "traps", tmp_path / "run"
    scenario = armed_scenario(traps)
    set_trap(traps, moment, NTH.get(moment, 2))
    clock = Clock()
    with Provider() as provider:
        assert run_elsewhere(out, str(scenario), **options_of(provider)) == -9
        assert (traps / f"{moment}.done").exists()
        assert not list(out.glob("*.part")), "what is not whole has no final name"
        before = provider.calls
        if moment == "manifest":
            assert read_manifest(out)["status"] == "complete"
            with pytest.raises(SettingsError, match="is complete"):
                resume_course(out)
        else:
            resume_here(out, clock, endpoint__base_url=provider.base_url)
        late = moment in ("freezing", "marked", "tables", "manifest")
        assert len(provider.twice()) <= (0 if late else CONCURRENCY)
        assert provider.calls - before == whole["calls_billed"] - before + len(provider.twice())
    manifest = read_manifest(out)
    assert manifest["status"] == "complete"
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert manifest["calls_billed"] == whole["calls_billed"]
    if moment in ("freezing", "marked", "cut", "saving", "behind", "pieces"):
        assert manifest["began_at_tick"] == EVERY, "the checkpoint that was not finished counts for nothing"
    assert (traps / "half over").exists() == (moment == "behind")
    if moment == "saved":
        assert manifest["began_at_tick"] == 2 * EVERY
    same_tables(out, folder)


SPARED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from support.killing import armed_scenario, set_trap
from support.running import run_local
scenario = armed_scenario(Path("traps"))
set_trap(Path("traps"), "committed")
assert run_local(Path("run"), str(scenario), agents=10, ticks=1, shards=1)["asks"]["made"]
"""


def test_who_sets_a_trap_does_not_fall_into_it(tmp_path):
    """It goes through the same moments, as others come too late or not at all, and has more tests to run."""
    code = SPARED.format(tests=str(Path(__file__).parents[1]))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "traps" / "committed").exists()


@pytest.mark.ray
@pytest.mark.parametrize("moment", ["arrived", "torn"])
def test_a_shard_on_ray_that_dies_between_answer_and_record(tmp_path, ray_cluster, undisturbed, moment):
    whole, folder = undisturbed
    scenario = armed_scenario(tmp_path / "traps")
    set_trap(tmp_path / "traps", moment, 60)
    with Provider() as provider:
        manifest, _ = run_on_ray(tmp_path / "run", provider, str(scenario), **options_of(provider))
        assert 0 < len(provider.twice()) <= CONCURRENCY // 2, "what one shard had in flight"
        assert provider.calls == whole["calls_billed"] + len(provider.twice())
    assert (tmp_path / "traps" / f"{moment}.done").exists()
    assert manifest["attempt"] == 1
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    same_tables(tmp_path / "run", folder)


@pytest.mark.ray
@pytest.mark.parametrize("moment", ["freezing", "saving", "behind"])
def test_a_host_on_ray_that_dies_while_it_saves_its_piece_of_a_checkpoint(tmp_path, ray_cluster, undisturbed, moment):
    """As it takes its second one aside, or all but the end of it is written; no generation names the others' then."""
    whole, folder = undisturbed
    scenario = armed_scenario(tmp_path / "traps")
    set_trap(tmp_path / "traps", moment, 2)
    with Provider() as provider:
        manifest, clock = run_on_ray(tmp_path / "run", provider, str(scenario), **options_of(provider))
        in_flight = 0 if moment == "freezing" else CONCURRENCY // 2
        assert len(provider.twice()) <= in_flight, "what one shard had in flight"
        assert provider.calls == whole["calls_billed"] + len(provider.twice())
    assert (tmp_path / "traps" / f"{moment}.done").exists()
    assert (tmp_path / "traps" / "half over").exists() == (moment == "behind")
    assert manifest["attempt"] == 1
    assert any(f"going back to tick {EVERY}" in note for note in clock.notes)
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    same_tables(tmp_path / "run", folder)


@pytest.mark.ray
@pytest.mark.parametrize("moment", ["marked", "pieces", "saved"])
def test_a_driver_that_dies_while_hosts_on_ray_save_is_resumed(tmp_path, ray_cluster, undisturbed, moment):
    """In one process; of pieces that no generation names nothing is read."""
    whole, folder = undisturbed
    traps, out = tmp_path / "traps", tmp_path / "run"
    scenario = armed_scenario(traps)
    set_trap(traps, moment, 2, of="driver")
    address = ray_cluster.get_runtime_context().gcs_address
    with Provider() as provider:
        args = ["run", str(scenario), "--out", str(out), "--seed", "7", "--set", "limits.failed_turns=1.0"]
        for key, value in options_of(provider, transport="ray").items():
            args += ["--set", f"{key.replace('__', '.')}={value}"]
        command = Command(*args, cwd=tmp_path, RAY_ADDRESS=address, TRAPPED="driver")
        assert command.wait() == -9, command.errors
        assert (traps / f"{moment}.done").exists()
        resume_here(out, endpoint__base_url=provider.base_url)
        assert len(provider.twice()) <= (0 if moment == "marked" else CONCURRENCY)
        assert provider.calls == whole["calls_billed"] + len(provider.twice())
    manifest = read_manifest(out)
    assert manifest["began_at_tick"] == (2 * EVERY if moment == "saved" else EVERY)
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    same_tables(out, folder)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was interrupted in tick 5, and the calls made for it.

    Its checkpoints are the last that was due, and that of the interrupt: of the last whole tick.
    """
    out = tmp_path_factory.mktemp("stopped")
    with Provider() as provider:
        assert go(out, stop_at=5, **options_of(provider)) is None
        calls = provider.calls
    assert [path.name[-15:] for path in sorted((out / "checkpoints").iterdir())] == [
        "0004.checkpoint", "0005.checkpoint",
    ]  # fmt: skip
    return out, calls


@pytest.mark.parametrize(("damaged", "begins"), [(1, 4), (2, 0)])
def test_a_damaged_checkpoint_costs_time_and_no_call(tmp_path, undisturbed, stopped, damaged, begins):
    """The newest: an older one is taken. All: the run begins again, from its journal."""
    whole, folder = undisturbed
    out = tmp_path / "run"
    shutil.copytree(stopped[0], out)
    newest_first = sorted((out / "checkpoints").iterdir(), reverse=True)
    for path in newest_first[:damaged]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    clock = Clock()
    with Provider() as provider:
        manifest = resume_here(out, clock, endpoint__base_url=provider.base_url)
        assert provider.calls + stopped[1] == whole["calls_billed"]
    assert manifest["began_at_tick"] == begins
    assert any("a checkpoint is not good" in note and newest_first[0].name in note for note in clock.notes)
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    same_tables(out, folder)


def test_resuming_again_and_again_does_not_read_more_and_more(tmp_path, undisturbed, monkeypatch):
    """What former lives have answered is read until the run stands beyond it, and then no more."""
    from populace.store.journal import recording

    read: list[int] = []

    class Counted(recording.JournalIndex):
        def __init__(self, records):
            records = list(records)
            read.append(len(records))
            super().__init__(records)

    monkeypatch.setattr(recording, "JournalIndex", Counted)
    whole, _ = undisturbed
    with Provider() as provider:
        options = options_of(provider, checkpoint__every_ticks=1)
        assert go(tmp_path, stop_at=1, **options) is None
        for tick in range(2, TICKS):
            assert go(tmp_path, stop_at=tick, going=resume_course(tmp_path)) is None
        manifest = go(tmp_path, going=resume_course(tmp_path))
        assert provider.twice() == []
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert manifest["attempt"] == TICKS - 1 == len(read)
    assert max(read) < 2 * whole["asks"]["made"] / TICKS, "a tick's answers at most, never all lives'"
