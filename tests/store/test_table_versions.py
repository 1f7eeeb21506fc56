"""The version of the tables' schema: in every file, and a newer one is refused with what to do."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.running import run_local

import populace
from populace.core.errors import SettingsError
from populace.core.tables import SCHEMA_VERSION
from populace.store.tables.ticks import TickRows


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("versions") / "run"
    run_local(folder)
    return folder


def rewritten(path: Path, version: bytes | None) -> None:
    table = pq.read_table(path)
    about = {key: value for key, value in table.schema.metadata.items() if key != b"populace.schema"}
    pq.write_table(table.replace_schema_metadata(about | ({b"populace.schema": version} if version else {})), path)


def test_every_table_says_its_version(run):
    files = sorted(run.glob("*.parquet"))
    assert [path.stem for path in files] == [
        "actions", "agents", "asks", "failures", "levers", "messages", "outcomes", "rounds", "ties"
    ]  # fmt: skip
    for path in files:
        assert pq.read_schema(path).metadata[b"populace.schema"] == str(SCHEMA_VERSION).encode()


@pytest.mark.parametrize("said", [str(SCHEMA_VERSION + 1).encode(), b"next"])
def test_a_newer_table_is_refused_with_what_to_do(run, said):
    rewritten(run / "asks.parquet", said)
    told = rf"asks.parquet: is a table of schema version {said.decode()}, .* reads up to {SCHEMA_VERSION}: .*upgrade"
    with pytest.raises(SettingsError, match=told):
        populace.load(run).table("asks")
    with pytest.raises(SettingsError, match=told):
        TickRows(run, "asks", "tick").take(0)
    assert len(populace.load(run).table("messages")), "the others are read"


def test_a_table_of_before_there_were_versions_is_read(run):
    rewritten(run / "asks.parquet", None)
    assert len(populace.load(run).table("asks"))
