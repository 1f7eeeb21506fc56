"""What each arm did to each outcome that was registered, from an experiment's folder. Shell: reads tables.

The pair is what is compared: a replicate's run of an arm less the same replicate's run of the control. A pair in which
one has no value is left out as a pair, and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import SettingsError
from populace.core.text import shown_line
from populace.experiments.design import Design, DesignedOutcome
from populace.experiments.failing import FailedRate, failed_rates
from populace.experiments.inference.arrays import LEAST
from populace.experiments.inference.bands import Band, band_of
from populace.experiments.inference.effects import ENDLESS, Effect, adjusted, as_rows, effect, interval_of
from populace.experiments.inference.intervals import FEWEST_TO_RESAMPLE, Interval
from populace.experiments.values import Floats, value_of

if TYPE_CHECKING:
    import pandas as pd

    from populace.experiments.bounding import Bounded
    from populace.experiments.gains import Gains
    from populace.experiments.looking import Looked
    from populace.experiments.results import Results
    from populace.experiments.subgroups import Subgroup

_ONE_VALUE: Final = 0.01
"""The share of a tick's resamples that may take one value only, where it is to have a band."""


@dataclass(frozen=True, eq=False)
class Course:
    """An outcome by tick: arrays (ticks + 1,), as the world was before each tick and at the end. NaN: no value.

    `treated` and `control` are means over the pairs, `difference` their difference. `low` and `high` are the band that
    holds the whole difference at once; NaN below five pairs, and at ticks where nearly all pairs differ alike.
    """

    treated: Floats
    control: Floats
    difference: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, eq=False)
class Found:
    """One arm and one outcome. `interval` is the studentised one, or Student's where there is none: see its `method`.

    `clear` says that the interval leaves 0 out and that the p-value adjusted over all arms and outcomes is at most
    1 - level. `predicted` is 'up', 'down' or ''; `published` is the published figure of the arm less that of the
    control, None where either is missing. `left_out` lists replicates that have no value in one of the two arms.
    `placebo` says that nothing but the placebo answered. `anytime` says of an experiment that ends by what it shows
    whether interval and adjusted p hold at every look; those of outcomes without bounds do not, and claim nothing. None
    where the number of replicates is fixed.
    """

    effect: Effect
    interval: Interval
    clear: bool
    predicted: str
    published: float | None
    pairs: tuple[int, ...]
    left_out: tuple[int, ...]
    course: Course
    placebo: bool = False
    anytime: bool | None = None

    @property
    def arm(self) -> str:
        """The arm's name."""
        return self.effect.arm

    @property
    def outcome(self) -> str:
        """The outcome's name."""
        return self.effect.outcome

    @property
    def verdict(self) -> str:
        """`as predicted`, `against the prediction`, `not shown` or, where nothing was predicted, `clear`.

        `no claim` where the experiment ended by what it showed, and the outcome has no interval that allows for that.
        What is not clear is not shown, whichever way the difference points. On the placebo it is `placebo`: what an arm
        does whatever is answered is no finding.
        """
        if self.placebo:
            return "placebo"
        if self.anytime is False:
            return "no claim"
        if not self.clear:
            return "not shown"
        if not self.predicted:
            return "clear"
        return "as predicted" if self._up == (self.predicted == "up") else "against the prediction"

    @property
    def differs_from_predicted(self) -> bool:
        """Whether the difference points the other way than was predicted, clearly or not."""
        return bool(self.predicted) and self.effect.difference != 0.0 and self._up != (self.predicted == "up")

    @property
    def differs_from_published(self) -> bool:
        """Whether the difference points the other way than the published figures do, or there is none here."""
        if not self.published:
            return False
        return self.effect.difference == 0.0 or self._up != (self.published > 0.0)

    @property
    def _up(self) -> bool:
        return self.effect.difference > 0.0


