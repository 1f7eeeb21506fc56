"""What a closed tick has left to be done on its shard, once its messages and reports are on their way. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from populace.core.tables import TableRows
from populace.kernel.bus import Outgoing
from populace.kernel.committed import Committed
from populace.kernel.rows import Unmade, ask_rows, message_rows
from populace.kernel.tick import Tick


class Unsettled(NamedTuple):
    """A tick that is closed and what it came to, with the messages to nobody and those that levers blocked."""

    tick: Tick
    came: Committed
    unknown: Outgoing
    blocked: Outgoing
    blocked_by: TableRows

    def rows(self, *, messages: bool) -> Unmade:
        """Its rows for tables, by name; of `levers`, those of messages that they blocked."""
        rows: dict[str, Callable[[], TableRows]] = {}
        if messages:
            rows["messages"] = partial(message_rows, self.tick.mail, self.tick.number, self.unknown, self.blocked)
        if self.came.asks:
            rows["asks"] = partial(ask_rows, self.came.asks, self.came.answers)
        return Unmade({"levers": self.blocked_by} if self.blocked_by else {}, rows)
