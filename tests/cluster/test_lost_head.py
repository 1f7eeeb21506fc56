"""The head of a Ray is lost: the run ends in its own time, and what is on disk goes on elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from support.command import populace
from support.running import SOCIETIES, run_local

from populace.store.manifest import read_manifest

pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.timeout(600)]

RUN = ("run", SOCIETIES, "--model", "scripted", "--seed", "7", "--ticks", "200", "--transport", "ray", "--shards", "2")
SLOW = ("--set", "limits.failed_turns=1.0", "--set", "model.latency.median_s=1.0", "--set", "checkpoint.every_ticks=3")


def test_a_lost_head_ends_the_run_and_loses_nothing(tmp_path):
    """The run has started a Ray of its own; its control service is killed."""
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "populace.cli", *RUN, *SLOW, "--out", "a"]
        env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        running = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while not list((tmp_path / "a" / "checkpoints").glob("*.checkpoint")) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert list((tmp_path / "a" / "checkpoints").glob("*.checkpoint")), (tmp_path / "log").read_text()[-3000:]
        children = psutil.Process(running.pid).children(recursive=True)
        (control,) = [one for one in children if "gcs_server" in one.name()]
        control.kill()
        ended = running.wait(timeout=300)
        for one in children:
            with suppress(psutil.NoSuchProcess):
                one.kill()
    assert ended != 0
    done = populace("resume", "a", "--transport", "local", "--set", "model.latency.median_s=0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    resumed = read_manifest(tmp_path / "a")
    whole = run_local(tmp_path / "whole", ticks=200)
    assert resumed["trace_hashes"] == whole["trace_hashes"]
    assert resumed["calls_billed"] == whole["calls_billed"]
    assert resumed["began_at_tick"] > 0
