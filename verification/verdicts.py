"""What a verification gives: a figure found in a run, the one that theory or a rival program predicts, how far apart.

A check is a function `(full: bool) -> list[Verdict]` that `@check("title")` puts on the list; it runs a real society
or part and compares. `full` is the size of record; without it a small form of the same check, for the suite.
One that needs a rival program which is not at hand raises `Skipped`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Check = Callable[[bool], "list[Verdict]"]

CHECKS: dict[str, Check] = {}
"""All checks by title, once `load` has been called."""


class Skipped(Exception):
    """A check that cannot be made here, and why: what it needs is not at hand."""


@dataclass(frozen=True)
class Verdict:
    """`found` against `expected`: it holds where they are no further apart than `tolerance` (in the figure's unit).

    `source` says where the expectation is from: a formula with its paper, or the rival program and its version.
    """

    what: str
    found: float
    expected: float
    tolerance: float
    source: str

    @property
    def holds(self) -> bool:
        """Whether the figure found is within the tolerance. What is not a number does not hold."""
        return abs(self.found - self.expected) <= self.tolerance


def check(title: str) -> Callable[[Check], Check]:
    """Put a check on the list, under a title of its own."""

    def listed(function: Check) -> Check:
        if title in CHECKS:
            raise ValueError(f"two checks are called {title!r}")
        CHECKS[title] = function
        return function

    return listed


def load() -> dict[str, Check]:
    """All checks of this folder, in the order of their files."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem not in ("verdicts", "__main__"):
            importlib.import_module(f"verification.{path.stem}")
    return CHECKS
