"""Turns out of order against a real HTTP server whose answers take log-normal times: who is open, and who is killed.

`pytest -m chaos tests/cluster/test_ahead_killed.py -s` kills by twenty seeds, over one to three shards.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import re
import signal
from collections import Counter
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
from aiohttp import web
from support.attempts import go, same_tables
from support.chaos import Command, Provider, name_of, options_of, resume_here, run_here, run_on_ray
from support.misbehaving import Act, Seen

from populace.kernel.ahead import Ahead
from populace.runs.courses import fork_course
from populace.store.manifest import read_manifest

GOSSIPS = str(Path(__file__).parent.parent / "support" / "gossips.py")
AGENTS, TICKS = 24, 8
CALLS = AGENTS * TICKS
BARRIER = {"limits__ticks_ahead": 0}
MEDIAN_S, SIGMA, LONGEST_S, PATIENCE_S = 0.02, 1.0, 0.3, 60.0


class Uneven(Provider):
    """Answers after log-normal times, drawn from the call's content, and knows of which ticks calls are open.

    The first call of agent 0 in tick `holding` is answered once one has arrived of a tick that is two later, or after a
    long time; it strikes only while calls that far apart are open.
    """

    def __init__(self, *args: Any, holding: int = -1, **options: Any) -> None:
        super().__init__(*args, **options)
        self.holding = holding
        self.open_ticks: Counter[int] = Counter()
        self.spread = 0
        self.most_spread = 0
        self.released = asyncio.Event()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        found = re.search(r"tick (\d+): agent (\d+),", await request.text())
        assert found is not None
        tick, agent = map(int, found.groups())
        self.open_ticks[tick] += 1
        self.spread = tick - min(+self.open_ticks)
        self.most_spread = max(self.most_spread, self.spread)
        try:
            response = await super()._handle(request)
            if (tick, agent) == (self.holding, 0):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.released.wait(), PATIENCE_S)
            return response
        finally:
            self.open_ticks[tick] -= 1

    def _act_on(self, seen: Seen) -> Act:
        if self.spread >= 2:
            if self.planned and seen.nth >= self.planned[0][0]:
                self._strike(self.planned[0][1])
            if not self.planned:
                self.released.set()
        share = (int.from_bytes(name_of(seen)[:4], "big") + 0.5) / 2**32
        latency_s = MEDIAN_S * math.exp(SIGMA * NormalDist().inv_cdf(share))
        return Act(latency_s=min(self.stretch * latency_s, LONGEST_S))


def options(provider: Uneven, **more: Any) -> dict[str, Any]:
    return options_of(
        provider, **{"agents": AGENTS, "ticks": TICKS, "endpoint__concurrency": AGENTS, "shards": 1, **more}
    )


@pytest.fixture(scope="module")
def barrier(tmp_path_factory: Any) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("barrier")
    with Uneven() as provider:
        manifest = run_here(out, GOSSIPS, **options(provider, **BARRIER))
        assert provider.most_spread == 0
        assert provider.calls == CALLS
    return manifest, out


def same(out: Path, barrier: tuple[dict[str, Any], Path]) -> None:
    manifest = read_manifest(out)
    assert manifest["status"] == "complete"
    for key in ("trace_hashes", "world_hashes", "turns", "messages", "asks", "calls_billed"):
        assert manifest[key] == barrier[0][key], key
    same_tables(out, barrier[1])


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_calls_of_several_ticks_are_open_at_once_and_the_run_is_the_same(
    tmp_path: Path, barrier: Any, shards: int
) -> None:
    with Uneven(holding=1) as provider:
        run_here(tmp_path, GOSSIPS, **options(provider, shards=shards))
        assert provider.most_spread >= 2, "calls of a tick were open while one of two ticks before was"
        assert provider.calls == CALLS
    same(tmp_path, barrier)


def test_control_turns_that_begin_one_dependency_early_are_caught(
    tmp_path: Path, barrier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = Ahead.__init__

    def hasty(self: Ahead, *args: Any, **named: Any) -> None:
        init(self, *args, **named)
        self._needs[self._needs > 1] -= 1

    monkeypatch.setattr(Ahead, "__init__", hasty)
    monkeypatch.setattr(Ahead, "_check", lambda *_: None)
    with Uneven() as provider:
        other = run_here(tmp_path, GOSSIPS, **options(provider, shards=2))
    assert other["trace_hash"] != barrier[0]["trace_hash"]


def ended_elsewhere(out: Path, cwd: Path, how: signal.Signals, shards: int, nth: int = 70) -> tuple[Uneven, int]:
    """A run of the command line that a signal ends while calls of several ticks are open, and is then resumed here."""
    with Uneven([(nth, "the driver")], how=how, holding=nth // AGENTS) as provider:
        args = ["run", GOSSIPS, "--out", str(out), "--seed", "7", "--set", "limits.failed_turns=1.0"]
        for key, value in options(provider, shards=shards).items():
            args += ["--set", f"{key.replace('__', '.')}={value}"]
        command = Command(*args, cwd=cwd)
        provider.victims = lambda _: ([command.process.pid], [])
        code = command.wait()
        assert provider.done, command.errors
        if how == signal.SIGKILL:
            assert code == -9
            assert not (out / "manifest.json").exists()
        else:
            stopped = read_manifest(out)
            assert stopped["status"] == "interrupted"
            assert stopped["calls_billed"] == provider.calls, "of the calls in flight none is forgotten"
        ended = provider.calls
        resume_here(out, endpoint__base_url=provider.base_url)
        return provider, ended


@pytest.mark.parametrize("shards", [1, 2])
def test_a_run_that_is_killed_with_several_ticks_open_pays_twice_for_no_more_than_was_in_flight(
    tmp_path: Path, barrier: Any, shards: int
) -> None:
    provider, _ = ended_elsewhere(tmp_path / "run", tmp_path, signal.SIGKILL, shards)
    same(tmp_path / "run", barrier)
    assert provider.calls - CALLS == len(provider.twice()) <= provider.done[0].slots
    assert provider.far_from_a_kill() == []


def test_an_interrupt_closes_all_open_ticks_and_what_is_saved_can_be_forked(tmp_path: Path, barrier: Any) -> None:
    """Calls in flight come to their end and are on record, of whichever tick, so that nothing is paid for twice."""
    provider, ended = ended_elsewhere(tmp_path / "run", tmp_path, signal.SIGINT, 2)
    assert 0 < ended < CALLS
    assert provider.twice() == []
    assert provider.calls == CALLS
    same(tmp_path / "run", barrier)
    with Uneven() as endpoint:
        fork = go(
            tmp_path / "fork",
            going=fork_course(tmp_path / "run", 6, [f"endpoint.base_url={endpoint.base_url}"], ()),
        )
        assert endpoint.calls == 0, "what the run asked is on record"
    assert fork is not None
    assert fork["trace_hashes"] == barrier[0]["trace_hashes"]


@pytest.mark.ray
def test_a_shard_on_ray_that_is_killed_with_several_ticks_open(tmp_path: Path, ray_cluster: Any, barrier: Any) -> None:
    with Uneven([(70, "shard 1")], holding=2) as provider:
        manifest, _ = run_on_ray(tmp_path / "run", provider, GOSSIPS, **options(provider, shards=2))
        assert provider.done
        assert provider.calls - CALLS == len(provider.twice()) <= provider.done[0].slots
    assert manifest["attempt"] == 1
    same(tmp_path / "run", barrier)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(20))
def test_kills_by_seed(tmp_path: Path, barrier: Any, seed: int) -> None:
    draw = random.Random(seed)
    provider, _ = ended_elsewhere(
        tmp_path / "run", tmp_path, signal.SIGKILL, draw.choice((1, 2, 3)), draw.randrange(10, CALLS - 72)
    )
    same(tmp_path / "run", barrier)
    assert provider.calls - CALLS == len(provider.twice()) <= provider.done[0].slots
    assert provider.far_from_a_kill() == []
