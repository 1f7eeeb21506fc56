"""A lever that has ended leaves a part as one that it never touched, so that the run goes on past the trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import populace
from populace import Agent, Context, Population, Public, Society, World
from populace.env import City, Network, Places


class One(Agent):
    n: Public[int] = 0

    async def turn(self, ctx: Context) -> None:
        self.n += 1


PLACES = [{"kind": "home", "x": 0, "y": 0}, {"kind": "shop", "x": 100, "y": 0}]
society = Society(
    name="levered",
    agent=One,
    population=lambda setup: Population.of_defaults(setup.agents),
    world=lambda setup, people: World(
        Network.edges(setup, [0, 1, 2], [1, 2, 3]), City(Places.of(PLACES), assigned={"home": [0] * setup.agents})
    ),
    outcomes={"edges": lambda world: float(world.network.edge_count)},
    size=4,
    ticks=6,
)
SET: list[dict[str, Any]] = [
    {"world.network.cut": [[0, 1], [1, 2]]},
    {"world.network.frozen": True},
    {"world.city.capacity_factor": 0.5},
    {"world.city.closed": ["shop"]},
]


@pytest.mark.parametrize("values", SET, ids=lambda one: next(iter(one)))
def test_a_run_goes_on_once_a_lever_has_ended(values: dict[str, Any], tmp_path: Path):
    lever = {"at": 1, "until": 3, "set": values}
    run = populace.run(society, model="scripted", seed=1, levers=[lever], quiet=True, out=tmp_path / "run")
    table = run.table("outcomes")
    edges = table.sort_values("tick")["value"].tolist()
    assert edges[-1] == 3.0
    assert ("world.network.cut" in values) == (1.0 in edges)
