"""What the economy keeps of each agent besides its money, in columns by id."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

HOUSEHOLD: Final = -1
OTHER: Final = -2
GONE: Final = -3

COLUMNS: Final = ("role", "employer", "jobless_since", "skill", "hours", "income", "spent", "bought")


class People:
    """A row an agent. `role` is the firm that it plays, or HOUSEHOLD, or OTHER, or GONE.

    `employer` is the firm that employs it, or -1, since when in `jobless_since` (a tick). `skill` multiplies wage and
    output (float32). Of the last month: `hours` paid (float32), `income` net and `spent` in cents, `bought` units
    (int64).
    """

    role: NDArray[np.int32]
    employer: NDArray[np.int32]
    jobless_since: NDArray[np.int32]
    skill: NDArray[np.float32]
    hours: NDArray[np.float32]
    income: NDArray[np.int64]
    spent: NDArray[np.int64]
    bought: NDArray[np.int64]

    def __init__(self, agents: int) -> None:
        self.role = np.full(agents, OTHER, np.int32)
        self.employer = np.full(agents, -1, np.int32)
        self.jobless_since = np.zeros(agents, np.int32)
        self.skill = np.ones(agents, np.float32)
        self.hours = np.zeros(agents, np.float32)
        self.income = np.zeros(agents, np.int64)
        self.spent = np.zeros(agents, np.int64)
        self.bought = np.zeros(agents, np.int64)

    def begin_month(self) -> NDArray[np.int64]:
        """Forget last month's hours, income and spending; gives whose rows that changed."""
        busy = np.flatnonzero((self.income != 0) | (self.spent != 0) | (self.hours > 0))
        self.hours[busy] = 0
        self.income[busy] = 0
        self.spent[busy] = 0
        self.bought[busy] = 0
        return busy

    def leave_job(self, rows: NDArray[np.integer], tick: int) -> None:
        """These are without a job from the next tick on."""
        self.employer[rows] = -1
        self.jobless_since[rows] = tick + 1

    def grow(self, agents: int, tick: int) -> None:
        """Make room for newborns, who are without a job."""
        new = People(agents)
        new.jobless_since[:] = tick
        for name in COLUMNS:
            setattr(self, name, np.concatenate((getattr(self, name), getattr(new, name))))

    def columns(self) -> tuple[NDArray[Any], ...]:
        """All columns, in the order of their names in a digest."""
        return tuple(getattr(self, name) for name in COLUMNS)

    def state(self) -> dict[str, Any]:
        """All columns."""
        return {name: getattr(self, name) for name in COLUMNS}

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        for name in COLUMNS:
            setattr(self, name, state[name].copy())
