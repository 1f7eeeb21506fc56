"""Tools: pass^k of tasks that all pass with one chance is a power."""

from __future__ import annotations

import numpy as np

from populace.core.draws import Draws
from populace.env import Action, Domain, Opening, Task, Tools, World
from verification.verdicts import Verdict, check

STEPS = 4


def write(db: object, *, line: int) -> None:
    """Write a line of the form."""
    db.put("form", line, written=True)  # type: ignore[attr-defined]


def slips(draws: Draws, ids: np.ndarray, tick: int) -> np.ndarray:
    """Which agents slip at which of their steps in a tick, of shape (agents, steps)."""
    return np.stack([draws.column(f"slip/{tick}/{step}", ids) for step in range(STEPS)], axis=1)


@check("tools: pass^k of equal slips is p^k")
def equal_slips(full: bool) -> list[Verdict]:
    """Agents fill in a form of four lines and leave a line out with one chance; each end is graded by the part."""
    agents, ticks, slip = (40, 400, 0.1) if full else (20, 40, 0.1)
    table = {"form": {"line": list(range(STEPS)), "written": [False] * STEPS}}
    goal = tuple(("write", {"line": line}) for line in range(STEPS))
    part = Tools(Domain("form", table, [write]), [Task(wish="fill in", goal=goal)] * 5, series=None)
    world, draws = World(part), Draws(5)
    world.open(Opening(agents=agents, seed=5, tick_seconds=1.0, parameters=None, columns={}, draw=draws))
    for tick in range(ticks):
        slipped = slips(draws, np.arange(agents), tick) < slip
        acts = []
        for agent in range(agents):
            lines = np.flatnonzero(~slipped[agent]).tolist()
            calls = [
                Action(agent, nth, "tools.call", {"tool": "write", "args": {"line": at}})
                for nth, at in enumerate(lines)
            ]
            acts += [*calls, Action(agent, len(calls), "tools.done", {})]
        world.resolve(acts)
    p = (1 - slip) ** STEPS
    tried = int(part.tried.sum())
    verdicts = []
    for k in (1, 2, 4, 8):
        error = k * p ** (k - 1) * np.sqrt(p * (1 - p) / tried)  # of the estimate's leading term
        verdicts.append(Verdict(f"pass^{k}", part.pass_hat(k), p**k, 4 * error, "p^k, p = (1 - slip)^steps"))
    return verdicts
