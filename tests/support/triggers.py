"""Levers with triggers, of every kind, on the society of `watched`."""

from __future__ import annotations

from pathlib import Path

WATCHED = str(Path(__file__).parent / "watched.py")

AGENTS, TICKS = 20, 8

ALL = (
    'name="suspension", when={agents={"office.posted"={min=2}}}, lasts=2, again=3, block={sender="matching"}',
    'name="warning", when={world={office.weather={min=20}}}, again=3, send={to="all", body="storm"}',
    'name="stop", when={outcomes={posts={min=20}}}, lasts=2, set={society.transfer=0.0, world.office.bonus=0.5}',
    'name="barred", when={agents={strikes={min=2}}}, lasts=2, again=3, set={world.office.barred="matching"}',
    (
        'name="forgiven", when={agents={strikes={min=3}}, among={where={group="a"}}}, again=1, '
        'change={group="matching", fields={strikes=0}}'
    ),
)
