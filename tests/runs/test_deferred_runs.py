"""Runs whose asks go in batches: what they come to, and what is paid for however they are killed."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from support.chaos import Command, resume_here, run_here
from support.deferring import ASKERS, Killing, arguments, options

import populace
from populace.cluster.local import LocalTransport
from populace.models.dispatch.retry import Pending
from populace.runs.estimate import expect
from populace.store.journal.batches import KeptBatches
from populace.store.manifest import read_manifest
from populace.testing.batch_server import BatchAct, BatchEndpoint
from populace.testing.endpoint import Asked, placebo_answer


@pytest.fixture(scope="module")
def directly(tmp_path_factory):
    """The run that all others must come to: its manifest, and what its endpoint billed."""
    with BatchEndpoint() as server:
        out = tmp_path_factory.mktemp("directly") / "run"
        manifest = run_here(out, ASKERS, **options(server, batches=False))
        assert len(server.seen) == manifest["asks"]["made"] == 24
        assert not server.batches
    return manifest


@pytest.mark.parametrize("shards", [1, 2])
def test_a_run_in_batches_is_the_run_with_direct_calls_at_half_the_price(tmp_path, directly, shards) -> None:
    with BatchEndpoint() as server:
        manifest = run_here(tmp_path / "run", ASKERS, **options(server, shards=shards))
        assert server.seen == []
        assert set(server.paid.values()) == {1}
        assert len(server.paid) == 24
        assert len(server.batches) == 6 * shards, "one a round of asks and shard: three asks a turn, two ticks"
    assert manifest["status"] == "complete"
    assert manifest["trace_hashes"] == directly["trace_hashes"]
    assert manifest["calls_billed"] == 24
    assert manifest["cost_usd"] == pytest.approx(directly["cost_usd"] / 2)
    assert manifest["tokens_in"] == directly["tokens_in"]
    replayed = populace.replay(tmp_path / "run", quiet=True)  # its server is gone
    assert replayed.diverged is None
    assert replayed.asks == 24


MOMENTS = ["uploading", "uploaded", "created", "polled", "fetching"]


def test_a_run_that_is_killed_at_each_moment_pays_for_every_ask_once(tmp_path, directly) -> None:
    killing, out = Killing(), tmp_path / "run"
    with BatchEndpoint(passing=killing, usual=BatchAct(takes_s=0.3)) as server:
        args = ["run", ASKERS, "--out", str(out), "--seed", "7", *arguments(server, shards=2, endpoint__timeout_s=1.0)]
        for moment in MOMENTS:
            killing.moment = moment
            killing.victim = Command(*args, cwd=tmp_path)
            assert killing.victim.wait() == -signal.SIGKILL, (moment, killing.victim.errors, killing.victim.out)
            args = ["resume", str(out)]
        killing.victim = None
        manifest = resume_here(out, shards=1)
        assert manifest["status"] == "complete"
        assert manifest["attempt"] == len(MOMENTS)
        assert len(server.paid) == 24
        assert set(server.paid.values()) == {1}
        assert server.seen == []
    assert manifest["trace_hashes"] == directly["trace_hashes"]
    assert manifest["calls_billed"] == 24
    assert manifest["cost_usd"] == pytest.approx(directly["cost_usd"] / 2)


class Interrupting:
    """Ends a run as its server passes a moment for the `nth` time."""

    def __init__(self, moment: str = "polled", nth: int = 1) -> None:
        self.moment, self.left = moment, nth
        self.coordinator: Any = None

    def __call__(self, what: str) -> None:
        if what == self.moment and self.coordinator is not None:
            self.left -= 1
            if not self.left:
                self.coordinator.stop()


def go_on(server: BatchEndpoint) -> None:
    """From now on its batches end."""
    server.acts, server.usual = [], BatchAct()
    for batch in server.batches:
        batch.act = server.usual


@pytest.mark.parametrize("remembers", [True, False])
def test_a_run_that_is_ended_leaves_its_batch_out_and_takes_it_up(tmp_path, directly, monkeypatch, remembers) -> None:
    import asyncio

    from support.running import settings_of

    from populace.cluster.coordinator import Coordinator
    from populace.core.errors import Interrupted
    from populace.data.societies import find_society

    ending, out = Interrupting(), tmp_path / "run"
    with BatchEndpoint(passing=ending, usual=BatchAct(stuck=True)) as server:
        settings = settings_of(**options(server))
        coordinator = Coordinator(find_society(ASKERS), settings, LocalTransport(), out)
        ending.coordinator = coordinator
        with pytest.raises(Interrupted):
            asyncio.run(coordinator.run())
        stopped = read_manifest(out)
        assert stopped["calls_billed"] == 0
        assert len(server.batches) == 1, "what was out stays out, and nothing more is sent"
        assert not server.batches[0].cancelled
        go_on(server)
        if not remembers:
            monkeypatch.setattr(KeptBatches, "read", lambda _: [])
        manifest = resume_here(out)
        assert len(server.batches) == (6 if remembers else 7)
        for batch in server.batches:
            server._shown(batch)
        counts = sorted(set(server.paid.values()))
        assert counts == ([1] if remembers else [1, 2]), "the control pays twice for what it has forgotten"
    assert manifest["trace_hashes"] == directly["trace_hashes"]
    assert manifest["asks"]["made"] == 24


def needs_a_repair(asked: Asked) -> str:
    """What is no answer to a question of a type, until it is asked again."""
    return "what?" if asked.schema is not None and len(asked.messages) < 3 else placebo_answer(asked)


@pytest.mark.parametrize("forgets", [True, False])
def test_calls_of_an_ask_that_a_stop_left_half_repaired_are_counted_once(tmp_path, monkeypatch, forgets) -> None:
    import asyncio

    from support.running import settings_of

    from populace.cluster.coordinator import Coordinator
    from populace.core.errors import Interrupted
    from populace.data.societies import find_society

    if not forgets:
        monkeypatch.setattr(Pending, "forget_bills", lambda _: None)
    ending, out = Interrupting("uploaded", 2), tmp_path / "run"
    with BatchEndpoint(answer=needs_a_repair, passing=ending, acts=[BatchAct(), BatchAct(stuck=True)]) as server:
        coordinator = Coordinator(find_society(ASKERS), settings_of(**options(server)), LocalTransport(), out)
        ending.coordinator = coordinator
        with pytest.raises(Interrupted):
            asyncio.run(coordinator.run())
        ending.coordinator = None
        go_on(server)
        manifest = resume_here(out)
        for batch in server.batches:
            server._shown(batch)
        assert set(server.paid.values()) == {1}
    assert manifest["status"] == "complete"
    assert (manifest["calls_billed"] == server.billed.calls) == forgets
    assert (manifest["tokens_in"] == server.billed.tokens_in) == forgets


def test_surveys_and_pilots_ask_directly(tmp_path) -> None:
    from support.running import settings_of

    from populace.data.societies import find_society

    with BatchEndpoint() as server:
        settings = settings_of(**options(server, agents=40, ticks=4))
        expected = expect(find_society(ASKERS), settings, agents=4, ticks=2)
        assert server.batches == []
        assert len(server.seen) == 24
        direct = expect(find_society(ASKERS), settings_of(**options(server, batches=False, agents=40, ticks=4)),
                        agents=4, ticks=2)  # fmt: skip
    assert expected.estimate.usd.mid == pytest.approx(direct.estimate.usd.mid / 2)
    assert expected.pilot.cost_usd == pytest.approx(direct.pilot.cost_usd)
    assert any("batch" in note for note in expected.notes)
