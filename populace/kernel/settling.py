"""What a closed tick has left to be done on its shard, once its messages and reports are on their way. Pure."""

from __future__ import annotations

from typing import NamedTuple

from populace.core.tables import TableRows
from populace.kernel.bus import Outgoing
from populace.kernel.committed import Committed
from populace.kernel.rows import ask_rows, blocked_rows, join, message_rows, unknown_rows
from populace.kernel.tick import Tick


class Unsettled(NamedTuple):
    """A tick that is closed and what it came to, with the messages to nobody and those that levers blocked."""

    tick: Tick
    came: Committed
    unknown: Outgoing
    blocked: Outgoing
    blocked_by: TableRows

    def rows(self, *, messages: bool) -> dict[str, TableRows]:
        """Its rows for tables, by name; of `levers`, those of messages that they blocked."""
        rows: dict[str, TableRows] = {"levers": self.blocked_by} if self.blocked_by else {}
        if messages:
            fated = join(unknown_rows(self.unknown), blocked_rows(self.blocked))
            rows["messages"] = message_rows(self.tick.mail, self.tick.number, fated)
        if self.came.asks:
            rows["asks"] = ask_rows(self.came.asks, self.came.answers)
        return rows
