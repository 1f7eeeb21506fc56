"""Weights by which the rows of a table have given margins: iterative proportional fitting, or raking.

Deming and Stephan (1940), On a least squares adjustment of a sampled frequency table when the expected marginal totals
are known, Annals of Mathematical Statistics 11, 427-444. Of all weights with these margins, those found are nearest to
the ones begun with (least Kullback-Leibler divergence), so whatever the margins leave open is kept: every odds ratio.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from populace.agents.population import Weights
from populace.core.errors import ScenarioError

Margins: TypeAlias = Mapping[str | tuple[str, ...], Mapping[Any, float]]
Floats = NDArray[np.float64]

_ROUNDING: Final = 0.01
"""Totals of margins that differ by less are taken for rounded percentages."""


@dataclass(frozen=True)
class Raked:
    """A table with weights, of mean 1; `Population.sample(raked.table, n, draw, weights=raked.weights)`.

    `error` is the largest difference between a share and the margin that asks for it, after `rounds` rounds over all
    margins; `converged` whether it is within the tolerance. `problems` says, in words, what stands in the way. A sample
    with these weights estimates means as well as one of rows / `design_effect` equal ones (Kish 1965).
    """

    table: dict[str, list[Any]]
    weights: Floats
    rounds: int
    error: float
    converged: bool
    problems: list[str]

    @property
    def design_effect(self) -> float:
        """1 + the squared coefficient of variation of the weights."""
        return float(len(self.weights) * (self.weights**2).sum() / self.weights.sum() ** 2)


def rake(
    margins: Margins,
    table: Mapping[str, Sequence[Any]] | None = None,
    *,
    weights: Weights | None = None,
    tolerance: float = 1e-9,
    rounds: int = 1000,
    strict: bool = True,
) -> Raked:
    """Weights for the rows of a table with which it has these margins, by iterative proportional fitting.

    `margins` say shares or counts by value of a column, {"sex": {"f": 51, "m": 49}}, or of several together,
    {("sex", "age"): {("f", "old"): 0.2, ...}}; each margin is taken as shares of its total (totals agree within 1 %).
    `weights` are those to begin with, one a row or the name of a column (all equal unless given). Without a table the
    rows are all combinations of values, so that columns which no margin ties are independent.

    Raises ScenarioError, naming column and value, for a value of the table that its margin does not name, and for
    margins of different totals. Margins that cannot be had at the same time, or that are not reached within
    `rounds`, raise ScenarioError too, unless `strict` is off: then `converged` and `problems` of the result say so.
    """
    targets = {_names(columns): dict(wanted) for columns, wanted in margins.items()}
    rows = _combinations(targets) if table is None else {name: list(column) for name, column in table.items()}
    _check(targets, rows)
    size = len(next(iter(rows.values())))
    current = _beginning(rows, weights, size)
    codes, wanted, labels = _coded(targets, rows)
    problems = _contradictions(targets)
    for names, code, shares, called in zip(targets, codes, wanted, labels, strict=True):
        there = np.bincount(code, current, len(shares)) > 0
        problems += [
            f"{' x '.join(names)}: the margin asks for {share:.3g} of {value!r}, and no row with a weight has it"
            for value, share, has in zip(called, shares, there, strict=True)
            if share > 0 and not has
        ]
    error, done = math.inf, 0
    while done < rounds and error > tolerance:
        for code, shares in zip(codes, wanted, strict=True):
            now = np.bincount(code, current, len(shares))
            current = current * np.divide(shares, now, out=np.zeros_like(shares), where=now > 0)[code]
        done += 1
        if (total := current.sum()) <= 0:
            break
        current /= total
        error = max(
            float(np.abs(np.bincount(code, current, len(shares)) - shares).max())
            for code, shares in zip(codes, wanted, strict=True)
        )
    converged = error <= tolerance
    if not converged and not problems:
        problems.append(
            f"after {done} rounds a share is {error:.2g} off its margin: margins differ in a column that they share, "
            "combinations that the table does not have stand in the way, or it needs more rounds"
        )
    if problems and strict:
        raise ScenarioError(f"rake: {'; '.join(problems[:5])}. Merge values, or take what there is with strict=False.")
    total = float(current.sum())
    return Raked(rows, current * (size / total) if total > 0 else current, done, error, converged, problems)


def _names(columns: str | tuple[str, ...]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns)


def _combinations(targets: Mapping[tuple[str, ...], Mapping[Any, float]]) -> dict[str, list[Any]]:
    """All combinations of the values of all columns, a row each, but for those that a joint margin does not name."""
    values: dict[str, dict[Any, None]] = {}
    for names, wanted in targets.items():
        for value in wanted:
            for name, one in zip(names, value if len(names) > 1 else (value,), strict=True):
                values.setdefault(name, {})[one] = None
    place = {name: at for at, name in enumerate(values)}
    joint = [([place[name] for name in names], wanted) for names, wanted in targets.items() if len(names) > 1]
    rows = [
        row
        for row in itertools.product(*values.values())
        if all(tuple(row[at] for at in places) in wanted for places, wanted in joint)
    ]
    if not rows:
        raise ScenarioError("rake: the margins name no combination together")
    return {name: [row[at] for row in rows] for at, name in enumerate(values)}


def _check(targets: Mapping[tuple[str, ...], Mapping[Any, float]], rows: Mapping[str, list[Any]]) -> None:
    if not targets:
        raise ScenarioError("rake: there are no margins")
    totals = {}
    for names, wanted in targets.items():
        called = " x ".join(names)
        missing = [name for name in names if name not in rows]
        if missing:
            raise ScenarioError(f"rake: the margin {called} is of columns that the table has not: {missing}")
        if not all(math.isfinite(share) and share >= 0 for share in wanted.values()) or not sum(wanted.values()) > 0:
            raise ScenarioError(f"rake: the margin {called} needs finite shares or counts of 0 or more, got {wanted}")
        totals[called] = float(sum(wanted.values()))
    low, high = min(totals, key=totals.__getitem__), max(totals, key=totals.__getitem__)
    if totals[high] - totals[low] > _ROUNDING * totals[high]:
        raise ScenarioError(
            f"rake: the margin {low} adds up to {totals[low]:g}, and {high} to {totals[high]:g}: a value is "
            f"left out of "
            "one, or one is in shares and the other in counts"
        )
    if len({len(column) for column in rows.values()}) != 1 or not len(next(iter(rows.values()))):
        raise ScenarioError("rake: the columns of the table need one length of 1 or more")


def _beginning(rows: Mapping[str, list[Any]], weights: Weights | None, size: int) -> Floats:
    given: Any = np.ones(size) if weights is None else rows.get(weights) if isinstance(weights, str) else weights
    if given is None:
        raise ScenarioError(f"rake: weights={weights!r}: there is no such column")
    found = np.asarray(given, np.float64)
    if found.shape != (size,) or not np.isfinite(found).all() or (found < 0).any() or not found.sum() > 0:
        raise ScenarioError(f"rake: weights need a finite number of 0 or more for each of {size} rows")
    return np.asarray(found / found.sum())


def _coded(
    targets: Mapping[tuple[str, ...], Mapping[Any, float]], rows: Mapping[str, list[Any]]
) -> tuple[list[NDArray[np.int64]], list[Floats], list[list[Any]]]:
    """Of each margin: which of its values each row has, their shares, the values."""
    codes, wanted, labels = [], [], []
    for names, target in targets.items():
        place = {value: at for at, value in enumerate(target)}
        keys = rows[names[0]] if len(names) == 1 else list(zip(*(rows[name] for name in names), strict=True))
        unnamed = [repr(key) for key in dict.fromkeys(keys) if key not in place]
        if unnamed:
            raise ScenarioError(
                f"rake: the table has {', '.join(unnamed[:5])} in {' x '.join(names)}, which the margin does not name: "
                "give it a share, 0 to leave such rows out"
            )
        codes.append(np.fromiter((place[key] for key in keys), np.int64, len(keys)))
        shares = np.array(list(target.values()), np.float64)
        wanted.append(shares / shares.sum())
        labels.append(list(target))
    return codes, wanted, labels


def _contradictions(targets: Mapping[tuple[str, ...], Mapping[Any, float]]) -> list[str]:
    """Columns for which two margins ask for different shares."""
    asked: dict[str, tuple[str, dict[Any, float]]] = {}
    found = []
    for names, target in targets.items():
        total, called = sum(target.values()), " x ".join(names)
        for at, name in enumerate(names):
            shares: dict[Any, float] = {}
            for value, share in target.items():
                one = value[at] if len(names) > 1 else value
                shares[one] = shares.get(one, 0.0) + share / total
            if name not in asked:
                asked[name] = (called, shares)
                continue
            other, before = asked[name]
            found += [
                f"{name}: the margin {other} asks for {before.get(value, 0.0):.4g} of {value!r}, and {called} "
                f"for {shares.get(value, 0.0):.4g}"
                for value in dict.fromkeys([*before, *shares])
                if abs(before.get(value, 0.0) - shares.get(value, 0.0)) > _ROUNDING
            ]
    return found
