"""A key with a distinctive value is used over whole runs, and is found nowhere but at the server."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.asking import asking, here
from support.misbehaving import Act, Misbehaving, Seen, redirect, slow

from populace.core.errors import ModelError
from populace.monitoring.metrics import Metrics
from populace.store.manifest import read_manifest

KEY = "populace.canary.9f8e7d6c5b4a.not.like.any.makers.key"
TESTS = Path(__file__).parents[1] / "support"


def indiscreet(seen: Seen) -> Act:
    """Every few requests the server says the key, in one way or another."""
    said = json.dumps({"error": {"message": f"your key is {KEY}", "code": KEY}}).encode()
    match seen.nth % 12:
        case 1:
            return Act(kind="status", status=400, body=said)
        case 3:
            return Act(kind="status", status=500, body=said, headers={"x-request-id": KEY})
        case 5:
            return Act(body=f"<html>{KEY}</html>".encode(), content_type="text/html")
        case 7:
            return redirect(f"http://127.0.0.1:9/{KEY}")
        case 9:
            return Act(text=f"I was called with {KEY}.")
    return slow(0.005)


def holding(folder: Path, text: str) -> list[str]:
    """The files under a folder in which the text stands: as it is, in UTF-16, or in a table's columns."""
    forms = (text.encode(), text.encode("utf-16-le"))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files, f"{folder} is empty"
    return [str(path) for path in files if any(form in content_of(path) for form in forms)]


def content_of(path: Path) -> bytes:
    """A file's bytes; of a table also what its compressed columns say."""
    rows = pq.read_table(path).to_pylist() if path.suffix == ".parquet" else []
    return path.read_bytes() + "".join(map(repr, rows)).encode()


class Scraper:
    """Keeps the metrics page as it is after each tick."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.pages: list[str] = []

    def begin(self, *_args: object) -> None: ...
    def pulse(self, _pulse: object) -> None: ...
    def note(self, _text: str) -> None: ...
    def end(self, _status: str, _manifest: object) -> None: ...

    def tick(self, _report: object) -> None:
        with urllib.request.urlopen(self.metrics.url, timeout=60) as page:
            self.pages.append(page.read().decode() + str(page.headers))


@pytest.mark.parametrize("end", ["complete", "failed"])
def test_a_key_is_found_nowhere_after_a_run(tmp_path, monkeypatch, capfd, caplog, end):
    monkeypatch.setenv("CANARY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    refused = Act(kind="status", status=401, body=json.dumps({"error": f"{KEY} is not welcome"}).encode())
    metrics = Metrics(port=0)
    scraper = Scraper(metrics)

    def plan(seen: Seen) -> Act:
        return refused if end == "failed" and seen.nth > 150 else indiscreet(seen)

    with Misbehaving(plan, key=KEY, models=["decoy-model"]) as server:
        options = asking(server, agents=60, ticks=4, shards=2, endpoint__api_key_env="CANARY_KEY", endpoint__retries=0)
        try:
            here(tmp_path / "out", [metrics, scraper], **{**options, "model__name": "decoy-model"})
        except ModelError as error:
            print(error, repr(error.args))
        assert all(seen.authorized for seen in server.seen)
        assert len(server.seen) > 150
    assert read_manifest(tmp_path / "out")["status"] == end
    out = capfd.readouterr()
    assert holding(tmp_path, KEY) == []
    assert KEY not in out.out + out.err + caplog.text
    assert scraper.pages
    assert not any(KEY in page for page in scraper.pages)
    # The control: the same search finds what is no secret.
    assert {".parquet", ".journal"} <= {Path(path).suffix for path in holding(tmp_path, "I was called with ***.")}
    assert "manifest.json" in {Path(path).name for path in holding(tmp_path, "decoy-model")}
    assert any("decoy-model" in page for page in scraper.pages)
    assert ("CANARY_KEY" in out.out) == (end == "failed")


@pytest.mark.ray
def test_a_key_is_found_nowhere_in_a_ray(tmp_path):
    with Misbehaving(indiscreet, key=KEY, models=["decoy-model"]) as server:
        command = [sys.executable, str(TESTS / "canary_on_ray.py"), server.base_url, "out", "dump"]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "CANARY_KEY": KEY}, capture_output=True, text=True, timeout=200,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert len(server.seen) >= 120
        assert all(seen.authorized for seen in server.seen)
    session = Path(done.stdout.splitlines()[-1])
    assert holding(tmp_path, KEY) == []
    assert holding(session / "logs", KEY) == holding(session, KEY) == []
    assert KEY not in done.stdout + done.stderr
    # The control: the same search finds what is no secret.
    assert {".parquet", ".journal"} <= {Path(path).suffix for path in holding(tmp_path, "I was called with ***.")}
    assert b"ShardActor" in (tmp_path / "dump").read_bytes()
    assert len(holding(session / "logs", session.name)) >= 1
