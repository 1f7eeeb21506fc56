"""Calls into a part's own code: what it raises is told with the part, and file and line."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from populace.core.errors import ScenarioError


def guard(where: object, call: Callable[..., Any], *args: Any, passing: type[BaseException] = KeyboardInterrupt) -> Any:
    """Call, and turn any exception but `passing` into a ScenarioError that says where, as `str(where)` does.

    So does what would end the process, such as sys.exit; KeyboardInterrupt is whoever wants the run to end.
    """
    try:
        return call(*args)
    except (KeyboardInterrupt, passing):
        raise
    except BaseException as error:
        if isinstance(error, ScenarioError):
            raise ScenarioError(f"{where}: {error}") from error
        said = f"{where}: {type(error).__name__}: {error}{_place(error)}{_no_room(call, error)}"
        raise ScenarioError(said) from error


def is_nothing(given: Any) -> bool:
    """Whether an author's code gave nothing: None, or what is plain and empty. No array is asked for its truth."""
    return given is None or (isinstance(given, int | str | Sequence | Mapping) and not given)


def _no_room(call: Callable[..., Any], error: BaseException) -> str:
    """What else to say where a part looked for a row that it never made: it knows nothing of those who were born."""
    from populace.env.part import Part

    part = getattr(call, "__self__", None)
    if not isinstance(part, Part) or not isinstance(error, IndexError | KeyError):
        return ""
    roster = part.world.roster
    if type(part).grow is not Part.grow or roster.size == roster.first:
        return ""
    return f". Agents {roster.first} and up were born: give {type(part).__name__} a `grow(self, ids)` that makes room"


def _place(error: BaseException) -> str:
    """The innermost line of the part's own file that the error came through, to end a message with."""
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    others = [(code, line) for code, line in frames if code.co_filename != __file__]
    own = [(code, line) for code, line in others if code.co_filename == others[0][0].co_filename]
    return f", at {own[-1][0].co_filename}:{own[-1][1]} in {own[-1][0].co_name}" if own else ""
