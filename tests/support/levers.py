"""Levers of every kind, on the residents of `lever_society`."""

from __future__ import annotations

from pathlib import Path

RESIDENTS = str(Path(__file__).parent / "lever_society.py")

AGENTS, TICKS = 40, 5

ALL = (
    "at=2, until=4, set={society.dial=7, world.fund.rate=2.5}",
    'at=2, name="note", send={to={where={party="R"}, share=0.5}, body="vote"}',
    'at=2, until=4, name="wall", block={sender={where={party="R"}}, receiver={where={age={max=39}}}}',
    'at=2, name="tired", change={group=[7, 3], each={trust=[0.25, 4]}, fields={notes=["new"], party="X"}}',
)
