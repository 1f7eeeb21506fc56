"""Households and firms with the people in them: who lives with whom, and who works where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from populace.agents.population import Population, Weights, weights_of
from populace.core.draws import Stream
from populace.core.errors import ScenarioError

_TRIES: Final = 200
"""How many households are drawn anew, for each there is to be, until the number of people fits."""


@dataclass(frozen=True)
class Households:
    """People in households, as drawn: `households` has the column `members`, `persons` the column `household`.

    Both hold ids of agents, counted from those that `sample_households` was given.
    """

    households: Population
    persons: Population


def sample_households(
    table: Mapping[str, Sequence[Any]],
    by: str,
    households: int,
    draw: Stream,
    *,
    persons: int | None = None,
    weights: Weights | None = None,
    shared: Iterable[str] = (),
    first_household: int = 0,
    first_person: int = 0,
) -> Households:
    """Draw whole households from a table with a row a person, with replacement.

    `by` is the column that says who belongs together. A household is drawn in proportion to its weight, the mean of its
    members' (`weights`: one a row or the name of a column; all alike unless given). `shared` are columns that belong to
    the household, of one value in each. With `persons`, households are drawn anew, one at a time, until that many live
    in them: this is sampling on condition of that total. Ids are counted from `first_household` and `first_person`: in
    a society with types, `setup.ids("household").start`.

    Raises ScenarioError for a column that there is not, for a shared one that is not, and for a number of persons that
    cannot be.
    """
    shared = [shared] if isinstance(shared, str) else list(shared)
    source = Population(table)
    for name in (by, *shared):
        if name not in source.columns:
            raise ScenarioError(f"sample_households: no column {name!r}; there are {', '.join(source.columns)}")
    if households < 1:
        raise ScenarioError(f"sample_households: households={households}: there has to be one at least")
    groups: dict[Any, list[int]] = {}
    for row, key in enumerate(source.columns[by]):
        groups.setdefault(key, []).append(row)
    members = list(groups.values())
    for name in shared:
        column = source.columns[name]
        for key, rows in groups.items():
            if any(column[row] != column[rows[0]] for row in rows):
                raise ScenarioError(f"sample_households: {name!r} is not of one value in household {key!r}")
    each = weights_of(source, weights)
    steps = np.cumsum([float(each[rows].mean()) for rows in members])
    drawn = [_one(steps, draw) for _ in range(households)]
    if persons is not None:
        drawn = _fitted(drawn, [len(rows) for rows in members], persons, steps, draw)
    rows = [row for one in drawn for row in members[one]]
    homes, ids, next_id = [], [], first_person
    for at, one in enumerate(drawn):
        ids.append(list(range(next_id, next_id + len(members[one]))))
        homes += [first_household + at] * len(members[one])
        next_id += len(members[one])
    kept = {name: [column[row] for row in rows] for name, column in source.columns.items() if name not in (by, *shared)}
    own = {name: [source.columns[name][members[one][0]] for one in drawn] for name in shared}
    return Households(Population(own | {"members": ids}), Population(kept | {"household": homes}))


def _one(steps: np.ndarray[Any, np.dtype[np.float64]], draw: Stream) -> int:
    return int(np.searchsorted(steps, draw.random() * steps[-1], side="right"))


def _fitted(
    drawn: list[int], sizes: Sequence[int], persons: int, steps: np.ndarray[Any, np.dtype[np.float64]], draw: Stream
) -> list[int]:
    """The same households, some drawn anew, so that they have this many members in all."""
    low, high = min(sizes) * len(drawn), max(sizes) * len(drawn)
    if not low <= persons <= high:
        raise ScenarioError(
            f"sample_households: {persons} persons in {len(drawn)} households: with those of the table it can be "
            f"{low} to {high}"
        )
    gap = sum(sizes[one] for one in drawn) - persons
    for _ in range(_TRIES * len(drawn)):
        if gap == 0:
            return drawn
        at, new = draw.integer(len(drawn)), _one(steps, draw)
        after = gap + sizes[new] - sizes[drawn[at]]
        if abs(after) <= abs(gap):
            drawn[at], gap = new, after
    raise ScenarioError(
        f"sample_households: {len(drawn)} households came to {persons + gap} persons and not to {persons}: take a "
        "number nearer to the mean size of the table's households"
    )


def assign_employers(
    workers: Sequence[int], firms: Sequence[int], draw: Stream, *, sizes: Sequence[float] | None = None
) -> tuple[dict[int, int], dict[int, list[int]]]:
    """Give every worker an employer: who works for which firm, and the staff of each firm, in ids of agents.

    Firms get workers in proportion to `sizes`, to a person (largest remainders, ties by a draw); without `sizes` by
    Zipf's law, 1 / rank with ranks in random order, as firms in the United States are distributed (Axtell 2001, Science
    293, 1818-1820). Who works for which is a random order of the workers. Raises ScenarioError for sizes that are not
    one a firm.
    """
    if not len(firms):
        raise ScenarioError("assign_employers: there are no firms")
    if sizes is None:
        ranks = list(range(1, len(firms) + 1))
        draw.shuffle(ranks)
        sizes = [1.0 / rank for rank in ranks]
    wanted = np.asarray(sizes, np.float64)
    if wanted.shape != (len(firms),) or not np.isfinite(wanted).all() or (wanted < 0).any() or not wanted.sum() > 0:
        raise ScenarioError(f"assign_employers: sizes need a finite number of 0 or more for each of {len(firms)} firms")
    exact = wanted / wanted.sum() * len(workers)
    count = np.floor(exact + 1e-9).astype(np.int64)
    ties = [draw.random() for _ in firms]
    for at in sorted(range(len(firms)), key=lambda one: (count[one] - exact[one], ties[one]))[
        : len(workers) - int(count.sum())
    ]:
        count[at] += 1
    order = list(workers)
    draw.shuffle(order)
    staff: dict[int, list[int]] = {}
    for firm, many in zip(firms, count.tolist(), strict=True):
        staff[firm], order = sorted(order[:many]), order[many:]
    return {worker: firm for firm, mine in staff.items() for worker in mine}, staff
