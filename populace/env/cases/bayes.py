"""Discrete Bayesian networks as plain data: read, sampled in columns, and asked for exact posteriors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.draws import Draws
from populace.core.errors import ScenarioError

_SUMS_TO_ONE: Final = 1e-3
"""How far a row of a table may be from one: files round to few digits. Rows are scaled to one."""


class BayesNet:
    """Variables with levels, parents and conditional tables.

    `levels` gives each variable's levels, `parents` its parents (those without may be left out), `tables` P(variable |
    parents) as an array of shape (levels of each parent in order ..., levels of the variable). Raises ScenarioError,
    naming the variable, for an unknown parent, a table of another shape or that is no distribution, and for a cycle.
    """

    def __init__(
        self,
        levels: Mapping[str, Sequence[str]],
        parents: Mapping[str, Sequence[str]],
        tables: Mapping[str, Any],
    ) -> None:
        self.levels = {name: tuple(one) for name, one in levels.items()}
        self.parents = {name: tuple(parents.get(name, ())) for name in self.levels}
        self.tables = {name: self._table(name, tables.get(name)) for name in self.levels}
        self.order = self._sorted()
        """The variables, parents before children."""

    def _table(self, name: str, given: Any) -> NDArray[np.float64]:
        if unknown := [one for one in self.parents[name] if one not in self.levels]:
            raise ScenarioError(f"BayesNet: '{name}' has the parent '{unknown[0]}', which is no variable")
        shape = tuple(len(self.levels[one]) for one in (*self.parents[name], name))
        table = np.asarray(given if given is not None else np.nan, dtype=np.float64)
        if table.shape != shape:
            raise ScenarioError(
                f"BayesNet: the table of '{name}' has shape {table.shape}; with its parents "
                f"{list(self.parents[name])} it has to have {shape}"
            )
        sums = table.sum(axis=-1, keepdims=True)
        if not (np.all(table >= 0) and np.all(np.abs(sums - 1.0) <= _SUMS_TO_ONE)):
            raise ScenarioError(f"BayesNet: each row of the table of '{name}' has to be a distribution that sums to 1")
        return np.asarray(table / sums)

    def _sorted(self) -> tuple[str, ...]:
        done: dict[str, None] = {}
        left = list(self.levels)
        while left:
            ready = [name for name in left if all(one in done for one in self.parents[name])]
            if not ready:
                raise ScenarioError(f"BayesNet: {', '.join(left)} are their own ancestors; a network has no cycle")
            done.update(dict.fromkeys(ready))
            left = [name for name in left if name not in done]
        return tuple(done)

    @classmethod
    def naive(cls, cause: str, causes: Sequence[str], prior: Any, likely: Mapping[str, Any]) -> BayesNet:
        """A cause with levels `causes` and findings that are independent given it.

        `prior` is P(cause), `likely` gives for each finding P(present | cause), an array with a value for each cause.
        """
        finding_levels = ("present", "absent")
        tables = {name: np.stack([np.asarray(p), 1.0 - np.asarray(p)], axis=-1) for name, p in likely.items()}
        return cls(
            {cause: causes, **dict.fromkeys(likely, finding_levels)},
            dict.fromkeys(likely, (cause,)),
            {cause: np.asarray(prior), **tables},
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BayesNet:
        """From `{"variables": [{"name", "levels", "parents", "table"}, ...]}`, as `to_json` gives it."""
        rows = data["variables"]
        return cls(
            {one["name"]: one["levels"] for one in rows},
            {one["name"]: one["parents"] for one in rows},
            {one["name"]: one["table"] for one in rows},
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` takes."""
        return {
            "variables": [
                {
                    "name": name,
                    "levels": list(self.levels[name]),
                    "parents": list(self.parents[name]),
                    "table": self.tables[name].tolist(),
                }
                for name in self.levels
            ]
        }

    @classmethod
    def from_bif(cls, text: str) -> BayesNet:
        """From the text of a file in the Bayesian Interchange Format with discrete variables.

        Raises ScenarioError where a variable's levels or a row of its table is missing.
        """
        levels = {
            name: [one.strip() for one in listed.split(",")]
            for name, listed in re.findall(r"variable\s+(\S+)\s*\{\s*type\s+discrete\s*\[[^]]*\]\s*\{([^}]*)\}", text)
        }
        parents: dict[str, list[str]] = {}
        tables: dict[str, Any] = {}
        for name, given, body in re.findall(r"probability\s*\(\s*([^\s|)]+)\s*(?:\|([^)]*))?\)\s*\{([^}]*)\}", text):
            if name not in levels:
                raise ScenarioError(f"BayesNet.from_bif: a table for '{name}', which is no variable of the file")
            parents[name] = [one.strip() for one in given.split(",") if one.strip()]
            shape = [len(levels[one]) for one in (*parents[name], name)]
            table = np.full(shape, np.nan)
            if flat := re.search(r"\btable\b([^;]*);", body):
                table = np.array([float(one) for one in flat.group(1).split(",")]).reshape(shape)
            for states, row in re.findall(r"\(([^)]*)\)\s*([^;]*);", body):
                at = tuple(
                    levels[parent].index(state.strip())
                    for parent, state in zip(parents[name], states.split(","), strict=True)
                )
                table[at] = [float(one) for one in row.split(",")]
            tables[name] = table
        return cls(levels, parents, tables)

    def sample(self, n: int, draws: Draws, purpose: str = "sample") -> dict[str, NDArray[np.int16]]:
        """`n` joint samples, a column of level indices a variable: int16, shape (n,). Keyed by row and variable."""
        rows = np.arange(n)
        found: dict[str, NDArray[np.int16]] = {}
        for name in self.order:
            given = self.tables[name][tuple(found[one] for one in self.parents[name])]
            given = np.broadcast_to(given, (n, len(self.levels[name])))
            mark = draws.column(f"{purpose}/{name}", rows)
            found[name] = (mark[:, None] >= given.cumsum(axis=1)[:, :-1]).sum(axis=1).astype(np.int16)
        return found

    def level(self, name: str, level: str) -> int:
        """The index of a level. Raises ScenarioError, naming what there is."""
        if name not in self.levels:
            raise ScenarioError(f"BayesNet: no variable '{name}'; there are {', '.join(self.levels)}")
        if level not in self.levels[name]:
            raise ScenarioError(f"BayesNet: '{name}' has no level '{level}'; it has {', '.join(self.levels[name])}")
        return self.levels[name].index(level)

    def posterior(self, target: str, evidence: Mapping[str, str]) -> NDArray[np.float64]:
        """P(target | evidence) over the target's levels, exact, by variable elimination.

        Variables that are no ancestors of target or evidence are left out; of the rest the one whose elimination makes
        the smallest table goes first (Zhang and Poole 1994). Raises ScenarioError for evidence that cannot be.
        """
        fixed = {name: self.level(name, one) for name, one in evidence.items()}
        self.level(target, self.levels.get(target, ("",))[0])
        if target in fixed:
            return np.asarray(np.eye(len(self.levels[target]))[fixed[target]])
        needed: set[str] = set()
        front = [target, *fixed]
        while front:
            name = front.pop()
            if name not in needed:
                needed.add(name)
                front += self.parents[name]
        factors = [self._factor(name, fixed) for name in self.order if name in needed]
        left = [name for name in self.order if name in needed and name not in fixed and name != target]
        while left:
            cheapest = min(left, key=lambda name: (self._size_without(name, factors), name))
            left.remove(cheapest)
            own = [one for one in factors if cheapest in one[0]]
            factors = [one for one in factors if cheapest not in one[0]]
            factors.append(_product(own, drop=cheapest))
        found = _product(factors, keep=(target,))[1]
        total = float(found.sum())
        if not total > 0.0:
            raise ScenarioError(f"BayesNet: {dict(evidence)} has probability 0 in this network")
        return np.asarray(found / total)

    def _factor(self, name: str, fixed: Mapping[str, int]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        over = (*self.parents[name], name)
        table = self.tables[name][tuple(fixed.get(one, slice(None)) for one in over)]
        return tuple(one for one in over if one not in fixed), table

    def _size_without(self, name: str, factors: Sequence[tuple[tuple[str, ...], Any]]) -> int:
        over = {one for names, _ in factors if name in names for one in names} - {name}
        size = 1
        for one in over:
            size *= len(self.levels[one])
        return size


def _product(
    factors: Sequence[tuple[tuple[str, ...], NDArray[np.float64]]],
    *,
    drop: str = "",
    keep: tuple[str, ...] | None = None,
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The product of factors, summed over `drop`, or over all but `keep`."""
    numbers: dict[str, int] = {}
    for names, _ in factors:
        for name in names:
            numbers.setdefault(name, len(numbers))
    out = keep if keep is not None else tuple(name for name in numbers if name != drop)
    given: list[Any] = []
    for names, table in factors:
        given += [table, [numbers[name] for name in names]]
    return out, np.asarray(np.einsum(*given, [numbers[name] for name in out], optimize="greedy"))
