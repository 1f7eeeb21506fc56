"""A run's folder that is mirrored to moto's S3 server: fixtures, what a run does to it, what comes back."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from populace.core.records import Answer
from populace.kernel.blocks import Rows
from populace.store.checkpoint.generations import Checkpoints, latest
from populace.store.journal.read import Report, read_journal
from populace.store.journal.write import Journal, Position
from populace.store.remote.mirror import Mirror
from support.s3_server import ENVIRONMENT, S3Server

pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3") / "log")
    server.make_bucket("bucket")
    yield server
    server.close()


@pytest.fixture(autouse=True)
def s3_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("POPULACE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def remote(server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    return f"s3://bucket/{request.node.name.replace('[', '-').rstrip(']')}"


class Running:
    """What a run does to its folder: answers to the journal, a checkpoint at ticks' edges that refers to them."""

    def __init__(self, folder: Path, attempt: int = 0, segment_bytes: int = 2000, shards: int = 2) -> None:
        self.folder = folder
        (folder / "run.json").parent.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text('{"run": "r"}')
        journal = folder / "journal"
        self.journals = [
            Journal(journal, run="r", shard=shard, attempt=attempt, segment_bytes=segment_bytes)
            for shard in range(shards)
        ]
        self.checkpoints = Checkpoints(folder / "checkpoints", run="r")
        self.tick = 0
        self._random = random.Random(attempt)

    def answer(self, count: int = 5) -> None:
        for shard, journal in enumerate(self.journals):
            pairs = []
            for n in range(count):
                text = "".join(self._random.choices("abcdef", k=60))
                pairs.append((self._random.randbytes(16), Answer(n, self.tick, shard, "answered", text)))
            journal.append(pairs)
            journal.commit()

    def save(self) -> None:
        for journal in self.journals:
            journal.sync()
        positions = [[p.shard, p.attempt, p.segment, p.offset, p.chain, p.records] for p in self._positions()]
        rows = {n: self._random.randbytes(40) for n in range(30)} if self.checkpoints.whole else {self.tick % 30: b"x"}
        agents = Rows(rows, whole=self.checkpoints.whole)
        self.tick += 1
        blocks: dict[str, Any] = {"positions": positions, "agents": agents, "world": np.arange(50) + self.tick // 3}
        self.checkpoints.save(self.tick, blocks)

    def _positions(self) -> list[Position]:
        return [journal.position for journal in self.journals]

    def step(self) -> None:
        self.answer()
        self.save()

    def close(self) -> None:
        for journal in self.journals:
            journal.close()


def state_of(folder: Path) -> tuple[int, int] | None:
    """The tick of the newest checkpoint, every generation whole, and how many answers stand after it; None for none.

    Raises where the checkpoint refers to what is not there.
    """
    found = latest(folder / "checkpoints", run="r")
    if found is None:
        return None
    assert found.skipped == ()
    since = [Position(*fields) for fields in found.blocks["positions"]]
    report = Report()
    after = list(read_journal(folder / "journal", run="r", since=since, report=report))
    assert report.ends.keys() >= {(position.shard, position.attempt) for position in since}
    return found.tick, len(after)


def pulled(remote: str, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    Mirror(remote, folder).pull()
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
