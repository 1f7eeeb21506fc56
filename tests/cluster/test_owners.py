"""What works for a process ends soon after it, however that ended: nobody is left to pay for what it asks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import psutil
import pytest
from support.chaos import Command
from support.running import SOCIETIES

from populace.cluster.liveness import Owner, end_with, own_process

WAIT_S = 120.0


def sleeping() -> tuple[subprocess.Popen[bytes], Owner]:
    running = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    return running, Owner("here", running.pid, psutil.Process(running.pid).create_time())


def watched(owner: Owner, machine: str = "here", every_s: float = 0.01) -> threading.Event:
    ended = threading.Event()
    end_with(owner, machine, ended.set, every_s)
    return ended


NEVER_S = 10.0 * WAIT_S
"""Between two looks: who goes by looks alone would come too late."""


@pytest.mark.parametrize("told", [True, False])
def test_a_process_ends_with_its_owner_also_where_nobody_has_waited_for_that_one(monkeypatch, told):
    """The system tells of its end, or, where it does not, looks do."""
    if not told:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    running, owner = sleeping()
    ended = watched(owner, every_s=NEVER_S if told else 0.01)
    try:
        assert not ended.wait(0.3), "its owner lives"
        running.kill()
        assert ended.wait(WAIT_S), "its owner is a zombie"
    finally:
        running.kill()
        running.wait()


def test_a_clock_that_is_set_meanwhile_ends_nobody(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    running, owner = sleeping()
    try:
        ended = watched(owner)
        began = psutil.Process.create_time
        monkeypatch.setattr(psutil.Process, "create_time", lambda process: began(process) + 3600.0)
        assert not ended.wait(0.3)
        running.kill()
        assert ended.wait(WAIT_S)
    finally:
        running.kill()
        running.wait()


def test_what_cannot_be_seen_is_not_taken_for_gone():
    running, owner = sleeping()
    running.kill()
    running.wait()
    assert not owner.lives()
    assert not watched(own_process("there")).wait(0.1), "another machine's processes"
    assert not watched(owner).wait(0.1), "one that was never seen: a container's"


def test_another_process_with_its_owners_id_is_not_its_owner():
    here = own_process("here")
    assert here.lives()
    assert not msgspec.structs.replace(here, began_s=here.began_s - 1.0).lives()


def at_work(kind: str) -> list[psutil.Process]:
    """The processes of Ray's actors of this kind."""
    return [
        one for one in psutil.process_iter(["name", "cmdline"]) if f"ray::{kind}" in " ".join(one.info["cmdline"] or [])
    ]


@pytest.mark.ray
def test_shards_end_soon_after_their_driver_is_killed(tmp_path: Path, ray_cluster):
    before = {one.pid for one in at_work("ShardActor")}
    slow = ("--set", "model.latency.median_s=30", "--set", "limits.failed_turns=1.0")
    args = ("run", SOCIETIES, "--model", "scripted", "--seed", "7", "--transport", "ray", "--shards", "2", *slow)
    address = ray_cluster.get_runtime_context().gcs_address
    command = Command(*args, "--out", "a", cwd=tmp_path, RAY_ADDRESS=address)
    deadline_s = time.monotonic() + 120
    while len(mine := [one for one in at_work("ShardActor") if one.pid not in before]) < 2:
        assert time.monotonic() < deadline_s, command.errors
        time.sleep(0.2)
    time.sleep(3.0)
    command.process.kill()
    command.wait(WAIT_S)
    _, left = psutil.wait_procs(mine, timeout=WAIT_S)
    assert not left
