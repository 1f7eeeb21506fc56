"""Agents of an experiment's runs: what an outcome is of each, and its subgroup. Shell: reads tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from populace.cluster.job import people_of, plan_job
from populace.core.errors import ScenarioError, SettingsError
from populace.experiments.design import Design, DesignedArm, DesignedOutcome, folder_of
from populace.experiments.playing import bare_settings
from populace.experiments.subgroups import Each, Floats, Subgroup
from populace.experiments.values import agents_scores
from populace.store.tables.tables import panel

if TYPE_CHECKING:
    from populace.experiments.results import Results


class People:
    """The populations of an experiment's runs, as they are before tick 0, built anew from its design."""

    def __init__(self, design: Design) -> None:
        self._design = design
        self._built: dict[Any, dict[str, list[Any]]] = {}

    def of(self, arm: DesignedArm, replicate: int) -> dict[str, list[Any]]:
        """The columns of a run's population, agents in the order of their ids; None where a type has no such column."""
        key = arm.society, repr(sorted(arm.parameters.items())), repr(sorted(arm.settings.items())), replicate
        if key not in self._built:
            settings = bare_settings(self._design, arm, replicate)
            _, people = people_of(plan_job(self._design.societies[arm.society], settings, whole=False))
            names = dict.fromkeys(name for one in people.values() for name in one.columns)
            self._built[key] = {
                name: [value for one in people.values() for value in one.columns.get(name, [None] * len(one))]
                for name in names
            }
        return self._built[key]

    def column(self, arm: DesignedArm, replicate: int, name: str) -> list[Any]:
        """A column of a run's population. Raises ScenarioError, with those there are, where there is none."""
        columns = self.of(arm, replicate)
        if name not in columns:
            raise ScenarioError(f"the population has no column {name!r}; it has {', '.join(columns)}")
        return columns[name]


class Agents:
    """What outcomes are of each agent in the complete replicates of an experiment."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.people = People(results.design)
        self._kept: dict[tuple[str, str, int], Floats] = {}

    def values(self, outcome: DesignedOutcome, arm: str, replicate: int) -> Floats:
        """The outcome of each agent of a run, (agents,), at the tick at which it is read; NaN for who has none.

        Agents are those of before tick 0. Raises ScenarioError and SettingsError for what cannot be told by agent.
        """
        key = outcome.name, arm, replicate
        if key not in self._kept:
            self._kept[key] = self._read(outcome, self.results.design.arm(arm), replicate)
        return self._kept[key]

    def _read(self, outcome: DesignedOutcome, arm: DesignedArm, replicate: int) -> Floats:
        design, run = self.results.design, self.results.folder / folder_of(arm, replicate)
        each = outcome.each
        if each is None and outcome.scale is None:
            raise SettingsError(f"outcome {outcome.name!r} does not say what it is of each agent: give it each=")
        first = min((one.treated_at or 0 for one in design.treatments), default=0) + 1
        ticks = list(range(first, design.ticks + 1)) if outcome.read == "mean" and outcome.at is None else [
            design.ticks if outcome.at is None else outcome.at
        ]  # fmt: skip
        if each is None:
            rows = [agents_scores(run, outcome, tick) for tick in ticks]
        else:
            table = panel(run, each.field)
            rows = [each.of(table[min(tick, len(table) - 1)], table[0]) for tick in ticks]
        found = np.mean(rows, axis=0)
        kept = len(next(iter(self.people.of(arm, replicate).values()), found))
        return self._only(each, arm, replicate, found[:kept])

    def _only(self, each: Each | None, arm: DesignedArm, replicate: int, values: Floats) -> Floats:
        for name, wanted in ({} if each is None else each.only).items():
            column = self.people.column(arm, replicate, name)
            values = np.where([one == wanted for one in column], values, np.nan)
        return values

    def groups(
        self, subgroup: Subgroup, arms: Sequence[str], replicates: Sequence[int]
    ) -> tuple[tuple[str, ...], dict[tuple[str, int], NDArray[np.int64]]]:
        """The names of a subgroup's groups, and the group of each agent of each run; -1 for one who is in none."""
        design = self.results.design
        columns = {
            (arm, one): self.people.column(design.arm(arm), one, subgroup.column) for arm in arms for one in replicates
        }
        return subgroup.grouped(columns)
