"""What stands at the foot of a terminal and is drawn anew as things go on."""

from __future__ import annotations

from rich.console import Group
from rich.live import Live


class AtFoot:
    """A picture that stands there until it is closed: `_draw` gives what it shows."""

    _live: Live | None = None

    def _draw(self) -> Group:
        raise NotImplementedError

    def close(self) -> None:
        """Leave the picture as it stands and give the terminal back; a second call does nothing."""
        live, self._live = self._live, None
        if live is not None:
            live.update(self._draw(), refresh=True)
            live.stop()
