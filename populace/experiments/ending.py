"""How an experiment, or what is played on top of one, goes on after it was ended early. Pure."""

from __future__ import annotations

from typing import Final

from populace.core.errors import Interrupted, PopulaceError

ON: Final = "to go on: "


def leading_on(error: PopulaceError, command: str) -> PopulaceError:
    """The error with a note of the command that goes on with all of it, in place of how one of its runs would."""
    notes: list[str] = getattr(error, "__notes__", [])
    kept = [one for one in notes if not one.startswith(ON)]
    if isinstance(error, Interrupted) or kept != notes:
        error.__notes__ = [*kept, f"{ON}{command}"]
    return error
