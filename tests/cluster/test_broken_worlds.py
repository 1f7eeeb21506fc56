"""A world whose code breaks while calls are in flight: what these bring is paid for, so it goes on record."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from support.endings import Server, agree, options_of, transport_of
from support.misbehaving import slow
from support.running import settings_of

from populace.cluster import host, loop
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import ScenarioError
from populace.data.societies import find_society
from populace.runs.courses import resume_course

SOCIETY = """
from pathlib import Path
from populace import Agent, Choice, Population, Public, Society, World
from populace.env import Part

class Oracle(Part):
    def advance(self, tick):
        assert tick != 1 or Path({mended!r}).exists(), "the oracle is broken"

class Asker(Agent):
    told: Public[int] = 0

    async def turn(self, ctx):
        await ctx.ask(f"agent {{ctx.id}} in tick {{ctx.tick}}", Choice("yes", "no"), purpose="mood")

society = Society(
    name="oracle", agent=Asker, population=lambda setup: Population({{"told": [0] * setup.agents}}),
    world=lambda setup, people: World(Oracle()), influence=lambda opened: ([], []), size=8, ticks=3,
    outcomes={{"told": lambda w: w.columns["told"].sum()}},
)
"""
AGENTS = 8
LATE_S = 4.5
"""Longer than a run that is over waits for calls when nobody has ended them before."""


class Slow(Server):
    """Answers late in tick 2, and agent 0 in tick 1 only once all others are at tick 2: its world closes amid these."""

    def __init__(self) -> None:
        super().__init__(lambda seen: slow(LATE_S if "tick 2" in str(seen.body) else 0.01))
        self.begun = 0

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        prompt = (await request.read()).decode()
        self.begun += "tick 2" in prompt
        while "agent 0 in tick 1" in prompt and self.begun < AGENTS - 1:
            await asyncio.sleep(0.01)
        return await super()._handle(request)


def broken(place: Path, server: Server, transport: Any) -> tuple[Path, Path]:
    """The folder of a run whose world has broken in tick 1, and the file that mends it."""
    mended, scenario, out = place / "mended", place / "oracle.py", place / "run"
    scenario.write_text(SOCIETY.format(mended=str(mended)))
    options = {**options_of(server, 2), "endpoint__concurrency": 32, "agents": AGENTS, "ticks": 3}
    coordinator = Coordinator(find_society(str(scenario)), settings_of(**options), transport, out)
    with pytest.raises(ScenarioError, match=r"oracle.*the oracle is broken"):
        asyncio.run(coordinator.run())
    return out, mended


@pytest.mark.parametrize("kind", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_calls_in_flight_as_the_world_breaks_are_not_paid_for_again(tmp_path, request, kind):
    if kind == "ray":
        request.getfixturevalue("ray_cluster")
    with Slow() as server:
        out, mended = broken(tmp_path, server, transport_of(kind))
        assert len(server.seen) == 3 * AGENTS
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
