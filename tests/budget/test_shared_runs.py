"""Three runs at once against one limit: real processes, a real endpoint that counts, one of them killed.

In a folder, in an object store (moto's S3 server), and on a Ray.
"""
# ruff: noqa: F811

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.asking import asking, here
from support.mirrored import s3_environment, server  # noqa: F401 - fixtures
from support.misbehaving import Misbehaving, slow
from support.s3_server import S3Server
from support.sharers import most_within

from populace.budget.quota import Limits
from populace.budget.shares import read_members
from populace.cli import examine
from populace.cluster.shared_limits import runs_at_work, shared_account
from populace.core.errors import SettingsError
from populace.monitoring.summary import shared_text
from populace.settings import load_settings

SCRIPT = str(Path(__file__).parents[1] / "support" / "sharing_run.py")
PER_S = 50.0
SLACK_S = 2 * Limits().burst_s + Limits().lasts_s


class Run:
    """One run in a process of its own."""

    def __init__(self, out: Path, url: str, place: str, asks: int, **env: str) -> None:
        self.starts = out.with_suffix(".starts")
        command = [sys.executable, SCRIPT, str(out), url, place, str(60 * PER_S), str(asks)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **env}
        )

    def ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def told(self) -> dict:
        """What it says at its end."""
        out, _ = self.process.communicate("", timeout=240)
        assert self.process.returncode == 0
        return json.loads(out)

    def started(self) -> list[float]:
        return [float(line) for line in self.starts.read_text().split()]


@contextmanager
def three(
    tmp_path: Path, place: str, asks: tuple[int, int, int], **env: str
) -> Iterator[tuple[list[Run], Misbehaving]]:
    with Misbehaving(base=slow(0.02)) as endpoint:
        runs = [Run(tmp_path / f"run{n}", endpoint.base_url, place, asks[n], **env) for n in range(3)]
        try:
            for run in runs:
                run.ready()
            for run in runs:
                run.go()
            yield runs, endpoint
        finally:
            for run in runs:
                run.process.kill()
                run.process.communicate()


def keep(tmp_path: Path, place: str, **env: str) -> None:
    """Three runs begin, one is killed as all are at work; the limit holds in every stretch of time."""
    with three(tmp_path, place, (100, 100, 100_000), **env) as (runs, endpoint):
        while min(len(run.started()) if run.starts.exists() else 0 for run in runs) < 15:
            assert all(run.process.poll() is None for run in runs)
            time.sleep(0.05)
        runs[2].process.kill()
        told = [run.told() for run in runs[:2]]
        starts = sorted(at_s for run in runs for at_s in run.started())
        seen = len(endpoint.seen)
    assert [one["answered"] for one in told] == [100, 100]
    assert [one["shared"]["runs"] for one in told] == [3, 3]
    assert 200 < seen <= len(starts)
    assert most_within(starts, 1.0, PER_S) <= PER_S * SLACK_S + 3


def test_in_a_folder(tmp_path):
    folder = tmp_path / "limits"
    keep(tmp_path, str(folder))
    (file,) = folder.iterdir()
    assert {one.name for one in read_members(file.read_bytes())} <= {killed_in(file)}


def killed_in(file: Path) -> str:
    """The one that may stand there still: it could not leave."""
    members = read_members(file.read_bytes())
    assert len(members) <= 1
    return members[0].name if members else ""


@pytest.mark.chaos
def test_in_a_bucket(tmp_path, server: S3Server):
    keep(tmp_path, "s3://bucket/limits", AWS_ENDPOINT_URL_S3=server.url)


@pytest.mark.ray
@pytest.mark.chaos
def test_on_a_ray(tmp_path, ray_cluster):
    keep(tmp_path, "ray", RAY_ADDRESS=ray_cluster.get_runtime_context().gcs_address)


@pytest.mark.chaos
def test_control_runs_by_themselves_pass_the_limit(tmp_path):
    with three(tmp_path, "none", (100, 100, 100)) as (runs, _):
        assert [run.told()["answered"] for run in runs] == [100, 100, 100]
        starts = sorted(at_s for run in runs for at_s in run.started())
    assert most_within(starts, 1.0, PER_S) > PER_S * SLACK_S + 3


LIMITED = {"endpoint__requests_per_minute": 60_000.0}


def test_a_run_alone_says_so_and_no_secret_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-very-secret-key-0123456789")
    with Misbehaving() as endpoint:
        options = {**asking(endpoint, agents=3, ticks=1), **LIMITED, "endpoint__share_limits": str(tmp_path / "limits")}
        manifest = here(tmp_path / "run", **options)
    assert manifest["shared_limits"] == {"at": str(tmp_path / "limits"), "runs": 1, "apart": 0}
    (file,) = (tmp_path / "limits").iterdir()
    assert read_members(file.read_bytes()) == []
    assert "127.0.0.1" not in file.name + file.read_text()
    for path in (*tmp_path.rglob("*.json"), *tmp_path.rglob("*.prom")):
        assert "very-secret" not in path.read_text()


def test_the_doctor_says_how_many_share(tmp_path):
    options = {"model__kind": "openai", "model__name": "m", "endpoint__base_url": "http://127.0.0.1:1/v1", **LIMITED}
    settings = load_settings(**options, endpoint__share_limits=str(tmp_path / "limits"))
    runs = [shared_account(settings), shared_account(settings)]
    (finding,) = examine._shared_limits(settings)
    assert (finding.good, finding.found) == (True, f"at {tmp_path / 'limits'}, 2 runs at work")
    for run in runs:
        assert run is not None
        run.close()
    assert runs_at_work(settings) == 0
    (tmp_path / "file").write_text("")
    at = str(tmp_path / "file")
    (finding,) = examine._shared_limits(load_settings(**options, endpoint__share_limits=at))
    assert not finding.good
    assert "is no folder" in finding.found
    assert examine._shared_limits(load_settings(**options)) == []


def test_the_summary_says_with_how_many():
    told = shared_text({"at": "limits", "runs": 3, "apart": 0})
    assert told == "shared at limits, with up to 2 other runs at once"
    alone = shared_text({"at": "ray", "runs": 1, "apart": 1})
    assert alone == "shared at ray, with no other run meanwhile; 1 run named other limits for the account"


def test_what_cannot_be_shared_is_refused_by_name(tmp_path):
    def refused(match: str, **options: object) -> None:
        with Misbehaving() as endpoint, pytest.raises(SettingsError, match=match):
            here(tmp_path / match[:9], **asking(endpoint, agents=1, ticks=1), **options)
        assert not endpoint.seen

    (tmp_path / "file").write_text("")
    refused("there are none: set endpoint.requests_per_minute", endpoint__share_limits="limits")
    refused("set transport = 'ray' and RAY_ADDRESS", **LIMITED, endpoint__share_limits="ray")
    refused("is no folder", **LIMITED, endpoint__share_limits=str(tmp_path / "file"))
    refused("no conditional writes", **LIMITED, endpoint__share_limits="memory://limits/all")
