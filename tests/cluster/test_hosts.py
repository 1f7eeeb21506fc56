"""A run over several hosts, with a network between them: one is cut off, one is killed, one joins, one is to go.

`pytest -m chaos tests/cluster/test_hosts.py -s` prints what was done to whom and how long it took.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import on_hosts
from support.attempts import same_tables
from support.hosts import Hosts, why_not
from support.running import run_local

from populace.store.manifest import read_manifest

ROOT = Path(__file__).parents[2]
TOKEN = "t" * 40
OPTIONS: dict[str, Any] = {
    "agents": 60, "ticks": 60, "shards": 2, "checkpoint__every_ticks": 4,
}  # fmt: skip

pytestmark = [
    pytest.mark.ray,
    pytest.mark.chaos,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]


class Going:
    """A run on a host; `until` waits for a tick or a note and gives when it was."""

    def __init__(
        self, hosts: Hosts, number: int, out: Path, *scenario: str, latency_s: float = 0.3, **env: str
    ) -> None:
        options = {**OPTIONS, "model__latency__median_s": latency_s}
        command = [sys.executable, str(on_hosts.__file__), str(out), json.dumps(options), *scenario]
        self.out = out
        self._running = hosts.command(number, *command, cwd=out.parent, **env)
        self.lines: list[dict[str, Any]] = []

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        assert self._running.stdout is not None
        for line in self._running.stdout:
            if line.startswith("{"):
                self.lines.append(json.loads(line))
                if wanted(self.lines[-1]):
                    return self.lines[-1]
        pytest.fail(f"the run ended before: {self.lines[-3:]}\n{self.errors()}")

    def tick(self, tick: int) -> float:
        return float(self.until(lambda line: line.get("tick", -1) >= tick)["at_s"])

    @property
    def reached(self) -> int:
        return max((line.get("tick", 0) for line in self.lines), default=0)

    def ended(self) -> dict[str, Any]:
        return self.until(lambda line: "code" in line)

    def errors(self) -> str:
        return (self.out.parent / "errors.log").read_text()[-3000:]


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with Hosts(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN, PYTHONPATH=str(ROOT)) as made:
        yield made


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "run"
    return run_local(out, **{**OPTIONS, "shards": 1}), out


def same(out: Path, alone: tuple[dict[str, Any], Path]) -> dict[str, Any]:
    manifest = read_manifest(out)
    assert manifest["status"] == "complete"
    for key in ("trace_hashes", "world_hashes", "asks", "messages", "tokens_in", "tokens_out"):
        assert manifest[key] == alone[0][key], key
    same_tables(out, alone[1])
    return manifest


def test_hosts_are_cut_off_join_are_to_go_and_are_killed_and_the_run_is_the_same(tmp_path, hosts, alone, capsys):
    for number in range(3):
        assert hosts.add() == number
        hosts.start(number)
    run = Going(hosts, 0, tmp_path / "run", latency_s=1.0)
    table: list[tuple[str, float]] = []

    def done_to(what: str, act: Callable[[], object], wanted: Callable[[dict[str, Any]], bool] | None = None) -> None:
        """Do it; back is the first tick that is new, or the note that is wanted."""
        before, began_s = run.reached, time.monotonic()
        act()
        if wanted is not None:
            run.until(wanted)
        table.append((f"{what}, in tick {before}", run.tick(before + 1) - began_s))

    run.tick(5)
    done_to("host 2 is cut off", lambda: hosts.cut(2), lambda line: "going back" in line.get("note", ""))
    hosts.add()
    moving = lambda line: "moving to another place" in line.get("note", "")  # noqa: E731
    done_to("host 3 joins", lambda: hosts.start(3), moving)
    hosts.add()
    done_to("host 4 joins, host 3 is to go", lambda: (hosts.start(4), hosts.drain(3)), moving)
    done_to("host 1 is killed", lambda: hosts.kill(1), lambda line: "going back" in line.get("note", ""))
    ended = run.ended()
    assert ended["code"] == 0, ended["error"]
    manifest = same(tmp_path / "run", alone)
    assert len(manifest["lost"]) == 2, "moves are no losses"
    with capsys.disabled():
        print()
        for what, took_s in table:
            print(f"{what:60} {took_s:6.1f} s  {manifest['trace_hash'][:8]}")


def test_a_driver_beside_a_worker_runs_and_a_wrong_token_is_refused_and_named(tmp_path, hosts, alone):
    for number in range(2):
        hosts.add()
        hosts.start(number, cpus=2)
    hosts.add()
    with pytest.raises(RuntimeError, match=r"(?i)token|connect"):
        hosts.start(2, RAY_AUTH_TOKEN="w" * 40)
    refused = Going(hosts, 1, tmp_path / "refused", RAY_AUTH_TOKEN="w" * 40).ended()
    assert refused["code"] == 5
    assert "RAY_AUTH_TOKEN" in refused["error"]
    assert "w" * 40 not in refused["error"]
    assert TOKEN not in refused["error"]
    run = Going(hosts, 1, tmp_path / "run")
    assert run.ended()["code"] == 0
    same(tmp_path / "run", alone)
    assert TOKEN not in (tmp_path / "run" / "run.json").read_text()


def test_hosts_with_other_programs_are_named(tmp_path, hosts):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "asking.py").write_text(
        "from helping import name\n"
        "from populace import Agent, Population, Society\n"
        "class Citizen(Agent):\n    name: str\n    async def turn(self, ctx): ...\n"
        "def population(setup):\n    return Population({'name': [name] * setup.agents})\n"
        "society = Society(name='asking', agent=Citizen, population=population, ticks=1)\n"
    )
    (tmp_path / "here" / "helping.py").write_text("name = 'a'\n")
    society = str(tmp_path / "here" / "asking.py")
    other = tmp_path / "other"
    other.mkdir()
    (other / "helping.py").write_text("name = 'b'\n")
    for _ in range(2):
        hosts.add()
    hosts.start(0, cpus=2)
    hosts.start(1, cpus=2, over=(other, tmp_path / "here"))
    error = Going(hosts, 0, tmp_path / "run", society).ended()["error"]
    assert "10.77.0.2 has other programs" in error
    assert "helping.py is another" in error


def test_control_a_lost_host_whose_agents_come_back_empty_is_noticed(tmp_path, hosts, alone, monkeypatch):
    for number in range(2):
        hosts.add()
        hosts.start(number, cpus=2)
    run = Going(hosts, 0, tmp_path / "run", on_hosts.SOCIETIES, "forgetting")
    run.tick(5)
    hosts.signal(1, signal.SIGTERM)
    ended = run.ended()
    assert ended["code"] or read_manifest(tmp_path / "run")["trace_hashes"] != alone[0]["trace_hashes"]


def test_a_host_whose_processes_get_a_sigterm_leaves_and_the_run_goes_on(tmp_path, hosts, alone):
    for number in range(2):
        hosts.add()
        hosts.start(number, cpus=2)
    run = Going(hosts, 0, tmp_path / "run")
    run.tick(5)
    hosts.signal(1, signal.SIGTERM)
    assert run.ended()["code"] == 0
    assert same(tmp_path / "run", alone)["lost"]
