"""Whole runs under an account's limits: what holds is what the server saw and billed, whatever the shards."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from misbehaving import Misbehaving, RateLimit, slow
from running import run_local, settings_of

from populace.agents.llm.budget import Amount, ceiling
from populace.agents.llm.lease import Want
from populace.cluster.account import account_for
from populace.cluster.coordinator import Coordinator
from populace.core.errors import BudgetSpent
from populace.settings import Model
from populace.society import find_society

ASKERS = str(Path(__file__).parent / "askers.py")


def run_on_ray(out: Path, **options: Any) -> dict[str, Any]:
    from populace.cluster.ray_actors import RayTransport

    settings = settings_of(transport="ray", **options)
    return asyncio.run(Coordinator(find_society(ASKERS), settings, RayTransport(), out).run())


def asking(server: Misbehaving, **options: Any) -> dict[str, Any]:
    """The options of a run whose model is this server."""
    return {"model__kind": "openai", "model__base_url": server.base_url, "model__name": "test-model", **options}


def here(out: Path, **options: Any) -> dict[str, Any]:
    return run_local(out, ASKERS, **options)


TRANSPORTS = pytest.mark.parametrize(
    ("run", "shards"),
    [pytest.param(here, 5, id="local"), pytest.param(run_on_ray, 2, id="ray", marks=pytest.mark.ray)],
)


@pytest.fixture
def ray_if_used(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("ray"):
        request.getfixturevalue("ray_cluster")


@TRANSPORTS
def test_all_shards_keep_to_one_limit(tmp_path, ray_if_used, run, shards):
    limit = RateLimit(requests_per_minute=3000, tokens_per_minute=1e9, slack_s=1.0)
    with Misbehaving(limit=limit) as server:
        options = asking(server, agents=100, ticks=2, shards=shards)
        manifest = run(tmp_path, **options, model__throttle__requests_per_minute=3000.0)
        assert sum(seen.limited for seen in server.seen) == 0
        assert len(server.seen) == manifest["calls_billed"] == 200
        took_s = server.seen[-1].arrived_s - server.seen[0].arrived_s
    assert took_s > 200 / 50 - 1.5


@TRANSPORTS
@pytest.mark.parametrize("busy", ["all", "one"])
def test_all_shards_keep_to_one_budget_and_a_busy_one_may_use_it_up(tmp_path, ray_if_used, run, shards, busy):
    """Where only one shard asks, a share of its own would end at a half, or a fifth."""
    with Misbehaving(base=slow(0.02)) as server:
        options = asking(server, agents=50 * shards, ticks=100, shards=shards)
        options |= {"model__budget__tokens": 20_000, "model__max_tokens": 20}
        options["society"] = {"one_in": shards if busy == "one" else 1}
        with pytest.raises(BudgetSpent, match="raise"):
            run(tmp_path, **options)
        billed = server.billed.tokens_in + server.billed.tokens_out
    assert 0.8 * 20_000 < billed <= 20_000


def test_a_resumed_run_goes_on_under_the_same_ceiling():
    model = Model(kind="openai", name="m", budget={"tokens": 1000})
    account = account_for(model, Amount(900, 0))
    assert account is not None
    assert account.quota.ledger.room == ceiling(None, 1000) - Amount(900, 0)
    asked = Want(0, 0, 0, requests=1, tokens=50, head_tokens=50, money=Amount(101, 0), least_money=Amount(101, 0))
    assert account.exchange(asked).refused == "budget"
