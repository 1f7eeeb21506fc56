"""Who is compared with whom within an arm: what an outcome is of each agent, and groups of agents. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError, SettingsError
from populace.core.text import shown_line
from populace.experiments.soundness import shown_path, what_is_wrong

Floats = NDArray[np.float64]
MOST_VALUES: Final = 8
"""A column with more values than these is cut, by itself where its values are numbers."""
PARTS: Final = 4
MOST_PARTS: Final = 100


class Each(msgspec.Struct, frozen=True):
    """What an outcome is of each agent: a public field, so that groups and quantiles of agents can be told of.

    With `distance_from` it is the distance from that value. `read` is its `value`, its `change` since before tick 0, or
    whether it `rose` or `fell` by more than `by` (1 or 0). An agent whose field is `missing` has none. `only` keeps the
    agents whose columns of the population have these values: {"speaks": ""}.
    """

    field: str
    distance_from: float | None = None
    read: Literal["value", "change", "rose", "fell"] = "value"
    by: float = 0.0
    missing: float | None = None
    only: dict[str, Any] = {}

    def check(self) -> None:
        """Raise ScenarioError for what can be read of no agent."""
        if self.by < 0.0 or (self.by and self.read not in ("rose", "fell")):
            raise ScenarioError(
                f"by={self.by:g}: more than how much it rose or fell, 0 or above, with read='rose' or read='fell'"
            )

    def of(self, now: Any, start: Any) -> Floats:
        """Agents' values (agents,) of their field now and before tick 0; NaN for those who have none."""
        held, first = (self._plain(column) for column in (now, start))
        moved = held - first
        match self.read:
            case "value":
                return held
            case "change":
                return moved
            case "rose":
                return np.where(np.isnan(moved), np.nan, moved > self.by)
        return np.where(np.isnan(moved), np.nan, -moved > self.by)

    @property
    def words(self) -> str:
        """What it is of each agent, in words: `the distance of attitude from 5`."""
        of = self.field if self.distance_from is None else f"the distance of {self.field} from {self.distance_from:g}"
        more = f" by more than {self.by:g}" if self.by else ""
        return {"value": of, "change": f"the change of {of}"}.get(self.read, f"whether {of} {self.read}{more}")

    def _plain(self, column: Any) -> Floats:
        try:
            values = np.array([np.nan if one is None else one for one in column], np.float64)
        except (TypeError, ValueError):
            raise ScenarioError(f"field {self.field!r} holds no numbers, so agents cannot be compared by it") from None
        if self.missing is not None:
            values[values == self.missing] = np.nan
        return values if self.distance_from is None else np.abs(values - self.distance_from)


class Subgroup(msgspec.Struct, frozen=True):
    """Groups of agents by a column of the population, as it is before tick 0: no treatment moves who is in which.

    Each value is a group. `cuts` make groups of numbers, a value at a cut being above it; `parts` as many groups of
    about one size. More than eight values that are numbers are cut into four parts where nothing is said. `names` are
    the groups' names, in their order.
    """

    column: str
    cuts: tuple[float, ...] = ()
    parts: int = 0
    names: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise ScenarioError for what makes no groups, whatever the column holds."""
        of, cuts = f"subgroup {self.column!r}", self.cuts
        if cuts and self.parts:
            raise ScenarioError(f"{of}: cuts or parts, not both")
        if any(not low < high for low, high in itertools.pairwise(cuts)):
            raise ScenarioError(f"{of}: cuts={tuple(cuts)}: each cut lies above the one before")
        if self.parts and not 2 <= self.parts <= MOST_PARTS:
            raise ScenarioError(f"{of}: parts={self.parts}: from 2 to {MOST_PARTS}")
        if len(set(self.names)) < len(self.names) or not all(self.names):
            raise ScenarioError(f"{of}: names={tuple(self.names)}: each group has a name of its own")

    def grouped(self, columns: Mapping[Any, Sequence[Any]]) -> tuple[tuple[str, ...], dict[Any, NDArray[np.int64]]]:
        """The groups' names, and for each column (one a run) the group of each agent: -1 for one who has no value.

        Cuts into parts are made of all columns together. Raises ScenarioError for values that make no groups.
        """
        self.check()
        try:
            every = [one for column in columns.values() for one in column if _is_there(one)]
            values = sorted(set(every), key=lambda one: (str(type(one)), one))
        except (TypeError, ValueError):
            raise ScenarioError(f"subgroup {self.column!r}: what the column holds are no groups") from None
        numbers = all(isinstance(one, int | float) for one in values)
        cuts, parts = self.cuts, self.parts or (PARTS if len(values) > MOST_VALUES else 0)
        if (cuts or parts) and not numbers:
            said = "" if self.cuts or self.parts else f" that is of {len(values)} values"
            raise ScenarioError(f"subgroup {self.column!r}: a column{said} is cut where it holds numbers only")
        if not cuts and parts:
            found = np.quantile(np.array(every, np.float64), np.arange(1, parts) / parts)
            cuts = tuple(dict.fromkeys(float(one) for one in found if one > values[0]))
        names = self.names or (_between(cuts) if cuts else tuple(shown_line(str(one)) for one in values))
        many = len(cuts) + 1 if cuts else len(values)
        if len(names) != many or many < 2:
            said = f"makes {many} groups" + (
                f", and {len(names)} names are given" if self.names else "; two are needed"
            )
            raise ScenarioError(f"subgroup {self.column!r}: {said}")
        place = {one: at for at, one in enumerate(values)}
        return names, {
            key: np.array(
                [-1 if not _is_there(one) else int(np.searchsorted(cuts, one, "right")) if cuts else place[one]
                 for one in column], np.int64,
            )
            for key, column in columns.items()
        }  # fmt: skip


def named(given: Any) -> list[Subgroup]:
    """Subgroups as a caller gives them, by column or as `Subgroup`s. Raises SettingsError for what are none."""
    if (
        isinstance(given, str)
        or not isinstance(given, Sequence)
        or not all(isinstance(o, Subgroup | str) for o in given)
    ):
        raise SettingsError(
            f"subgroups={given!r}: a list of columns and Subgroups, such as ['age', Subgroup('income')]"
        )
    found = [Subgroup(one) if isinstance(one, str) else one for one in given]
    for at, one in enumerate(found):
        if wrong := what_is_wrong(one):
            raise SettingsError(f"subgroups[{at}], {shown_path(wrong[0])}: {wrong[1]}")
        if one.column in [other.column for other in found[:at]]:
            raise SettingsError(f"subgroup {one.column!r} is named twice, so each of its groups would be tested twice")
    return found


def _is_there(value: Any) -> bool:
    return value is not None and value == value  # NaN is not itself


def _between(cuts: Sequence[float]) -> tuple[str, ...]:
    ends = [f"{one:,.6g}" for one in cuts]
    return (f"below {ends[0]}", *(f"{low} to {high}" for low, high in itertools.pairwise(ends)),
            f"{ends[-1]} and above")  # fmt: skip
