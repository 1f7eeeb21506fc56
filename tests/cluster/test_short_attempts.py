"""A life of a run that ends before it has caught up leaves what those before it wrote: tables and manifest agree."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.attempts import TABLES, TICKS, go, reference, same_tables  # noqa: F401 - fixtures
from support.command import Begun

from populace.cluster.local import LocalTransport
from populace.core.errors import TransportError
from populace.env import World
from populace.runs.courses import resume_course
from populace.store.manifest import read_manifest
from populace.store.tables.tables import Tables, read_table


def kept(out: Path, ticks: int) -> dict[str, Any]:
    """The tables of a run, whose manifest and tables both have these ticks."""
    manifest = read_manifest(out)
    tables = {name: read_table(out, name) for name in (*TABLES, "asks")}
    assert manifest["ticks"] == len(manifest["trace_hashes"]) == ticks
    assert set(tables["outcomes"].column("tick").to_pylist()) == set(range(ticks + 1))
    assert tables["asks"].num_rows == manifest["asks"]["made"]
    assert tables["messages"].num_rows == manifest["messages"]["sent"]
    return tables


def stopped_without_a_checkpoint(out: Path, at: int, older: int) -> dict[str, Any]:
    """A run stopped after so many ticks whose checkpoints are lost, but for one before tick `older`; its tables."""
    if older:
        assert go(out, stop_at=older) is None
        shutil.copytree(out / "checkpoints", out.parent / "older")
        going = resume_course(out)
    assert go(out, stop_at=at, going=going if older else None) is None
    shutil.rmtree(out / "checkpoints")
    if older:
        shutil.copytree(out.parent / "older", out / "checkpoints")
    return kept(out, at)


def stopped(out: Path, older: int, _: pytest.MonkeyPatch) -> None:
    """A tick after where the life begins."""
    assert go(out, stop_at=older + 1, going=resume_course(out)) is None


def broken_at_once(out: Path, older: int, patch: pytest.MonkeyPatch) -> None:
    """The world breaks in the first tick of the life."""

    def breaks(*_: Any) -> None:
        raise TypeError("a bug")

    patch.setattr(World, "apply", breaks)
    with pytest.raises(TypeError):
        go(out, going=resume_course(out))
    patch.undo()


def never_begun(out: Path, older: int, patch: pytest.MonkeyPatch) -> None:
    async def refused(*_: Any) -> None:
        raise TransportError("nobody is there")

    patch.setattr(LocalTransport, "restore" if older else "start", refused)
    with pytest.raises(TransportError):
        go(out, going=resume_course(out))
    patch.undo()


@pytest.mark.parametrize("older", [0, 3])
@pytest.mark.parametrize("end", [stopped, broken_at_once, never_begun])
def test_tables_and_manifest_stay_those_of_the_furthest_life(tmp_path, reference, monkeypatch, end, older):  # noqa: F811
    whole, folder = reference
    out = tmp_path / "run"
    before = stopped_without_a_checkpoint(out, 6, older)
    for n in range(2):
        end(out, older + n * (end is stopped), monkeypatch)
        after = kept(out, 6)
        assert all(table.equals(after[name]) for name, table in before.items())
    manifest = go(out, going=resume_course(out))
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    same_tables(out, folder)
    kept(out, TICKS)


def test_a_life_that_came_further_has_its_own_tables(tmp_path, reference):  # noqa: F811
    _, folder = reference
    out = tmp_path / "run"
    stopped_without_a_checkpoint(out, 3, 0)
    assert go(out, stop_at=5, going=resume_course(out)) is None
    kept(out, 5)
    go(out, going=resume_course(out))
    same_tables(out, folder)


def test_control_tables_that_are_always_written_anew_are_shortened(tmp_path, monkeypatch):
    out = tmp_path / "run"
    stopped_without_a_checkpoint(out, 6, 0)
    real = Tables.close
    monkeypatch.setattr(Tables, "close", lambda self, _ticks, *, complete: real(self, complete=complete))
    stopped(out, 0, monkeypatch)
    with pytest.raises(AssertionError):
        kept(out, 6)


def test_sigterm_to_a_resume_that_has_not_caught_up(tmp_path):
    """By the command line, as a scheduler does it."""
    out = tmp_path / "run"
    assert go(out, stop_at=60, scenario="polarization", agents=300, ticks=64) is None
    shutil.rmtree(out / "checkpoints")
    before = kept_outcomes(out)
    process = Begun("resume", "run", cwd=tmp_path, stdout=subprocess.DEVNULL, session=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if '"tick"' in line:
                process.send_signal(signal.SIGTERM)
                break
        _, errors = process.communicate(timeout=240)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, errors
    manifest = read_manifest(out)
    assert (manifest["status"], manifest["ticks"], manifest["attempt"]) == ("interrupted", 60, 1)
    assert kept_outcomes(out) == before
    assert sorted(set(before["tick"])) == list(range(61))


def kept_outcomes(out: Path) -> dict[str, list[Any]]:
    return dict(read_table(out, "outcomes").to_pydict())
