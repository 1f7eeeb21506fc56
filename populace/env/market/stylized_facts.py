"""What is measured of a market's prices: returns, autocorrelation, clustering of volatility, impact by size. Pure.

The facts that real markets show, and these compare with: Cont 2001, doi:10.1080/713665670.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]


def returns(prices: NDArray[np.number]) -> Column:
    """Logarithmic returns from price to price, (n - 1,); pairs in which a price is NaN or not above 0 are left out."""
    values = np.asarray(prices, np.float64)
    known = np.log(values[np.nan_to_num(values) > 0])
    return np.diff(known)


def autocorrelation(values: NDArray[np.number], lag: int = 1) -> float:
    """The correlation of a column with itself `lag` places later; NaN where it does not vary or is too short."""
    column = np.asarray(values, np.float64)
    if len(column) <= lag or lag < 1:
        return float("nan")
    centred = column - column.mean()
    spread = float(centred @ centred)
    return float(centred[:-lag] @ centred[lag:] / spread) if spread > 0 else float("nan")


def volatility_clustering(prices: NDArray[np.number], lags: int = 5) -> float:
    """The mean autocorrelation of absolute returns over lags 1 to `lags`: above 0 where volatility is clustered."""
    size = np.abs(returns(prices))
    found = [autocorrelation(size, lag) for lag in range(1, lags + 1)]
    return float(np.mean(found))


def impact_exponent(sizes: Sequence[float], impacts: Sequence[float]) -> float:
    """The exponent d of impact = c * size**d, by least squares of logarithms: below 1 where impact is concave.

    Square-root impact has d = 1/2 (Toth et al. 2011, doi:10.1103/PhysRevX.1.021006). NaN unless at least two sizes
    have an impact above 0, and all of them do.
    """
    x, y = np.asarray(sizes, np.float64), np.asarray(impacts, np.float64)
    if len(x) < 2 or not ((x > 0) & (y > 0)).all():
        return float("nan")
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