@dataclass(frozen=True, eq=False)
class Effects:
    """All arms against the control, on all outcomes, arms first as they were declared.

    `replicates` are those that are complete in every arm. `missing` says of what nothing can be said, and why.
    `failures` are rates by arm and kind, `bounds` what effects lie between where arms fail differently. `gains` are
    effects by subgroup and by quantile, None where no outcome says what it is of each agent. `looked` are the looks at
    an experiment that goes on until it is clear, None where the number of replicates is fixed.
    """

    control: str
    primary: str
    level: float
    replicates: tuple[int, ...]
    found: tuple[Found, ...]
    missing: tuple[str, ...]
    failures: tuple[FailedRate, ...]
    bounds: tuple[Bounded, ...]
    gains: Gains | None = None
    looked: Looked | None = None

    def __str__(self) -> str:
        head = ("outcome", "arm", f"in {self.control}", "in the arm", "difference", "interval", "p (Holm)", "verdict")
        rows: list[tuple[str, ...]] = [head]
        for one in self.found:
            of, ends = one.effect, f"{one.interval.low:.4g} to {one.interval.high:.4g}"
            numbers = (f"{of.mean_control:.4g}", f"{of.mean_treated:.4g}", f"{of.difference:+.4g}", ends)
            rows.append((one.outcome, one.arm, *numbers, f"{of.p_adjusted:.3g}", one.verdict))
        rows = [tuple(map(shown_line, row)) for row in rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        first = (
            f"{len(self.replicates)} replicates, arms against {shown_line(self.control)}, {self.level:.0%} intervals"
        )
        return "\n".join([first, "", *table, *(shown_line(f"Nothing can be said of {one}.") for one in self.missing)])

    def of(self, arm: str, outcome: str) -> Found:
        """One of them. Raises SettingsError where there is none."""
        for one in self.found:
            if (one.arm, one.outcome) == (arm, outcome):
                return one
        there = ", ".join(f"{one.arm}: {one.outcome}" for one in self.found) or "none"
        raise SettingsError(f"no effect of arm {arm!r} on {outcome!r}; there are {there}")

    @property
    def failures_differ(self) -> bool:
        """Whether an arm fails more or less often than the control, by a test over all kinds and arms."""
        return any(one.p_adjusted <= 1.0 - self.level for one in self.failures)

    @property
    def table(self) -> pd.DataFrame:
        """A row an arm and outcome: `Effect` with its intervals, the one to quote as `low` and `high`, the verdict."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for one, row in zip(self.found, as_rows(tuple(found.effect for found in self.found)), strict=True):
            rows.append({
                **row, "low": one.interval.low, "high": one.interval.high, "interval": one.interval.method,
                "clear": one.clear, "predicted": one.predicted or None, "verdict": one.verdict,
                "published": one.published, "left_out": len(one.left_out),
            })  # fmt: skip
        return pd.DataFrame(rows)

    @property
    def trajectories(self) -> pd.DataFrame:
        """A row an outcome, arm and tick: treated, control, difference, and the ends of its band."""
        import pandas as pd

        frames = [
            pd.DataFrame({"outcome": one.outcome, "arm": one.arm, "tick": range(len(one.course.difference)),
                          **vars(one.course)})
            for one in self.found
        ]  # fmt: skip
        names = ["outcome", "arm", "tick", *Course.__dataclass_fields__]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=names)


def effects_of(results: Results, level: float = 0.95, subgroups: Sequence[Subgroup | str] | None = None) -> Effects:
    """The effects of an experiment, of the replicates that are complete in every arm.

    The test is Student's paired one, adjusted by Holm over all arms and outcomes. Of agents' own values the effects are
    by the registered subgroups, or by these. Raises SettingsError where fewer than two replicates are complete.
    """
    from populace.experiments.bounding import bounds_of
    from populace.experiments.gains import gains_of
    from populace.experiments.looking import looked_at

    design, replicates = results.design, tuple(results.complete)
    if len(replicates) < LEAST:
        raise SettingsError(
            f"{results.name}: {len(replicates)} of {design.replicates} replicates are complete in every arm, and a "
            f"difference needs {LEAST}. Go on with it: populace resume {results.name}"
        )
    series = {(arm, one.name): results.trajectories(one.name, arm) for arm in results.arms for one in design.outcomes}
    answered = {results.run(arm, one).manifest["answers"] for arm in results.arms for one in replicates}
    made: list[tuple[Effect, Found]] = []
    missing: list[str] = []
    for arm in (one.name for one in design.treatments):
        for outcome in design.outcomes:
            treated, control = series[arm, outcome.name], series[design.control, outcome.name]
            values = values_of(treated, outcome, design), values_of(control, outcome, design)
            there = np.isfinite(values[0]) & np.isfinite(values[1])
            if there.sum() < LEAST:
                missing.append(
                    f"{outcome.name} of arm {arm}: {int(there.sum())} of {len(replicates)} pairs have a value in both "
                    f"arms, and a difference needs {LEAST}"
                )
                continue
            one = effect(values[0][there], values[1][there], arm=arm, outcome=outcome.name, level=level)
            made.append((one, Found(
                one, interval_of(one), False, outcome.direction.get(arm, ""), published_of(design, arm, outcome.name),
                tuple(np.array(replicates)[there].tolist()), tuple(np.array(replicates)[~there].tolist()),
                course_of(treated[there], control[there], level), answered == {"placebo"},
            )))  # fmt: skip
    found = tuple(
        replace(of, effect=one, clear=one.p_adjusted <= 1.0 - level and not of.interval.covers(0.0))
        for one, (_, of) in zip(adjusted([one for one, _ in made]), made, strict=True)
    )
    looked = looked_at(results, level)
    if looked is not None:
        found = tuple(at_any_time(one, looked, level) for one in found)
    rates = failed_rates(results, level)
    differ = {one.arm for one in rates if one.p_adjusted <= 1.0 - level}
    bounds = bounds_of(results, sorted(differ), level) if differ else ()
    gains = gains_of(results, level, subgroups, claims=looked is None)
    return Effects(
        design.control, design.primary, level, replicates, found, tuple(missing), rates, bounds, gains, looked
    )  # fmt: skip


def at_any_time(one: Found, looked: Looked, level: float) -> Found:
    """A finding of an experiment that ends by what it shows: what is claimed of it holds at every look."""
    held = looked.now().get((one.arm, one.outcome))
    if held is None:
        return replace(one, effect=replace(one.effect, p_adjusted=float("nan")), clear=False, anytime=False)
    low, high, p = held
    interval = Interval(low, high, level, "anytime-valid")
    clear = p <= 1.0 - level and not interval.covers(0.0)
    return replace(one, effect=replace(one.effect, p_adjusted=p), interval=interval, clear=clear, anytime=True)


def values_of(series: Floats, outcome: DesignedOutcome, design: Design) -> Floats:
    """What is compared of trajectories (replicates, ticks + 1): one number each, (replicates,)."""
    begins = min((one.treated_at or 0 for one in design.treatments), default=0)
    return np.array([value_of(one, outcome, begins) for one in series])


def published_of(design: Design, arm: str, outcome: str) -> float | None:
    """What was published of an arm less what was of the control; None where either is no number."""
    figures = design.published.get(outcome) or {}
    arms, control = (figure_of(figures.get(name)) for name in (arm, design.control))
    return None if arms is None or control is None else arms - control


def figure_of(value: Any) -> float | None:
    """A published figure as a number; None for what is none, such as a source."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def course_of(treated: Floats, control: Floats, level: float) -> Course:
    """The trajectory of an effect: of (pairs, ticks + 1), of the ticks at which every pair has a value."""
    whole = np.isfinite(treated).all(axis=0) & np.isfinite(control).all(axis=0)
    empty = np.full(treated.shape[1], np.nan)
    columns = {name: empty.copy() for name in Course.__dataclass_fields__}
    if whole.any():
        between = treated[:, whole] - control[:, whole]
        columns["treated"][whole] = treated[:, whole].mean(axis=0)
        columns["control"][whole] = control[:, whole].mean(axis=0)
        columns["difference"][whole] = between.mean(axis=0)
        banded = can_resample(between)
        if banded.any():
            made: Band = band_of(between[:, banded], level)
            at = np.flatnonzero(whole)[banded]
            if made.critical < ENDLESS:
                columns["low"][at], columns["high"][at] = made.low, made.high
    return Course(**columns)


def can_resample(between: Floats) -> NDArray[np.bool_]:
    """Of (pairs, ticks) the ticks whose mean has a bootstrap: where hardly any resample takes one value only.

    A tick at which all pairs differ alike has one too, without width. Where nearly all do, most resamples have no
    standard error, and one such tick would leave the whole trajectory without a band.
    """
    pairs = len(between)
    if pairs < FEWEST_TO_RESAMPLE:
        return np.zeros(between.shape[1], bool)
    most = np.array([np.unique(column, return_counts=True)[1].max() for column in between.T])
    kept: NDArray[np.bool_] = (most == pairs) | ((most / pairs) ** pairs < _ONE_VALUE)
    return kept
