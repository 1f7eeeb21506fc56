"""How well a set of items measures: Cronbach's alpha, and how alike two rounds of answers are."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from populace.agents.probes.instrument import Instrument
from populace.core.errors import ScenarioError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
_FORMS: Final = ("ICC(1,1)", "ICC(2,1)", "ICC(3,1)")


def cronbach_alpha(values: Any) -> float:
    """Cronbach's alpha of items that are already keyed, (people, items), NaN where an answer is left out.

    alpha = k / (k - 1) (1 - tr C / sum C) with the covariances C of the k items, each over the people who answered both
    (pairwise), as `alpha` of the R package psych has them. Cronbach (1951), Psychometrika 16, 297-334. NaN where the
    items have no variance. Raises ScenarioError with fewer than two items, or two items with fewer than two people.
    """
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ScenarioError(f"alpha needs a table of (people, items) with two or more items, got shape {table.shape}")
    return alpha_of_covariance(covariance(table))


def covariance(values: Any) -> Floats:
    """Sample covariances of columns, each pair over the rows that have both: (columns, columns)."""
    table = np.asarray(values, np.float64)
    there = ~np.isnan(table)
    both = there.astype(np.float64).T @ there
    if both.min() < 2:
        raise ScenarioError("covariances need two people or more who answered both of any two items")
    filled = np.where(there, table - np.nanmean(table, axis=0), 0.0)
    sums = filled.T @ there  # [i, j]: the sum of item i over those who answered j too
    return np.asarray((filled.T @ filled - sums * sums.T / both) / (both - 1))


def alpha_of_covariance(matrix: Any) -> float:
    """Cronbach's alpha of k keyed items from their covariance matrix, (k, k); NaN where all of it sums to nothing."""
    c = np.asarray(matrix, np.float64)
    k, total = len(c), float(c.sum())
    return float(k / (k - 1) * (1.0 - np.trace(c) / total)) if k > 1 and total > 0 else float("nan")


def alphas(instrument: Instrument, answers: Any) -> dict[str, float]:
    """Cronbach's alpha of every scale of two or more items, by its key; `answers` as in `Instrument.matrix`."""
    return {
        scale.name: cronbach_alpha(instrument.keyed(scale.name, answers))
        for scale in instrument.scales
        if len(scale.key) > 1
    }


@dataclass(frozen=True)
class Retest:
    """How alike two rounds of values of the same people are, over the `n` who have both.

    `r` is Pearson's correlation, `icc` the intraclass correlation ICC(2,1), which falls with a shift of the mean where
    `r` does not; `agreement` the share who gave the same value, `shift` the mean change, `mean_change` the mean size of
    the change. NaN where there is no variance.
    """

    n: int
    r: float
    icc: float
    agreement: float
    shift: float
    mean_change: float


def retest(first: Any, second: Any) -> Retest:
    """Compare two rounds, (people,) each, NaN for none. Raises ScenarioError for unequal numbers, fewer than two."""
    one, two = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != two.shape or one.ndim != 1:
        raise ScenarioError(f"retest needs a value a person in both rounds, got shapes {one.shape} and {two.shape}")
    both = ~(np.isnan(one) | np.isnan(two))
    one, two = one[both], two[both]
    if len(one) < 2:
        raise ScenarioError(f"retest needs two people or more with both values, got {len(one)}")
    spread = float(one.std() * two.std())
    r = float(((one - one.mean()) * (two - two.mean())).mean() / spread) if spread > 0 else float("nan")
    change = two - one
    return Retest(
        n=len(one),
        r=r,
        icc=intraclass(np.column_stack([one, two])),
        agreement=float((change == 0).mean()),
        shift=float(change.mean()),
        mean_change=float(np.abs(change).mean()),
    )


class Retests(dict[str, Retest]):
    """A whole instrument in two rounds: `Retest` by scale and item, printed as a table, a line each."""

    def frame(self) -> pd.DataFrame:
        """The table: a row a scale or item, a column a figure of `Retest`."""
        import pandas as pd

        return pd.DataFrame([vars(one) for one in self.values()], index=pd.Index(list(self), name="of"))

    def __str__(self) -> str:
        heads = [one.name for one in fields(Retest)]
        rows = [[name, *(f"{value:.4g}" for value in vars(one).values())] for name, one in self.items()]
        table = [["", *heads], *rows]
        widths = [max(len(row[at]) for row in table) for at in range(len(table[0]))]
        first, *rest = widths
        return "\n".join(
            "  ".join([f"{row[0]:<{first}}", *(f"{cell:>{width}}" for cell, width in zip(row[1:], rest, strict=True))])
            for row in table
        )


def retest_scales(instrument: Instrument, first: Any, second: Any) -> Retests:
    """Compare two rounds of a whole instrument, of the same people in the same order: every scale, then every item.

    `first` and `second` as in `Instrument.matrix`. A scale and an item of one name are one. What fewer than two people
    have in both rounds is left out. Raises ScenarioError for rounds of unequal numbers of people.
    """
    one, two = instrument.matrix(first), instrument.matrix(second)
    if one.shape != two.shape:
        raise ScenarioError(f"retest needs the same people in both rounds, got {len(one)} and {len(two)}")
    again = instrument.score(two)
    pairs = {name: (values, again[name]) for name, values in instrument.score(one).items()}
    for at, name in enumerate(instrument.item_names):
        pairs.setdefault(name, (one[:, at], two[:, at]))
    enough = {name: pair for name, pair in pairs.items() if (~np.isnan(np.array(pair))).all(axis=0).sum() > 1}
    return Retests({name: retest(*pair) for name, pair in enough.items()})


def intraclass(values: Any, form: Literal["ICC(1,1)", "ICC(2,1)", "ICC(3,1)"] = "ICC(2,1)") -> float:
    """The intraclass correlation of a whole table, (people, rounds or raters), by Shrout and Fleiss (1979).

    ICC(1,1): raters differ from person to person; ICC(2,1): all are rated by the same raters, who are a sample of
    raters, absolute agreement; ICC(3,1): these raters only, consistency. Psychological Bulletin 86, 420-428. NaN
    without variance.
    """
    table = np.asarray(values, np.float64)
    n, k = table.shape
    if form not in _FORMS or n < 2 or k < 2 or np.isnan(table).any():
        raise ScenarioError(f"intraclass needs a whole table of 2 x 2 or more and one of {_FORMS}, got {form} {(n, k)}")
    mean = table.mean()
    people = k * ((table.mean(axis=1) - mean) ** 2).sum() / (n - 1)
    raters = n * ((table.mean(axis=0) - mean) ** 2).sum() / (k - 1)
    within = ((table - table.mean(axis=1, keepdims=True)) ** 2).sum() / (n * (k - 1))
    error = (within * n * (k - 1) - raters * (k - 1)) / ((n - 1) * (k - 1))
    if form == "ICC(1,1)":
        over, under = people - within, people + (k - 1) * within
    elif form == "ICC(2,1)":
        over, under = people - error, people + (k - 1) * error + k * (raters - error) / n
    else:
        over, under = people - error, people + (k - 1) * error
    return float(over / under) if under > 0 else float("nan")
