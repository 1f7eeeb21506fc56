"""Whole runs, with journal and checkpoints on the disk, over an in-process transport that loses, doubles and disorders.

The coordinator, the shards' runners and the files are the real ones; what fails is what a transport can fail at: a
call that is lost before or after it did its work, frames that are doubled, out of order or lost. (`test_simulator.py`
plays the same protocol in virtual time, where also messages come late and former lives go on.)
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.attempts import Counting, same_tables
from support.running import SOCIETIES, settings_of

from populace.cluster import host
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.draws import WORLD
from populace.core.errors import ActorLost, PopulaceError
from populace.data.societies import find_society
from populace.kernel import bus, environment, shard

TICKS, SHARDS, AGENTS = 4, 2, 20
LONG_SEEDS = 1000


def name(role: int) -> str:
    return "the world" if role == WORLD else f"shard {role}"


class Lossy(LocalTransport):
    """Loses whoever is called where `lost` says so by the number of a call (from 0) or by what it is called for.

    It says "before" or "after": whether the call has done its work.
    """

    def __init__(self, lost: dict[int | str, str], draw: random.Random | None = None) -> None:
        super().__init__()
        self.lost = lost
        self.draw = draw
        self.calls: list[str] = []
        self.dropped = 0
        self.doubled = 0

    async def _call(self, what: str, role: int, call: Callable[[], Awaitable[Any]], *, again: bool = False) -> Any:
        fate = self.lost.get(len(self.calls), self.lost.get(what, ""))
        self.calls.append(what)
        if fate == "before":
            raise ActorLost([name(role)], f"lost before {what}")
        while self.draw is not None and self.draw.random() < 0.5:
            await asyncio.sleep(0)
        reply = await call()
        if fate == "after":
            raise ActorLost([name(role)], f"lost after {what}")
        if again and self.draw is not None and self.draw.random() < 0.05:
            self.doubled += 1
            reply = await call()  # the order came twice, and the first reply was lost
        return reply

    def _carried(self, parcels: list[Any]) -> list[Any]:
        """The parcels as they arrive: 5 % twice, 5 % out of order, 1 % never."""
        if self.draw is None:
            return parcels
        arrived = []
        for parcel in parcels:
            if self.draw.random() < 0.01:
                self.dropped += 1
                continue
            arrived += [parcel] * (1 + (self.draw.random() < 0.05))
        if self.draw.random() < 0.05:
            self.draw.shuffle(arrived)
        return arrived

    async def start(self, job):
        return await self._call("start", WORLD, lambda: super(Lossy, self).start(job))

    async def restore(self, state):
        return await self._call("restore", WORLD, lambda: super(Lossy, self).restore(state))

    async def export(self, tick, whole):
        return await self._call("export", WORLD, lambda: super(Lossy, self).export(tick, whole))

    async def write(self, number):
        return await self._call("write", WORLD, lambda: super(Lossy, self).write(number))

    async def open_tick(self, shard, tick, envelope):
        arrived = replace(envelope, parcels=self._carried(envelope.parcels))
        call = lambda: super(Lossy, self).open_tick(shard, tick, arrived)  # noqa: E731
        return await self._call(f"open tick {tick} on shard {shard}", shard, call, again=True)

    async def close_tick(self, tick, envelope):
        carried = [(reports, self._carried(frames)) for reports, frames in self._carried(envelope.parcels)]
        arrived = replace(envelope, parcels=carried)
        call = lambda: super(Lossy, self).close_tick(tick, arrived)  # noqa: E731
        return await self._call(f"close tick {tick}", WORLD, call, again=True)

    async def end(self, shard, envelope, tick):
        arrived = replace(envelope, parcels=self._carried(envelope.parcels))
        call = lambda: super(Lossy, self).end(shard, arrived, tick)  # noqa: E731
        return await self._call(f"end shard {shard}", shard, call, again=True)


def run(out: Path, transport: LocalTransport, every: int = 2) -> dict[str, Any]:
    settings = settings_of(ticks=TICKS, shards=SHARDS, agents=AGENTS, checkpoint__every_ticks=every)
    return asyncio.run(Coordinator(find_society(SOCIETIES), settings, transport, out).run())


@pytest.fixture(scope="module", autouse=True)
def no_syncs():
    """No machine is lost here, so nothing has to wait for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(os, "fdatasync", lambda _: None)
        yield


