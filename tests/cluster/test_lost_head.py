"""A process that all of a Ray goes through is lost: the run ends in bounded time, and goes on elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from support.command import populace
from support.running import SOCIETIES, run_local

from populace.store.checkpoint.file import generations
from populace.store.manifest import read_manifest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

TICKS = 40
RUN = ("run", SOCIETIES, "--model", "scripted", "--seed", "7", "--ticks", str(TICKS), "--transport", "ray")
SLOW = {"limits.failed_turns": 1.0, "model.latency.median_s": 1.0, "checkpoint.every_ticks": 2}


@contextmanager
def at_work(folder: Path, shards: int = 2) -> Iterator[tuple[subprocess.Popen[bytes], list[psutil.Process]]]:
    """A run on a Ray of its own, once it has saved something; gives it and its Ray's processes."""
    settings = [word for key, value in SLOW.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "populace.cli", *RUN, "--shards", str(shards), *settings, "--out", "a"]
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    children: list[psutil.Process] = []
    try:
        deadline_s = time.monotonic() + 180
        while not generations(folder / "a" / "checkpoints") and time.monotonic() < deadline_s:
            assert running.poll() is None, (folder / "log").read_text()[-3000:]
            time.sleep(0.2)
        children = psutil.Process(running.pid).children(recursive=True)
        yield running, children
    finally:
        running.kill()
        running.wait()
        for one in children:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def ended_by_ray(pid: int) -> bool:
    """Whether Ray's own log says that it ended this process, a driver."""
    logs = Path(tempfile.gettempdir(), "ray").glob(f"session_*_{pid}/logs/python-core-driver-*_{pid}.log")
    return any("plasma store is failed. Terminate the process" in log.read_text(errors="replace") for log in logs)


def lose(folder: Path, process: str) -> None:
    """The process is killed: the run ends with exit code 5, and goes on in one process to the same end.

    Where a call is amid Ray's object store just then, Ray ends the process that made it, which is as a kill of it.
    """
    with at_work(folder) as (running, children):
        (lost,) = [one for one in children if process in one.name()]
        lost.kill()
        ended = running.wait(timeout=240)
    if ended == 1 and ended_by_ray(running.pid):
        assert not (folder / "a" / "manifest.json").exists()
    else:
        assert ended == 5, (folder / "log").read_text()[-3000:]
        before = read_manifest(folder / "a")
        assert before["status"] == "failed"
        assert "has ended" in before["error"]
    done = populace("resume", "a", "--transport", "local", "--set", "model.latency.median_s=0", cwd=folder)
    assert done.returncode == 0, done.stderr
    resumed = read_manifest(folder / "a")
    whole = run_local(folder / "whole", ticks=TICKS)
    assert resumed["trace_hashes"] == whole["trace_hashes"]
    assert resumed["calls_billed"] == whole["calls_billed"]
    assert resumed["began_at_tick"] > 0


def test_a_lost_raylet_ends_the_run_in_bounded_time_and_loses_nothing(tmp_path):
    lose(tmp_path, "raylet")


@pytest.mark.chaos
def test_a_lost_control_service_ends_the_run_in_bounded_time_and_loses_nothing(tmp_path):
    lose(tmp_path, "gcs_server")


def test_a_signal_ends_a_run_whose_ray_does_not_answer(tmp_path):
    """Everything of its Ray is stopped, as a machine that is cut off: no call comes back, and no port is closed."""
    with at_work(tmp_path) as (running, children):
        for one in children:
            one.suspend()
        running.send_signal(signal.SIGTERM)
        ended = running.wait(timeout=240)
        for one in children:
            with suppress(psutil.NoSuchProcess):
                one.resume()
    assert ended == 130, (tmp_path / "log").read_text()[-3000:]
    assert read_manifest(tmp_path / "a")["status"] == "interrupted"
