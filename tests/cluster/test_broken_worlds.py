"""A world whose code breaks while calls are in flight: what these bring is paid for, so it goes on record."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from support.endings import Server, agree, options_of, transport_of
from support.misbehaving import HANG, Act, slow
from support.running import settings_of

from populace.cluster import host, loop, saver
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import DiskFull, RunFailed, ScenarioError
from populace.data.societies import find_society
from populace.runs.courses import resume_course
from populace.store.folder import Store
from populace.store.manifest import read_manifest

SOCIETY = """
from pathlib import Path
from populace import Agent, Choice, Population, Public, Society, World
from populace.env import Part

class Oracle(Part):
    def advance(self, tick):
        assert tick != 1 or {breaks!r} != "world" or Path({mended!r}).exists(), "the oracle is broken"

class Asker(Agent):
    told: Public[int] = 0
    kept: object = None

    async def turn(self, ctx):
        await ctx.ask(f"agent {{ctx.id}} in tick {{ctx.tick}}", Choice("yes", "no"), purpose="mood")
        assert (ctx.id, ctx.tick, {breaks!r}) != (0, 1, "turn"), "the turn is broken"
        if (ctx.id, ctx.tick, {breaks!r}) == (0, 1, "field") and not Path({mended!r}).exists():
            self.kept = len

society = Society(
    name="oracle", agent=Asker, population=lambda setup: Population({{"told": [0] * setup.agents}}),
    world=lambda setup, people: World(Oracle()), influence=lambda opened: ([], []), size=8, ticks=3,
    outcomes={{"told": lambda w: w.columns["told"].sum()}},
)
"""
AGENTS = 8
LATE_S = 4.5
"""Longer than a run that is over waits for calls when nobody has ended them before."""
LATE = slow(LATE_S)


class Slow(Server):
    """Answers late in tick 2, and agent 0 in tick 1 only once all others are at tick 2: its world closes amid these."""

    def __init__(self, late: Act = LATE) -> None:
        super().__init__(lambda seen: late if "tick 2" in str(seen.body) else slow(0.01))
        self.begun = 0

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        prompt = (await request.read()).decode()
        self.begun += "tick 2" in prompt
        while "agent 0 in tick 1" in prompt and self.begun < AGENTS - 1:
            await asyncio.sleep(0.01)
        return await super()._handle(request)


def broken(place: Path, server: Server, transport: Any, breaks: str = "world") -> tuple[Path, Path]:
    """The folder of a run whose world has broken in tick 1, or is not to be saved after it; and what mends it."""
    mended, out = place / "mended", place / "run"
    with pytest.raises(ScenarioError, match=r"oracle.*the oracle is broken|kept of agent 0 cannot be saved"):
        asyncio.run(coordinated(place, server, transport, breaks, checkpoint__every_ticks=2).run())
    return out, mended


def coordinated(place: Path, server: Server, transport: Any, breaks: str = "world", **options: Any) -> Coordinator:
    scenario = place / "oracle.py"
    scenario.write_text(SOCIETY.format(mended=str(place / "mended"), breaks=breaks))
    options = {**options_of(server, 2), "endpoint__concurrency": 32, "agents": AGENTS, "ticks": 3, **options}
    return Coordinator(find_society(str(scenario)), settings_of(**options), transport, place / "run")


@pytest.mark.parametrize("kind", ["local", pytest.param("ray", marks=pytest.mark.ray)])
@pytest.mark.parametrize("breaks", ["world", "field"])
def test_calls_in_flight_as_the_world_breaks_are_not_paid_for_again(tmp_path, request, breaks, kind):
    if kind == "ray":
        request.getfixturevalue("ray_cluster")
    with Slow() as server:
        out, mended = broken(tmp_path, server, transport_of(kind), breaks)
        assert len(server.seen) >= 3 * AGENTS - 1, "agent 0 may come to tick 2 or not"
        assert agree(out, server)["status"] == "failed"
        mended.touch()
        going = resume_course(out)
        asyncio.run(Coordinator(going.origin, going.settings, transport_of(kind), out, (), going.course).run())
        assert len(server.seen) == 3 * AGENTS
        assert agree(out, server)["status"] == "complete"


def test_control_without_the_grace_they_are_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_LONG_GRACE_S", 0.1)
    monkeypatch.setattr(host, "GRACE_S", 0.1)
    with Slow() as server:
        out, mended = broken(tmp_path, server, LocalTransport())
        mended.touch()
        going = resume_course(out)
        asyncio.run(Coordinator(going.origin, going.settings, LocalTransport(), out, (), going.course).run())
        assert len(server.seen) == 4 * AGENTS


@pytest.mark.parametrize("kind", ["local", pytest.param("ray", marks=pytest.mark.ray)])
@pytest.mark.parametrize(("breaks", "error"), [("world", ScenarioError), ("turn", RunFailed)])
def test_a_signal_while_calls_may_end_breaks_them_off_and_they_count(
    tmp_path, request, monkeypatch, breaks, error, kind
):
    """As they do where their time has run out: they may be billed. Of a failed turn's run the last tick is saved."""
    if kind == "ray":
        request.getfixturevalue("ray_cluster")
    with Slow(HANG) as server:
        going = coordinated(tmp_path, server, transport_of(kind), breaks, limits__failed_turns=0.0)

        async def signalled(ticks: loop.TickLoop, grace_s: float, wind_down: Any = loop.TickLoop._wind_down) -> Any:
            going.stop()
            return await wind_down(ticks, grace_s)

        monkeypatch.setattr(loop.TickLoop, "_wind_down", signalled)
        with pytest.raises(error, match="is broken"):
            asyncio.run(going.run())
    manifest = read_manifest(tmp_path / "run")
    assert manifest["status"] == "failed"
    assert len(server.seen) == manifest["calls_billed"] >= 3 * AGENTS - 1, "agent 0 may come to tick 2 or not"
    if breaks == "turn":
        assert Store(tmp_path / "run", manifest["run"], going.settings).latest().tick == manifest["ticks"] == 2


def test_calls_in_flight_as_the_disk_is_full_are_not_paid_for_again(tmp_path, monkeypatch):
    """The state before tick 1 cannot be saved, which is known at the next edge."""

    def full(*_: object) -> None:
        raise DiskFull("no space left")

    monkeypatch.setattr(saver, "_put_down", full)
    with Slow() as server:
        going = coordinated(tmp_path, server, LocalTransport(), "nothing", checkpoint__every_ticks=1)
        with pytest.raises(DiskFull):
            asyncio.run(going.run())
        assert len(server.seen) >= 3 * AGENTS - 1, "agent 0 may come to tick 2 or not"
        out = tmp_path / "run"
        assert agree(out, server)["status"] == "failed"
        monkeypatch.undo()
        again = resume_course(out)
        asyncio.run(Coordinator(again.origin, again.settings, LocalTransport(), out, (), again.course).run())
        assert len(server.seen) == 3 * AGENTS
