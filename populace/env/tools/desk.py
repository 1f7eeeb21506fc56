"""One desk at work on a task: the calls made, what they changed, the rules broken. One path for acts and rounds."""

from __future__ import annotations

from typing import Any

import msgspec

from populace.env.tools.domain import Domain
from populace.env.tools.tables import Changes, Key, Row


class Desk(msgspec.Struct, kw_only=True):
    """A task in progress. `left` is how many calls may still be done, `calls` how many were; refused ones apart.

    `history` names the tools that were called, refused calls left out; `breaks` counts the rules that were broken.
    """

    nth: int = -1
    task: int = -1
    left: int = 0
    calls: int = 0
    refused: int = 0
    over: bool = False
    history: list[str] = []
    breaks: dict[str, int] = {}
    changes: Changes = {}

    def copy(self) -> Desk:
        """A desk of its own; the rows are shared, since none is ever changed in place."""
        return Desk(
            nth=self.nth, task=self.task, left=self.left, calls=self.calls, refused=self.refused, over=self.over,
            history=list(self.history), breaks=dict(self.breaks), changes=self.changes,
        )  # fmt: skip

    def make(self, domain: Domain, tool: Any, args: Any, *, enforce: bool) -> dict[str, Any]:
        """Call a tool; gives {'tool', 'result'} or {'tool', 'refused'}."""
        if self.left <= 0:
            return {"tool": tool, "refused": "no_calls_left"}
        done = domain.call(self.changes, tool, args, tuple(self.history), enforce=enforce)
        if done.refused:
            self.refused += 1
            return {"tool": tool, "refused": done.refused}
        self.left -= 1
        self.calls += 1
        self.changes = done.changes
        self.history.append(tool)
        for rule in done.broken:
            self.breaks[rule] = self.breaks.get(rule, 0) + 1
        return {"tool": tool, "result": done.result}

    def plain(self) -> list[Any]:
        """Plain data for a checkpoint. Keys of rows may be numbers, so rows are listed."""
        rows = [[table, key, row] for table, own in sorted(self.changes.items()) for key, row in own.items()]
        numbers = [self.nth, self.task, self.left, self.calls, self.refused, self.over]
        return [*numbers, list(self.history), dict(self.breaks), rows]

    @classmethod
    def of(cls, plain: list[Any]) -> Desk:
        """The desk that `plain` came of."""
        nth, task, left, calls, refused, over, history, breaks, rows = plain
        changes: dict[str, dict[Key, Row | None]] = {}
        for table, key, row in rows:
            changes.setdefault(table, {})[key] = row
        return cls(
            nth=nth, task=task, left=left, calls=calls, refused=refused, over=over, history=list(history),
            breaks=dict(breaks), changes=changes,
        )  # fmt: skip
