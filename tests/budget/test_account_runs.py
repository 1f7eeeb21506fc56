"""Whole runs under an account's limits: what holds is what the server saw and billed, whatever the shards."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.asking import ASKERS, asking, here, run_on_ray
from support.command import populace
from support.misbehaving import Misbehaving, RateLimit, slow, status
from support.running import settings_of
from support.sections import sectioned

from populace.budget.amounts import Amount, ceiling
from populace.budget.lease import Want
from populace.budget.service import account_for
from populace.cluster.coordinator import Coordinator
from populace.core.errors import BudgetSpent, ModelError
from populace.data.societies import find_society
from populace.kernel.events import Answered, Effect, Event
from populace.kernel.tick import Tick
from populace.models.client import Client
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table


@pytest.fixture
def ray_if_used(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("ray"):
        request.getfixturevalue("ray_cluster")


@pytest.mark.parametrize(
    ("run", "shards"),
    [pytest.param(here, 5, id="local"), pytest.param(run_on_ray, 2, id="ray", marks=pytest.mark.ray)],
)
def test_all_shards_keep_to_one_limit(tmp_path, ray_if_used, run, shards):
    limit = RateLimit(requests_per_minute=6000, tokens_per_minute=1e9, slack_s=1.0)
    with Misbehaving(limit=limit) as server:
        options = asking(server, agents=100, ticks=2, shards=shards)
        manifest = run(tmp_path, **options, endpoint__requests_per_minute=6000.0)
        assert sum(seen.limited for seen in server.seen) == 0
        assert len(server.seen) == manifest["calls_billed"] == 200
        took_s = server.seen[-1].arrived_s - server.seen[0].arrived_s
    assert took_s > 200 / 100 - 1


@pytest.mark.parametrize(
    ("run", "shards", "busy"),
    [
        pytest.param(here, 5, "all", id="local, all busy"),
        pytest.param(here, 5, "one", id="local, one busy"),
        pytest.param(run_on_ray, 2, "one", id="ray, one busy", marks=pytest.mark.ray),
    ],
)
def test_all_shards_keep_to_one_budget_and_a_busy_one_may_use_it_up(tmp_path, ray_if_used, run, shards, busy):
    """Where only one shard asks, a share of its own would end at a half, or a fifth."""
    with Misbehaving(base=slow(0.02)) as server:
        options = asking(server, agents=50 * shards, ticks=100, shards=shards)
        options |= {"budget__tokens": 20_000, "model__max_tokens": 20}
        options["society"] = {"one_in": shards if busy == "one" else 1}
        with pytest.raises(BudgetSpent, match="raise"):
            run(tmp_path, **options)
        billed = server.billed.tokens_in + server.billed.tokens_out
    assert 0.8 * 20_000 < billed <= 20_000


def test_a_resumed_run_goes_on_under_the_same_ceiling():
    model = sectioned(kind="openai", name="m", budget={"tokens": 1000})
    account = account_for(model, Amount(900, 0))
    assert account is not None
    assert account.allowance.room == ceiling(None, 1000) - Amount(900, 0)
    asked = Want(0, 0, 0, requests=1, tokens=50, head_tokens=50, money=Amount(101, 0), least_money=Amount(101, 0))
    assert account.exchange(asked).refused == "budget"


def test_a_spent_budget_ends_a_run_as_itself_and_reaches_no_turn(tmp_path):
    """By the command line: exit code 8, tables of the whole ticks, and what to do next."""
    with Misbehaving(base=slow(0.01)) as server:
        args = ["run", ASKERS, "--model", "openai", "--agents", "40", "--ticks", "50", "--shards", "3", "--out", "out"]
        args += ["--set", f"endpoint.base_url={server.base_url}", "--set", "model.name=test-model"]
        args += ["--set", "model.max_tokens=20", "--set", "budget.tokens=9000"]
        done = populace(*args, cwd=tmp_path)
        billed = server.billed
    assert done.returncode == 8, done.stderr
    assert "budget.tokens" in done.stderr
    assert "resume" in done.stderr
    manifest = read_manifest(tmp_path / "out")
    assert manifest["status"] == "budget"
    assert manifest["error"] in done.stderr
    assert no_trace_of_the_end(tmp_path / "out", manifest)
    # What was in flight when the ceiling was reached was awaited in the shard that reached it, not in the others.
    assert billed.calls - 40 <= manifest["calls_billed"] <= billed.calls
    assert read_table(tmp_path / "out", "asks").num_rows == 40 * manifest["ticks"] > 0


def no_trace_of_the_end(out: Path, manifest: dict[str, Any]) -> bool:
    """Whether no turn and no table was told of the run's end as if it were a model's answer."""
    agents, asks = read_table(out, "agents"), read_table(out, "asks")
    ends = {"budget", "interrupted", "error"}
    told = {word for row in agents["reasons"].to_pylist() for word in row.split()}
    return not ends & (told | set(asks["reason"].to_pylist()) | set(manifest["asks"]["by_reason"]))


@pytest.mark.parametrize("end", ["budget", "key"])
def test_what_ends_a_run_is_no_data(tmp_path, monkeypatch, end):
    told: list[str] = []
    spy(monkeypatch, told)
    with Misbehaving(lambda seen: status(401) if end == "key" and seen.nth >= 60 else slow(0.01)) as server:
        budget = {"budget__tokens": 6000} if end == "budget" else {}
        with pytest.raises(BudgetSpent if end == "budget" else ModelError):
            here(tmp_path, **asking(server, agents=40, ticks=50, shards=2), **budget, model__max_tokens=20)
    assert no_trace_of_the_end(tmp_path, read_manifest(tmp_path))
    assert told == []


def test_control_a_gateway_that_hides_its_failure_is_noticed(tmp_path, monkeypatch):
    told: list[str] = []
    spy(monkeypatch, told)
    monkeypatch.setattr(Client, "failure", None)
    with Misbehaving(base=slow(0.01)) as server:
        budget = {"budget__tokens": 3000, "model__max_tokens": 20}
        manifest = here(tmp_path, **asking(server, agents=40, ticks=3, shards=2), **budget)
    assert not no_trace_of_the_end(tmp_path, manifest)
    assert set(told) == {"budget"}


def spy(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    """Note the reason of every abstention that a shard is about to tell a turn of."""
    handle = Tick.handle

    def noting(tick: Tick, event: Event) -> list[Effect]:
        if isinstance(event, Answered):
            told.extend(answer.reason for answer in event.answers if answer.settled == "abstained")
        return handle(tick, event)

    monkeypatch.setattr(Tick, "handle", noting)


@pytest.mark.ray
def test_a_lost_account_is_made_anew_with_what_was_spent(tmp_path, ray_cluster):
    from populace.cluster.ray import RayTransport

    class Killing(RayTransport):
        killed = False

        async def open_tick(self, shard, tick, *args):
            if tick == 2 and not self.killed:
                self.killed = True
                ray_cluster.kill(self._quota)
            return await super().open_tick(shard, tick, *args)

    with Misbehaving(base=slow(0.01)) as server:
        options = asking(server, agents=20, ticks=4, shards=2, budget__tokens=10_000, model__max_tokens=20)
        settings = settings_of(transport="ray", **options)
        transport = Killing()
        run = Coordinator(find_society(ASKERS), settings, transport, tmp_path / "there")
        there = asyncio.run(run.run())
        billed = server.billed.tokens_in + server.billed.tokens_out
        without = here(tmp_path / "here", **options)
    assert transport.killed
    assert there["trace_hash"] == without["trace_hash"]
    assert there["asks"]["answered"] == 80
    assert billed <= 10_000
