"""The head of a Ray cluster is lost: the run ends in its own time, and what is on disk goes on elsewhere."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from running import SOCIETIES, run_local
from test_cli import populace

from populace.monitoring.manifest import read_manifest

pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.timeout(600)]

RUN = ("run", SOCIETIES, "--model", "scripted", "--seed", "7", "--ticks", "40", "--transport", "ray", "--shards", "2")
SLOW = ("--set", "limits.failed_turns=1.0", "--set", "model.latency.median_s=0.3", "--set", "checkpoint.every_ticks=3")


@pytest.fixture
def head():
    """A Ray of its own, by its address and the pids of its control service."""
    port, env = 46379, {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    ray = str(Path(sys.executable).parent / "ray")
    place = tempfile.mkdtemp(prefix="ph")  # a socket's path has at most 107 bytes
    start = (ray, "start", "--head", f"--port={port}", "--num-cpus=4", "--include-dashboard=false")
    subprocess.run([*start, f"--temp-dir={place}"], env=env, check=True, capture_output=True)
    mine = [one for one in psutil.process_iter(["cmdline"]) if place in " ".join(one.info["cmdline"] or ())]
    yield f"127.0.0.1:{port}", [one for one in mine if "gcs_server" in " ".join(one.info["cmdline"])]
    for one in mine:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    shutil.rmtree(place, ignore_errors=True)


def test_a_lost_head_ends_the_run_and_loses_nothing(tmp_path, head):
    address, control = head
    assert control
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "populace.cli", *RUN, *SLOW, "--out", "a"]
        env = {**os.environ, "RAY_ADDRESS": address}
        running = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while not list((tmp_path / "a" / "checkpoints").glob("*.checkpoint")) and time.monotonic() < deadline:
            time.sleep(0.2)
        for one in control:
            one.send_signal(signal.SIGKILL)
        ended = running.wait(timeout=300)
    assert ended != 0
    done = populace("resume", "a", "--transport", "local", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    resumed = read_manifest(tmp_path / "a")
    whole = run_local(tmp_path / "whole", ticks=40)
    assert resumed["trace_hashes"] == whole["trace_hashes"]
    assert resumed["calls_billed"] == whole["calls_billed"]
    assert resumed["began_at_tick"] > 0
