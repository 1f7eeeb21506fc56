"""A population beside the table that it was drawn from: a line a column, printed or plotted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.agents.population import Population, Weights, weights_of
from populace.core.errors import ScenarioError, SettingsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
_FEW: Final = 12
"""Columns with no more values than these are compared value by value."""
_SURE: Final = 0.01
_EXPECTED: Final = 5
"""Values of which fewer than these are to be expected are taken together in chi squared."""


@dataclass(frozen=True)
class Compared:
    """One column of a population and of its source.

    Of a column of numbers with more than twelve values, `what` is 'numbers', `here` and `there` hold mean, sd and the
    10 %, 50 % and 90 % quantiles, and `distance` is the largest difference between the cumulative shares
    (Kolmogorov-Smirnov). Of any other it is 'shares', by value, and `distance` is half the sum of their differences
    (total variation). `p_value` says how likely a sample of this size, drawn from the source, is to differ by as much
    or more: asymptotic, by Kolmogorov's distribution or by chi squared. `missing` are the shares without a value.
    """

    name: str
    what: str
    here: dict[Any, float]
    there: dict[Any, float]
    distance: float
    p_value: float
    missing: tuple[float, float]


@dataclass(frozen=True)
class Summary:
    """The columns of a population against those of its source: `print(summary)`, `summary.plot()`."""

    size: int
    source_size: int
    columns: dict[str, Compared]

    @property
    def off(self) -> list[str]:
        """The columns that sampling does not account for, at 1 % over all of them together (Bonferroni)."""
        sure = _SURE / max(1, len(self.columns))
        return [name for name, one in self.columns.items() if one.p_value < sure]

    def __str__(self) -> str:
        lines = [f"{self.size:,} agents, drawn from {self.source_size:,} rows (agents | source)"]
        for name, one in self.columns.items():
            shown = list(one.there)[:6] if one.what == "shares" else ["mean", "sd", "median"]
            told = ", ".join(
                f"{value}: {_text(one.here.get(value, 0.0))} | {_text(one.there[value])}" for value in shown
            )
            more = len(one.there) - len(shown) if one.what == "shares" else 0
            rest = f", and {more} more" if more > 0 else ""
            mark = "  OFF" if name in self.off else ""
            lines.append(f"{name}: {told}{rest}; distance {one.distance:.3f} (p {one.p_value:.2g}){mark}")
        return "\n".join(lines)

    def plot(self) -> Figure:
        """A panel a column: shares as bars, numbers by mean and middle 80 %. Needs matplotlib (`populace[plot]`)."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise SettingsError("plots need matplotlib: pip install 'populace[plot]'") from None
        across = min(3, len(self.columns))
        down = math.ceil(len(self.columns) / across)
        figure = Figure(figsize=(3.2 * across, 2.4 * down), layout="constrained")
        for at, (name, one) in enumerate(self.columns.items()):
            axes = figure.add_subplot(down, across, at + 1)
            axes.set_title(f"{name}, distance {one.distance:.3f}", fontsize=9)
            if one.what == "shares":
                values = list(one.there)[:_FEW]
                places = np.arange(len(values))
                axes.bar(places - 0.2, [one.here.get(value, 0.0) for value in values], 0.4, label="agents")
                axes.bar(places + 0.2, [one.there[value] for value in values], 0.4, label="source", color="0.7")
                axes.set_xticks(places, [f"{value}"[:12] for value in values], fontsize=7)
            else:
                for place, (who, found, colour) in enumerate(
                    (("agents", one.here, "C0"), ("source", one.there, "0.5"))
                ):
                    axes.plot([found["10 %"], found["90 %"]], [place, place], color=colour, lw=4, alpha=0.5)
                    axes.plot([found["mean"]], [place], "o", color=colour, label=who)
                axes.set_yticks([0, 1], ["agents", "source"], fontsize=7)
                axes.set_ylim(-0.7, 1.7)
            if at == 0:
                axes.legend(fontsize=7)
        return figure


