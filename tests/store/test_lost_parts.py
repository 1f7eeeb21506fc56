"""Parts of tables that are lost or cut between two lives of a run: it is recomputed, and its tables are whole."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from support.attempts import Stopper, asked, go, reference, same_tables

from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.runs.courses import resume_course
from populace.store import folder as folder_
from populace.store.manifest import read_manifest
from populace.store.tables.files import PARTS
from populace.store.tables.tables import read_table

__all__ = ["asked", "reference"]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("stopped") / "run"
    assert go(out, stop_at=5, checkpoint__every_ticks=2, shards=2) is None
    for table in out.glob("*.parquet"):  # a killed run has none yet
        table.unlink()
    return out


def lose_asks(parts: Path) -> None:
    (parts / "asks-000001.parquet").unlink()


def lose_all(parts: Path) -> None:
    shutil.rmtree(parts)


def cut_short(parts: Path) -> None:
    file = parts / "messages-000000.parquet"
    file.write_bytes(file.read_bytes()[:-100])


def put_another(parts: Path) -> None:
    shutil.copy(parts / "outcomes-000000.parquet", parts / "outcomes-000001.parquet")


@pytest.mark.parametrize("harm", [lose_asks, lose_all, cut_short, put_another])
def test_a_run_whose_parts_are_lost_is_recomputed_from_its_journal(stopped, reference, asked, tmp_path, harm):
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    harm(out / PARTS)
    going = resume_course(out)
    observer = Stopper(-1)
    coordinator = Coordinator(going.origin, going.settings, LocalTransport(), out, [observer], going.course)
    ended = asyncio.run(coordinator.run())
    assert ended["trace_hashes"] == reference[0]["trace_hashes"]
    same_tables(out, reference[1])
    notes = "\n".join(observer.notes)
    assert "rows of" in notes
    assert "The run is recomputed from its journal" in notes
    if harm is lose_asks:
        assert "asks-000001.parquet" in notes
    known = read_manifest(stopped)["ticks"]
    assert all(tick >= known for _, tick, _ in asked), "what is on record is not paid for again"


def test_parts_that_are_all_there_are_gone_on_from(stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / "run")
    assert go(tmp_path / "run", going=resume_course(tmp_path / "run"))["began_at_tick"] > 0


def test_control_without_the_count_of_rows_ticks_are_missing(stopped, reference, tmp_path, monkeypatch):
    monkeypatch.setattr(folder_, "lost_parts", lambda *_: [])
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    lose_asks(out / PARTS)
    assert go(out, going=resume_course(out))["status"] == "complete"
    assert len(read_table(out, "asks")) < len(read_table(reference[1], "asks"))
