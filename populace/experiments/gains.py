"""Who gains and who loses: each arm's effect by subgroup and by quantile, of agents' own values. Shell: reads tables.

The replicate stays the unit: of each replicate a group has one mean, and a quantile one value. p-values are adjusted by
Holm over all arms, outcomes, columns and groups together, and over all quantiles together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from populace.core.errors import ScenarioError, SettingsError
from populace.experiments.by_agent import Agents
from populace.experiments.design import DesignedOutcome
from populace.experiments.inference.arrays import LEAST
from populace.experiments.inference.clustered import ClusteredEffect, within_runs
from populace.experiments.inference.effects import Effect, as_rows, interval_of
from populace.experiments.inference.heterogeneity import GroupEffect, QuantileEffects, by_group, by_quantile
from populace.experiments.inference.intervals import Interval
from populace.experiments.inference.multiplicity import holm
from populace.experiments.subgroups import Floats, Subgroup, named

if TYPE_CHECKING:
    import pandas as pd

    from populace.experiments.results import Results

MOST_EMPTY: Final = 0.1
"""The share of replicates in which a group may have nobody before it is left out."""


@dataclass(frozen=True, eq=False)
class Gained:
    """One arm's effect on one outcome in one group. `agents` is how many it has in a run, on average.

    `interval` is the one to quote, `clear` says that it leaves 0 out and the adjusted p-value is at most 1 - level.
    `apart` says that the group differs from the others' mean, by its p-value adjusted over all groups: of two groups
    of which one is clear and the other is not, that says nothing.
    """

    arm: str
    outcome: str
    column: str
    group: str
    agents: float
    found: GroupEffect
    interval: Interval
    clear: bool
    apart: bool

    @property
    def effect(self) -> Effect:
        """The effect in this group."""
        return self.found.effect


@dataclass(frozen=True, eq=False)
class Quantiles:
    """What an arm does to quantiles of agents' outcomes, and which of these are clear."""

    arm: str
    outcome: str
    found: QuantileEffects
    clear: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Within:
    """The difference of those whom an arm's lot treats and the others of the same runs; `key` is the lot's."""

    arm: str
    outcome: str
    key: str
    by: str
    found: ClusteredEffect


@dataclass(frozen=True, eq=False)
class Gains:
    """All that is known by agent. `registered` says whether the groups stood in the design before it was run.

    `missing` says of what nothing can be said, and why. `claims` is False where the experiment stopped by what was
    seen: intervals of a fixed number of replicates claim nothing then.
    """

    groups: tuple[Gained, ...]
    quantiles: tuple[Quantiles, ...]
    within: tuple[Within, ...]
    missing: tuple[str, ...]
    registered: bool
    claims: bool

    @property
    def table(self) -> pd.DataFrame:
        """A row an arm, outcome and group: `Effect` with the interval to quote, and how unlike the others it is."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for one, row in zip(self.groups, as_rows(tuple(one.effect for one in self.groups)), strict=True):
            rows.append({
                "outcome": one.outcome, "arm": one.arm, "column": one.column, "group": one.group, "agents": one.agents,
                **{key: value for key, value in row.items() if key not in ("arm", "outcome")},
                "low": one.interval.low, "high": one.interval.high, "clear": one.clear,
                "unlike_others": one.found.unlike_others, "p_unlike": one.found.p_unlike, "apart": one.apart,
            })  # fmt: skip
        return pd.DataFrame(rows)

    @property
    def quantile_table(self) -> pd.DataFrame:
        """A row an arm, outcome and quantile: how far it moves, with its interval and the band over all of them."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for one in self.quantiles:
            for at, of in enumerate(one.found.effects):
                ends, band = interval_of(of), one.found.band
                rows.append({
                    "outcome": one.outcome, "arm": one.arm, "quantile": one.found.quantiles[at],
                    "treated": of.mean_treated, "control": of.mean_control, "difference": of.difference,
                    "low": ends.low, "high": ends.high, "p_adjusted": of.p_adjusted, "clear": one.clear[at],
                    "band_low": np.nan if band is None else band.low[at],
                    "band_high": np.nan if band is None else band.high[at],
                })  # fmt: skip
        return pd.DataFrame(rows)