def summarize(people: Population, source: Population, weights: Weights | None) -> Summary:
    """Compare the columns that both have. Raises ScenarioError where there is none, and as `weights_of` does."""
    each = weights_of(source, weights)
    own = weights if isinstance(weights, str) else None
    names = [name for name in people.columns if name in source.columns and name != own]
    if not names:
        raise ScenarioError(
            f"summary: no column of the population ({', '.join(people.columns)}) is one of the source "
            f"({', '.join(source.columns)})"
        )
    ones = np.ones(people.size)
    compared = {name: _compare(name, people.columns[name], ones, source.columns[name], each) for name in names}
    return Summary(people.size, source.size, compared)


def _compare(name: str, mine: list[Any], ones: Floats, its: list[Any], each: Floats) -> Compared:
    has, had = np.array([not _none(one) for one in mine]), np.array([not _none(one) for one in its])
    missing = (1.0 - float(has.mean()), 1.0 - float(each[had].sum() / each.sum()))
    here = [one for one, there in zip(mine, has, strict=True) if there]
    there = [one for one, had_one in zip(its, had, strict=True) if had_one]
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (*here, *there))
    if here and there and numbers and len(set(there)) > _FEW:
        return _numbers(name, np.array(here, float), np.array(there, float), each[had], missing)
    shares, wanted = _shares(here, ones[has]), _shares(there, each[had])
    order = sorted(wanted, key=lambda one: (isinstance(one, str), one)) if _ordered(wanted) else list(wanted)
    values = [*order, *(value for value in shares if value not in wanted)]
    a = np.array([shares.get(value, 0.0) for value in values])
    b = np.array([wanted.get(value, 0.0) for value in values])
    return Compared(
        name=name,
        what="shares",
        here={value: shares.get(value, 0.0) for value in values},
        there={value: wanted.get(value, 0.0) for value in values},
        distance=float(np.abs(a - b).sum() / 2),
        p_value=_chi_squared(a, b, len(here)),
        missing=missing,
    )


def _numbers(name: str, here: Floats, there: Floats, each: Floats, missing: tuple[float, float]) -> Compared:
    from scipy.special import kolmogorov

    order = np.argsort(there, kind="stable")
    values, cumulative = there[order], np.cumsum(each[order]) / each.sum()
    points = np.unique(np.concatenate([here, there]))
    ours = np.searchsorted(np.sort(here), points, side="right") / len(here)
    theirs = np.concatenate([[0.0], cumulative])[np.searchsorted(values, points, side="right")]
    distance = float(np.abs(ours - theirs).max())
    return Compared(
        name=name,
        what="numbers",
        here=_moments(here, np.ones(len(here))),
        there=_moments(there, each),
        distance=distance,
        p_value=float(kolmogorov(distance * math.sqrt(len(here)))),
        missing=missing,
    )


def _moments(values: Floats, each: Floats) -> dict[Any, float]:
    mean = float(np.average(values, weights=each))
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(each[order]) / each.sum()

    def quantile(share: float) -> float:
        return float(values[order][min(int(np.searchsorted(cumulative, share - 1e-12)), len(values) - 1)])

    return {
        "mean": mean,
        "sd": math.sqrt(float(np.average((values - mean) ** 2, weights=each))),
        "10 %": quantile(0.1),
        "median": quantile(0.5),
        "90 %": quantile(0.9),
    }


def _shares(values: Sequence[Any], each: Floats) -> dict[Any, float]:
    found: dict[Any, float] = {}
    for value, weight in zip(values, each.tolist(), strict=True):
        found[value] = found.get(value, 0.0) + weight
    total = sum(found.values()) or 1.0
    return {value: share / total for value, share in found.items()}


def _chi_squared(here: Floats, there: Floats, n: int) -> float:
    """P of so large a chi squared for the shares of n draws; 0 where there is a value that the source has not."""
    from scipy.special import chdtrc

    if (here[there == 0] > 0).any():
        return 0.0
    rare = there * n < _EXPECTED
    here = np.append(here[~rare], here[rare].sum())
    there = np.append(there[~rare], there[rare].sum())
    if not rare.any() or there[-1] * n < 1:
        here, there = here[:-1], there[:-1]
    if len(there) < 2:
        return 1.0
    statistic = n * float(((here - there) ** 2 / there).sum())
    return float(chdtrc(len(there) - 1, statistic))


def _ordered(values: dict[Any, float]) -> bool:
    return all(isinstance(one, int | float) for one in values) or all(isinstance(one, str) for one in values)


def _none(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"