@pytest.fixture
def asked(monkeypatch) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    built = host.build_gateway
    monkeypatch.setattr(host, "build_gateway", lambda *args, **options: Counting(built(*args, **options), found))
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[dict[str, Any], Path, list[str]]:
    out, transport = tmp_path_factory.mktemp("whole"), Lossy({})
    return run(out, transport), out, transport.calls


def same_run(manifest: dict[str, Any], out: Path, whole: tuple[dict[str, Any], Path, list[str]]) -> None:
    assert manifest["trace_hashes"] == whole[0]["trace_hashes"]
    for key in ("messages", "asks", "actions", "turns", "turns_failed", "calls_billed", "tokens_in", "tokens_out"):
        assert manifest[key] == whole[0][key], key
    same_tables(out, whole[1])


def lose_at_each_call(tmp_path: Path, whole: Any, asked: list[Any], fates: tuple[str, str]) -> None:
    """Lose somebody at each call in turn, one way at even calls and another at odd ones."""
    calls = whole[2]
    assert {call.split()[0] for call in calls} == {"start", "open", "close", "export", "write", "end"}
    for at in range(1, len(calls)):
        asked.clear()
        out, when = tmp_path / str(at), fates[at % 2]
        manifest = run(out, Lossy({at: when}))
        same_run(manifest, out, whole)
        assert len(manifest["lost"]) == 1
        assert manifest["attempt"] == 1
        assert len(asked) == len(set(asked)) == manifest["asks"]["made"], f"paid twice after a loss {when} {calls[at]}"


def test_a_loss_at_any_call_changes_nothing_and_nothing_is_paid_twice(tmp_path, whole, asked):
    lose_at_each_call(tmp_path, whole, asked, ("before", "after"))


@pytest.mark.chaos
def test_a_loss_at_any_call_the_other_way_round(tmp_path, whole, asked):
    lose_at_each_call(tmp_path, whole, asked, ("after", "before"))


def test_the_third_loss_of_one_shard_ends_the_run_with_the_story_of_each(tmp_path):
    with pytest.raises(ActorLost, match=r"shard 1 was lost.*It is the third time") as caught:
        run(tmp_path, Lossy({"open tick 1 on shard 1": "before"}))
    assert str(caught.value).count("lost before open tick 1 on shard 1") == 4


def play(seed: int, out: Path, whole: tuple[dict[str, Any], Path, list[str]]) -> str:
    """One seed: up to three losses at any calls, and a transport that drops, doubles and disorders."""
    draw = random.Random(f"losses {seed}")
    calls = [draw.randrange(1, 2 * len(whole[2])) for _ in range(draw.randrange(4))]
    lost: dict[int | str, str] = {call: draw.choice(["before", "after"]) for call in calls}
    transport = Lossy(lost, draw)
    try:
        manifest = run(out, transport)
    except ActorLost as error:
        if "It is the third time" not in str(error) or len(lost) + transport.dropped < 3:
            raise AssertionError(f"seed {seed}: lost for no reason") from error
        return "clean failure: ActorLost"
    assert len(manifest["lost"]) <= len(lost) + transport.dropped, f"seed {seed}: lost for no reason"
    same_run(manifest, out, whole)
    return f"the same run after {len(manifest['lost'])} losses"


def test_seeds_of_everything_a_transport_can_fail_at(tmp_path, whole):
    ended = Counter(play(seed, tmp_path / str(seed), whole) for seed in range(20))
    assert ended["the same run after 0 losses"] < 15
    assert len(ended) > 3


def wrong(tmp_path: Path, whole: Any) -> int:
    n = 0
    for seed in range(12):
        try:
            play(seed, tmp_path / str(seed), whole)
        except (AssertionError, PopulaceError):
            n += 1
    return n


def test_control_without_deduplication_seeds_fail(tmp_path, whole, monkeypatch):
    for module in (shard, environment):
        monkeypatch.setattr(module, "distinct", lambda frames, tick, attempt: list(frames))
    assert wrong(tmp_path, whole) > 3


def test_control_without_the_count_of_messages_seeds_fail(tmp_path, whole, monkeypatch):
    for module in (shard, environment, bus):
        monkeypatch.setattr(module, "check_complete", lambda *_: None)
    assert wrong(tmp_path, whole) > 0


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_thousand_seeds(tmp_path, whole):
    ended = Counter(play(seed, tmp_path / str(seed), whole) for seed in range(LONG_SEEDS))
    print(f"\n{LONG_SEEDS} seeds: {dict(sorted(ended.items()))}")
