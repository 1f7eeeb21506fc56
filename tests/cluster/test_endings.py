"""However a run ends, its manifest agrees with the server's own count, its tables with its manifest, and it goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.endings import (
    AT_CALL,
    TICKS,
    HoldingOne,
    Server,
    agree,
    options_of,
    stopped_at,
    stopped_when_quiet,
    transport_of,
    undisturbed,  # noqa: F401 - a fixture
)
from support.misbehaving import NO_QUOTA, Act, Seen
from support.running import SOCIETIES, settings_of

from populace.cluster.coordinator import Coordinator
from populace.cluster.host import ShardHost
from populace.cluster.local import LocalTransport
from populace.cluster.loop import TickLoop
from populace.core.errors import BudgetSpent, Interrupted, ModelError, PopulaceError, RunFailed
from populace.core.records import Counts
from populace.data.societies import find_society
from populace.kernel.shard import Shard
from populace.runs.courses import resume_course
from populace.store.checkpoint.generations import latest
from populace.store.manifest import read_manifest

WAYS = ("signal", "budget", "fatal", "turns")


def end_early(way: str, out: Path, transport: Any, shards: int, ceiling: int = 0) -> Server:
    """Run until this ends it; the server has counted."""

    def act(seen: Seen) -> Act | None:
        return NO_QUOTA if way == "fatal" and seen.nth == AT_CALL else None

    with Server(act) as server:
        options = options_of(server, shards)
        if way == "budget":
            options["budget__tokens"] = ceiling
        if way == "turns":
            options["limits__failed_turns"] = 0.0
        coordinator = Coordinator(find_society(SOCIETIES), settings_of(**options), transport, out)
        wanted: dict[str, type[PopulaceError]] = {"signal": Interrupted, "budget": BudgetSpent, "fatal": ModelError}
        with pytest.raises(wanted.get(way, RunFailed)):
            asyncio.run(stopped_at(coordinator, server, AT_CALL if way == "signal" else 10**9))
    return server


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("kind", "shards"),
    [
        ("local", 1),
        ("local", 3),
        pytest.param("ray", 3, marks=pytest.mark.ray),
        pytest.param("ray", 1, marks=[pytest.mark.ray, pytest.mark.chaos]),
    ],
)
def test_manifest_tables_and_checkpoint_agree_with_the_server(tmp_path, request, undisturbed, way, kind, shards):  # noqa: F811
    """And so they do when the run has gone on to its end: what was paid for in either life is in its manifest."""
    if kind == "ray":
        request.getfixturevalue("ray_cluster")
    ceiling = (undisturbed["tokens_in"] + undisturbed["tokens_out"]) * 3 // 5
    server = end_early(way, tmp_path, transport_of(kind), shards, ceiling)
    manifest = agree(tmp_path, server)
    assert 0 < manifest["ticks"] < TICKS
    assert manifest["trace_hashes"] == undisturbed["trace_hashes"][: manifest["ticks"]]
    saved = latest(tmp_path / "checkpoints")
    assert saved is not None
    assert saved.tick == manifest["ticks"], "the last whole tick is saved"
    with Server() as again:
        changes = {"endpoint__base_url": again.base_url, "limits__failed_turns": 1.0}
        if way == "budget":
            changes["budget__tokens"] = 10**9
        going = resume_course(tmp_path, **changes)
        asyncio.run(Coordinator(going.origin, going.settings, transport_of(kind), tmp_path, (), going.course).run())
    resumed = agree(tmp_path, server, again)
    assert resumed["began_at_tick"] == manifest["ticks"]
    assert resumed["trace_hashes"] == undisturbed["trace_hashes"]


def test_control_without_the_grace_calls_are_paid_for_and_not_counted(tmp_path, monkeypatch):
    async def at_once(_self: TickLoop, _grace_s: float) -> Counts:
        return Counts()

    async def closing(host: ShardHost, close: Any = ShardHost.close) -> None:
        server.let_go.set()  # its books are closed
        await close(host)

    monkeypatch.setattr(TickLoop, "_wind_down", at_once)
    monkeypatch.setattr(ShardHost, "close", closing)
    with HoldingOne(AT_CALL) as server:
        coordinator = Coordinator(
            find_society(SOCIETIES), settings_of(**options_of(server, 3)), LocalTransport(), tmp_path
        )
        with pytest.raises(Interrupted):
            asyncio.run(stopped_at(coordinator, server, AT_CALL + 1))
    assert server.billed.calls > read_manifest(tmp_path)["calls_billed"]


def test_control_without_what_closed_shards_were_billed_the_manifest_hides_calls(tmp_path, monkeypatch):
    """The tick that is abandoned has ended on some shards: what they were billed for it counts all the same."""
    real = Shard._end_run

    def forgets(self: Shard, event: Any) -> Any:
        return real(self, type(event)(event.envelope, None))

    def play(out: Path) -> int:
        """How many calls the manifest hides, when a run is stopped while all shards but one wait for that one."""
        with HoldingOne(60) as server:
            coordinator = Coordinator(
                find_society(SOCIETIES), settings_of(**options_of(server, 3)), LocalTransport(), out
            )
            with pytest.raises(Interrupted):
                asyncio.run(stopped_when_quiet(coordinator, server))
        return server.billed.calls - read_manifest(out)["calls_billed"]

    assert play(tmp_path / "right") == 0
    monkeypatch.setattr(Shard, "_end_run", forgets)
    assert play(tmp_path / "wrong") > 0
