"""What a lost shard had paid for is in the manifest, however the run ends, by purpose too: the server's own count.

One ask is not answered until all other calls have ended, so that a loss meets no call that is being paid for.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.chaos import name_of
from support.endings import (
    AT_CALL,
    Server,
    agree,
    options_of,
    quiet,
    stopped_at,
    undisturbed,  # noqa: F401 - a fixture
)
from support.misbehaving import HANG, Act, Misbehaving, Seen
from support.running import SOCIETIES, settings_of

from populace.cluster.coordinator import Coordinator
from populace.cluster.job import Job
from populace.cluster.local import LocalTransport
from populace.cluster.transport import Opened
from populace.core.errors import ActorLost, Interrupted
from populace.core.records import Counts
from populace.data.societies import find_society
from populace.kernel.barrier import ShardDone
from populace.kernel.bus import Envelope
from populace.kernel.events import RunDone, TickDone
from populace.runs.courses import resume_course


class Waiting(Server):
    """One ask hangs, each time it is made, until `losses` shards were lost."""

    def __init__(self, losses: int) -> None:
        super().__init__(self._hold)
        self.losses = losses
        self.held = 0
        self._name: bytes | None = None

    def _hold(self, seen: Seen) -> Act | None:
        assert seen.body is not None
        first_try = all(one["role"] != "assistant" for one in seen.body["messages"])
        if self._name is None and seen.nth >= AT_CALL and first_try:
            self._name = name_of(seen)
        if self._name != name_of(seen) or self.held == self.losses:
            return None
        self.held += 1
        return HANG


class Losing(LocalTransport):
    """Loses the shard whose tick is open, in this process, with all that it had not told."""

    def __init__(self) -> None:
        super().__init__()
        self._killed = asyncio.Event()
        self._open: set[int] = set()
        self._lost: set[int] = set()

    def others_are_done(self) -> bool:
        return len(self._open) == 1

    def kill(self) -> None:
        (lost,) = self._open
        self._lost = {lost}
        self._killed.set()

    async def start(self, job: Job) -> Opened:
        self._killed, self._open, self._lost = asyncio.Event(), set(), set()
        return await super().start(job)

    async def open_tick(self, shard: int, tick: int, envelope: Envelope) -> tuple[ShardDone, TickDone]:
        self._open.add(shard)
        running = asyncio.ensure_future(super().open_tick(shard, tick, envelope))
        killed = asyncio.ensure_future(self._killed.wait())
        try:
            await asyncio.wait([running, killed], return_when=asyncio.FIRST_COMPLETED)
            if shard in self._lost:
                raise self._loss(shard)
            return await running
        finally:
            self._open.discard(shard)
            killed.cancel()
            running.cancel()

    async def wind_down(self, grace_s: float) -> Counts:
        """A lost shard tells nothing, and waits for nothing."""
        hosts = self.hosts
        self.hosts = [host for host in hosts if host.shard.plan.index not in self._lost]
        try:
            return await super().wind_down(grace_s)
        finally:
            self.hosts = hosts

    async def end(self, shard: int, envelope: Envelope, tick: int) -> RunDone:
        if shard in self._lost:
            raise self._loss(shard)
        return await super().end(shard, envelope, tick)

    @staticmethod
    def _loss(shard: int) -> ActorLost:
        return ActorLost([f"shard {shard}"], "its process was killed")


async def lost(coordinator: Coordinator, transport: Losing, server: Waiting) -> dict[str, Any]:
    """Run; the shard whose ask hangs is lost as often as the server waits for, each time in the same tick."""
    running = asyncio.ensure_future(coordinator.run())
    for n in range(server.losses):
        while not running.done() and server.held <= n:
            await asyncio.sleep(0.02)
        await quiet(running, server)
        while not running.done() and not transport.others_are_done():
            await asyncio.sleep(0.02)
        if not running.done():
            transport.kill()
    return await running


class StopAtLoss:
    """Stops the run as soon as it goes back for a loss."""

    coordinator: Coordinator

    def begin(self, *_: object) -> None: ...
    def pulse(self, _: object) -> None: ...
    def end(self, *_: object) -> None: ...
    def tick(self, _: object) -> None: ...

    def note(self, text: str) -> None:
        if text.startswith(("continuing from tick", "starting again from tick")):
            self.coordinator.stop()


def go_on(out: Path, server: Misbehaving, transport: Any) -> dict[str, Any]:
    going = resume_course(out, endpoint__base_url=server.base_url)
    coordinator = Coordinator(going.origin, going.settings, transport, out, (), going.course)
    return asyncio.run(coordinator.run())


@pytest.mark.parametrize(
    ("losses", "stops"), [(1, False), (1, True), (3, False)], ids=["recovered", "stopped on its way", "three losses"]
)
def test_what_a_lost_shard_had_on_record_is_in_the_manifest(tmp_path, undisturbed, losses, stops):  # noqa: F811
    transport, stopper = Losing(), StopAtLoss()
    with Waiting(losses) as server:
        settings = settings_of(**options_of(server, 3))
        observers = [stopper] if stops else []
        coordinator = stopper.coordinator = Coordinator(
            find_society(SOCIETIES), settings, transport, tmp_path, observers
        )
        if losses == 3:
            with pytest.raises(ActorLost, match="It is the third time") as ended:
                asyncio.run(lost(coordinator, transport, server))
            assert ended.value.exit_code == 5
        elif stops:
            with pytest.raises(Interrupted):
                asyncio.run(lost(coordinator, transport, server))
        else:
            asyncio.run(lost(coordinator, transport, server))
    manifest = agree(tmp_path, server)
    assert len(manifest["lost"]) == losses
    assert manifest["status"] == ("complete" if losses == 1 and not stops else "interrupted" if stops else "failed")
    if manifest["status"] == "complete":
        assert manifest["trace_hashes"] == undisturbed["trace_hashes"]
        return
    with Server() as again:
        resumed = go_on(tmp_path, again, LocalTransport())
    agree(tmp_path, server, again)
    assert resumed["trace_hashes"] == undisturbed["trace_hashes"]


@pytest.mark.parametrize("manifest_is_there", [True, False])
def test_what_a_life_before_had_on_record_is_in_the_manifest(tmp_path, undisturbed, manifest_is_there):  # noqa: F811
    """With no manifest it is as after a kill: the journal alone tells what was paid."""

    with Server() as server:
        first = Coordinator(find_society(SOCIETIES), settings_of(**options_of(server, 3)), LocalTransport(), tmp_path)
        with pytest.raises(Interrupted):
            asyncio.run(stopped_at(first, server, AT_CALL))
    far = agree(tmp_path, server)["ticks"]
    shutil.rmtree(tmp_path / "checkpoints")
    if not manifest_is_there:
        (tmp_path / "manifest.json").unlink()
    stopper = StopAtLoss()
    with Server() as second:
        going = resume_course(tmp_path, endpoint__base_url=second.base_url)
        stopper.coordinator = Coordinator(
            going.origin, going.settings, LocalTransport(), tmp_path, [stopper], going.course
        )
        with pytest.raises(Interrupted):
            asyncio.run(stopper.coordinator.run())
    manifest = agree(tmp_path, server, second)
    assert manifest["attempt"] == 1
    assert manifest["ticks"] == far if manifest_is_there else manifest["ticks"] < far
    with Server() as again:
        resumed = go_on(tmp_path, again, LocalTransport())
    agree(tmp_path, server, second, again)
    assert resumed["trace_hashes"] == undisturbed["trace_hashes"]
