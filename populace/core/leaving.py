"""Which `__post_init__` leaves an object as it is. Pure.

What agents hold is read back from what is saved, and that runs `__post_init__` of the classes in it. Where it is known
to leave alone what it is run on, objects need not be read back to know what they would be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

Method = TypeVar("Method", bound=Callable[[Any], None])
_MARK: Final = "leaves_alone"


def only_checks(method: Method) -> Method:
    """Mark a `__post_init__` that raises, or changes nothing of its object and of nothing else."""
    setattr(method, _MARK, method)
    return method


def leaves_alone(where: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """Mark a `__post_init__` that raises nothing for an object for which `where` is true, and leaves it equal."""

    def mark(method: Method) -> Method:
        setattr(method, _MARK, where)
        return method

    return mark


def left_alone_where(kind: type) -> Callable[[Any], Any] | None:
    """What raises, or is False, for an object of this class that its `__post_init__` may change; None if not known."""
    found: Callable[[Any], Any] | None = getattr(getattr(kind, "__post_init__", None), _MARK, None)
    return found
