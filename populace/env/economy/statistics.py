"""The statistics office: a month's figures as a series, and inequality."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SERIES: Final = (
    "month",
    "real_output",
    "nominal_output",
    "output_units",
    "consumption_cents",
    "consumption_units",
    "disposable_income_cents",
    "saving_cents",
    "saving_rate",
    "unemployment_rate",
    "jobless_share",
    "hours",
    "wage_cents",
    "price_cents",
    "price_index",
    "inflation_month",
    "inflation_year",
    "vacancies",
    "stock_units",
    "tax_cents",
    "transfer_cents",
    "government_balance_cents",
    "government_debt_cents",
    "money_cents",
)
"""The columns of the series; `Economy` says what each is."""


class Statistics:
    """The last `keep` months' figures: a ring of float64, a column a figure. A month that lacks one has NaN."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.months = 0
        self.base_price = 0.0
        self.rows: NDArray[np.float64] = np.full((keep, len(SERIES)), np.nan)

    def add(self, figures: dict[str, float]) -> None:
        """Put a month's figures down."""
        self.rows[self.months % self.keep] = [figures[name] for name in SERIES]
        self.months += 1

    def last(self, name: str, ago: int = 0) -> float:
        """A figure of the last month closed, or of `ago` months before it; NaN where there is none."""
        at = self.months - 1 - ago
        if at < 0 or ago >= self.keep:
            return float("nan")
        return float(self.rows[at % self.keep, SERIES.index(name)])

    def series(self, name: str) -> NDArray[np.float64]:
        """A figure of all kept months, oldest first."""
        at = np.arange(max(0, self.months - self.keep), self.months) % self.keep
        found: NDArray[np.float64] = self.rows[at, SERIES.index(name)]
        return found

    def state(self) -> dict[str, Any]:
        """The kept months."""
        used = min(self.months, self.keep)
        return {"rows": self.rows[:used], "months": self.months, "base_price": self.base_price}

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.rows = np.full((self.keep, len(SERIES)), np.nan)
        self.rows[: len(state["rows"])] = state["rows"]
        self.months, self.base_price = int(state["months"]), float(state["base_price"])


def gini(values: NDArray[Any]) -> float:
    """The Gini coefficient, 0 where all own the same, of values of 0 or more; NaN where nobody owns anything.

    Half the relative mean difference, over all pairs with repetition: `2 * sum(i * x_i) / (n * sum(x)) - (n + 1) / n`
    with x sorted and i from 1. Values below 0 count as 0.
    """
    own = np.sort(np.maximum(np.asarray(values, float), 0.0))
    total = float(own.sum())
    if total <= 0.0:
        return float("nan")
    n = len(own)
    return float(2.0 * (own * np.arange(1, n + 1)).sum() / (n * total) - (n + 1) / n)
