"""A node is lost with all its processes, or cut off: the run goes on on those that are left.

`pytest -m chaos tests/cluster/test_lost_node.py -s` prints how long each took.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from support import two_nodes
from support.attempts import same_tables
from support.chaos import Clock, Provider, options_of, run_here

from populace.store.manifest import read_manifest

pytestmark = [pytest.mark.ray, pytest.mark.chaos, pytest.mark.timeout(400)]

KILL_AT = 120
BACK_S = 120.0
OPTIONS = {"shards": 3, "endpoint__requests_per_minute": 60_000.0}


def lose_the_node(out: Path, how: signal.Signals, *forgetting: str) -> tuple[Provider, dict[str, Any]]:
    """A run on two nodes, of which the second gets this signal in mid-run; and how the run ended."""
    with Provider([(KILL_AT, "the node")], how=how) as provider:
        options = json.dumps(options_of(provider, **OPTIONS))
        command = [sys.executable, str(two_nodes.__file__), str(out), options, *forgetting]
        log = out.with_suffix(".log")
        with log.open("wb") as errors:
            running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert running.stdout is not None
        there: list[psutil.Process] = []
        try:
            raylet = int(running.stdout.readline())

            def node(_: str) -> tuple[list[int], list[int]]:
                one = psutil.Process(raylet)
                there[:] = [one, *one.children(recursive=True)]
                shards = [child for child in there if "ShardActor" in " ".join(child.cmdline())]
                assert 0 < len(shards) < OPTIONS["shards"], "shards stand on both nodes"
                return [one.pid for one in there], []

            provider.victims = node
            ended: dict[str, Any] = json.loads(running.stdout.read().splitlines()[-1])
            running.wait(240)
        finally:
            for one in there:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            running.terminate()
            running.stdout.close()
    return provider, ended


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    with Provider() as provider:
        manifest = run_here(out, **options_of(provider))
        assert provider.calls == manifest["calls_billed"]
    return manifest, out


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["ended", "cut off"])
def test_a_run_that_loses_a_node_goes_on_on_the_one_that_is_left(tmp_path, undisturbed, capsys, how):
    """Though the nodes that are left have no CPU free, and with what was paid for counted as the server counts it."""
    whole, folder = undisturbed
    provider, ended = lose_the_node(tmp_path / "run", how)
    assert ended["code"] == 0, ended["error"]
    manifest = read_manifest(tmp_path / "run")
    assert manifest["status"] == "complete"
    for key in ("trace_hashes", "world_hashes", "asks", "messages", "calls_billed", "tokens_in", "tokens_out"):
        assert manifest[key] == whole[key], key
    same_tables(tmp_path / "run", folder)
    assert provider.done
    twice = provider.twice()
    assert provider.calls - manifest["calls_billed"] == len(twice) <= provider.done[0].slots
    assert provider.far_from_a_kill() == []
    assert manifest["lost"]
    back_s = Clock(ticks=[tuple(one) for one in ended["ticks"]]).back_s(provider.done[0], provider.done)
    with capsys.disabled():
        print(
            f"\n{how.name}: back after {back_s:.1f} s; billed {provider.calls}, twice {len(twice)}, in flight "
            f"{provider.done[0].slots}; {manifest['lost']} {ended['notes']}"
        )
    assert back_s <= BACK_S


def test_control_agents_that_come_back_empty_are_noticed(tmp_path, undisturbed):
    _, ended = lose_the_node(tmp_path / "run", signal.SIGKILL, "forgetting")
    assert ended["code"] or read_manifest(tmp_path / "run")["trace_hashes"] != undisturbed[0]["trace_hashes"]