def gains_of(
    results: Results, level: float = 0.95, subgroups: Sequence[Subgroup | str] | None = None, *, claims: bool = True
) -> Gains | None:
    """Who gains and who loses, of the replicates that are complete in every arm; by the registered subgroups, or these.

    None where no outcome says what it is of each agent. Raises SettingsError for what are no subgroups.
    """
    design, replicates = results.design, results.complete
    asked = design.subgroups if subgroups is None else named(subgroups)
    outcomes = [one for one in design.outcomes if one.each is not None or one.scale is not None]
    if not outcomes or len(replicates) < LEAST:
        return None
    maker = _Maker(Agents(results), replicates, level, claims=claims)
    for arm in (one.name for one in design.treatments):
        for outcome in outcomes:
            for subgroup in asked:
                maker.by_groups(arm, outcome, subgroup)
            maker.by_quantiles(arm, outcome)
            maker.within_its_runs(arm, outcome)
    return maker.made(registered=subgroups is None or asked == design.subgroups)


class _Maker:
    """Goes through arms and outcomes, and adjusts over all of them at the end."""

    def __init__(self, agents: Agents, replicates: list[int], level: float, *, claims: bool) -> None:
        self._agents = agents
        self._control = agents.results.design.control
        self._replicates = replicates
        self._level = level
        self._claims = claims
        self._groups: list[Gained] = []
        self._quantiles: list[tuple[str, str, QuantileEffects]] = []
        self._within: list[Within] = []
        self._missing: dict[str, None] = {}

    def _values(self, outcome: DesignedOutcome, arm: str) -> list[Floats]:
        return [self._agents.values(outcome, arm, one) for one in self._replicates]

    def by_groups(self, arm: str, outcome: DesignedOutcome, subgroup: Subgroup) -> None:
        """Effects by the groups of one column."""
        try:
            names, placed = self._agents.groups(subgroup, (self._control, arm), self._replicates)
            tables, sizes = {}, {}
            for one in (arm, self._control):
                groups = [placed[one, at] for at in self._replicates]
                tables[one], sizes[one] = _means(self._values(outcome, one), groups, len(names))
        except (ScenarioError, SettingsError) as error:
            self._missing[f"{outcome.name} by {subgroup.column}: {error}"] = None
            return
        there = np.isfinite(tables[arm]) & np.isfinite(tables[self._control])
        kept = [at for at in range(len(names)) if there[:, at].mean() >= 1.0 - MOST_EMPTY]
        for at in set(range(len(names))) - set(kept):
            self._missing[
                f"{outcome.name} by {subgroup.column}, group {names[at]!r}: it has nobody with a value in "
                f"{int((~there[:, at]).sum())} of {len(there)} replicates"
            ] = None
        rows = there[:, kept].all(axis=1)
        if len(kept) < 2 or rows.sum() < LEAST:
            self._missing[
                f"{outcome.name} by {subgroup.column}: fewer than two groups, or two replicates, are left"
            ] = None
            return
        first, second = ({names[at]: tables[one][rows, at] for at in kept} for one in (arm, self._control))
        for at, found in zip(kept, by_group(first, second, arm=arm, level=self._level), strict=True):
            self._groups.append(Gained(
                arm, outcome.name, subgroup.column, names[at], float(sizes[arm][:, at].mean()), found,
                interval_of(found.effect), clear=False, apart=False,
            ))  # fmt: skip

    def by_quantiles(self, arm: str, outcome: DesignedOutcome) -> None:
        """How far quantiles of agents' values move; nothing of what has two values only."""
        try:
            first, second = (self._values(outcome, one) for one in (arm, self._control))
        except (ScenarioError, SettingsError) as error:
            self._missing[f"{outcome.name}: {error}"] = None
            return
        every = np.concatenate([*first, *second])
        if len(np.unique(every[np.isfinite(every)])) <= 2:
            return
        try:
            found = by_quantile(first, second, arm=arm, level=self._level)
        except ScenarioError as error:
            self._missing[f"quantiles of {outcome.name}: {error}"] = None
            return
        self._quantiles.append((arm, outcome.name, found))

    def within_its_runs(self, arm: str, outcome: DesignedOutcome) -> None:
        """What those whom a lot treats differ in from the others of their run."""
        results = self._agents.results
        if not results.design.randomised:
            return
        frame = results.assignment(arm)
        ways = {one["key"]: one["by"] for one in results.design.randomised}
        for key, drawn in frame.groupby("key", sort=False):
            treated = {at: of.sort_values("agent")["treated"].to_numpy(float) for at, of in drawn.groupby("replicate")}
            try:
                values = {at: self._agents.values(outcome, arm, at) for at in self._replicates}
                there = {at: np.isfinite(of) for at, of in values.items()}
                columns = [
                    (values[at][there[at]], treated[at][: len(values[at])][there[at]]) for at in self._replicates
                ]
                run = np.repeat(self._replicates, [len(of) for of, _ in columns])
                outcomes, dealt = (np.concatenate([one[which] for one in columns]) for which in (0, 1))
                found = within_runs(outcomes, dealt, run, self._level)
            except (ScenarioError, SettingsError) as error:
                self._missing[f"{outcome.name} of those drawn within runs of {arm}: {error}"] = None
                continue
            self._within.append(Within(arm, outcome.name, str(key), ways.get(key, ""), found))

    def made(self, *, registered: bool) -> Gains:
        """All of it, adjusted."""
        most = 1.0 - self._level
        p = holm([one.effect.p_t for one in self._groups])
        unlike = holm([one.found.p_unlike_alone for one in self._groups])
        groups = []
        for one, of, other in zip(self._groups, p.tolist(), unlike.tolist(), strict=True):
            found = replace(one.found, effect=replace(one.effect, p_adjusted=of), p_unlike=other)
            clear = self._claims and of <= most and not one.interval.covers(0.0)
            groups.append(replace(one, found=found, clear=clear, apart=self._claims and other <= most))
        every = holm([of.p_t for _, _, found in self._quantiles for of in found.effects]).tolist()
        quantiles = []
        for arm, outcome, moved in self._quantiles:
            own, every = every[: len(moved.effects)], every[len(moved.effects) :]
            effects = tuple(replace(of, p_adjusted=one) for of, one in zip(moved.effects, own, strict=True))
            clear = tuple(self._claims and of.p_adjusted <= most and not interval_of(of).covers(0.0) for of in effects)
            quantiles.append(Quantiles(arm, outcome, replace(moved, effects=effects), clear))
        return Gains(
            tuple(groups), tuple(quantiles), tuple(self._within), tuple(self._missing), registered, self._claims
        )


def _means(values: Sequence[Floats], groups: Sequence[Any], many: int) -> tuple[Floats, Floats]:
    """The mean of each group in each replicate, NaN for nobody, and how many have a value: (replicates, groups)."""
    means, sizes = np.full((len(values), many), np.nan), np.zeros((len(values), many))
    for row, (of, placed) in enumerate(zip(values, groups, strict=True)):
        held, where = (column[: min(len(of), len(placed))] for column in (of, placed))
        for at in range(many):
            own = held[(where == at) & np.isfinite(held)]
            sizes[row, at] = len(own)
            if len(own):
                means[row, at] = own.mean()
    return means, sizes


def differing(groups: Sequence[Gained]) -> Mapping[tuple[str, str, str], list[Gained]]:
    """The groups by (arm, outcome, column), of those in which one is apart from the others."""
    found: dict[tuple[str, str, str], list[Gained]] = {}
    for one in groups:
        found.setdefault((one.arm, one.outcome, one.column), []).append(one)
    return {key: of for key, of in found.items() if any(one.apart for one in of)}
