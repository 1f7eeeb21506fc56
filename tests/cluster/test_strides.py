"""A tick's first calls go out while its later turns have yet to begin."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from support.running import Shuffled, run_local, wrap_gateways

from populace.core.records import Ask
from populace.kernel import tick
from populace.models.protocol import Deliver

ASKING = """
from populace import Agent, Population, Society

class Citizen(Agent):
    name: str

    async def turn(self, ctx):
        await ctx.ask("Yes or no?", bool, purpose="vote")

def population(setup):
    return Population({"name": ["a"] * setup.agents})

society = Society(name="asking", agent=Citizen, population=population, ticks=1)
"""


def asked_of(tmp_path, monkeypatch, agents: int) -> list[str]:
    """What happened in a run of one tick, in order, by whether asks went out or the event loop ran."""
    seen: list[str] = []

    class Watched(Shuffled):
        def offer(self, asks: Sequence[Ask], deliver: Deliver) -> None:
            seen.append("asked")
            asyncio.get_running_loop().call_soon(seen.append, "the event loop ran")
            super().offer(asks, deliver)

    wrap_gateways(monkeypatch, lambda gateway: Watched(gateway, 7))
    (tmp_path / "asking.py").write_text(ASKING)
    manifest = run_local(tmp_path / "run", str(tmp_path / "asking.py"), agents=agents, ticks=1)
    assert manifest["status"] == "complete"
    return seen


def test_calls_go_out_while_turns_begin(tmp_path, monkeypatch):
    seen = asked_of(tmp_path, monkeypatch, tick.FIRST_ASKS + 3 * tick.ASKS)
    last = len(seen) - 1 - seen[::-1].index("asked")
    assert seen.count("asked") == 4
    assert seen[:last].count("the event loop ran") == 3


def test_control_with_strides_of_turns_alone_the_first_call_waits_for_the_last_turn(tmp_path, monkeypatch):
    monkeypatch.setattr(tick, "FIRST_ASKS", 10**6)
    assert asked_of(tmp_path, monkeypatch, 4 * 32).count("asked") == 1
