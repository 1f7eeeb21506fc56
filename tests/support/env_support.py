"""What the tests of the environment share: a setup, and worlds opened with a few lines."""

from __future__ import annotations

from typing import Any

from populace.core.draws import Draws
from populace.env import Action, Opening, Part, World


class Setup:
    """What networks are made for, as a scenario gets it."""

    def __init__(self, agents: int, seed: int = 7) -> None:
        self.agents = agents
        self.seed = seed

    @property
    def draw(self) -> Draws:
        return Draws(self.seed)


def opening(agents: int, **values: Any) -> Opening:
    given: dict[str, Any] = {"seed": 7, "tick_seconds": 60.0, "parameters": None, "columns": {}, "draw": Draws(7)}
    return Opening(agents=agents, **(given | values))


def opened(agents: int, *parts: Part, **values: Any) -> World:
    world = World(*parts)
    world.open(opening(agents, **values))
    return world


def acts(*rows: tuple[int, str, dict[str, Any]]) -> list[Action]:
    """Actions in the order given, which must be by agent; numbered within each agent."""
    count: dict[int, int] = {}
    made = []
    for agent, kind, args in rows:
        made.append(Action(agent, count.get(agent, 0), kind, args))
        count[agent] = count.get(agent, 0) + 1
    return made


def look(world: World, query: str, agent: int = 0, **args: Any) -> Any:
    return world.look(query, [agent], [args])[0]
