"""When an experiment has seen enough: what is declared of it, and how it is written on the command line. Pure."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Final, Literal, TypeAlias

import msgspec

from populace.core.errors import ScenarioError, SettingsError

Why: TypeAlias = Literal["", "decided", "replicates", "money"]
"""What ended an experiment: every arm was decided, the most replicates were played, or the money would not last."""
_READ: Final[dict[str, Callable[[str], Any]]] = {
    "width": float, "margin": float, "level": float, "batch": int, "outcome": str,
}  # fmt: skip


class Stopping(msgspec.Struct, frozen=True, kw_only=True):
    """After each `batch` of replicates an experiment looks at its `outcome` (the primary one), and ends once it may.

    It ends where every arm is decided: its anytime-valid interval leaves 0 out (and its p, adjusted over all arms and
    outcomes with bounds, is at most 1 - `level`), or is at most `width` wide, or lies within plus and minus `margin`.
    It ends as well at the experiment's `replicates`, which are then the most, and where its money would not last for
    another batch. `most` and `ended` are the experiment's own: how many at most, and what ended it.
    """

    batch: int = 5
    width: float | None = None
    margin: float = 0.0
    level: float = 0.95
    outcome: str = ""
    most: int = 0
    ended: Why = ""

    @property
    def rule(self) -> Stopping:
        """What is registered of it."""
        return msgspec.structs.replace(self, most=0, ended="")

    def check(self) -> None:
        """Raise ScenarioError for what is no rule."""
        if self.batch < 1:
            raise ScenarioError(f"batch={self.batch}: a batch is of 1 replicate or more")
        if (self.width is not None and not 0.0 < self.width < inf) or not 0.0 <= self.margin < inf:
            raise ScenarioError(f"width={self.width}, margin={self.margin}: in the outcome's unit, above 0 and finite")
        if not 0.5 <= self.level < 1.0:
            raise ScenarioError(f"level={self.level}: it lies between 0.5 and 1, such as 0.95")

    def told(self) -> str:
        """The rule in words."""
        ends = ["leaves 0 out"]
        ends += [] if self.width is None else [f"is at most {self.width:g} wide"]
        ends += [f"lies within {self.margin:g} of 0"] if self.margin else []
        return f"until each arm's {100 * self.level:g} % anytime-valid interval {' or '.join(ends)}"


def until(text: str, given: Stopping | None = None) -> Stopping:
    """A rule as the command line has it: `clear`, or `width=0.1`, `margin=0.05`, `batch=10`, `outcome=NAME`.

    Several stand with commas; what is not said is as in the rule `given`. Raises SettingsError for what is none.
    """
    found: dict[str, Any] = {}
    for piece in map(str.strip, text.split(",")):
        key, _, value = (part.strip() for part in piece.partition("="))
        if piece == "clear":
            continue
        try:
            found[key] = _READ[key](value)
        except (KeyError, ValueError):
            said = "write --until clear, --until width=0.1, or --until margin=0.05,batch=10"
            raise SettingsError(f"--until {text}: {piece!r} is nothing that ends an experiment: {said}") from None
    return msgspec.structs.replace(given or Stopping(), **found)
