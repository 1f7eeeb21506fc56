"""People from distributions that are fitted to a table: each column's own, tied by a Gaussian copula.

Of each column a distribution is kept, and of all together the correlations of their normal scores; no row of the table
is given out again. The copula keeps dependence that is monotone, between any two columns; what only three columns have
together, or a dependence that turns, is not in it. Joe (2014), Dependence Modeling with Copulas, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from populace.agents.population import Population, Weights, weights_of
from populace.core.draws import Stream
from populace.core.errors import ScenarioError

Kind: TypeAlias = Literal["values", "quantiles", "normal", "lognormal", "gamma"]
Floats = NDArray[np.float64]

_KINDS: Final = ("values", "quantiles", "normal", "lognormal", "gamma")
_FEW: Final = 20
_STEPS: Final = 200


@dataclass(frozen=True)
class Fitted:
    """The distribution of one column: of kind 'values' `values` with their `cumulative` shares, else two numbers.

    `parameters` are mean and sd of 'normal', of the logarithms of 'lognormal', shape and scale of 'gamma'; 'quantiles'
    interpolates between those of the table. `distance` is the largest difference between the cumulative shares of the
    fit and of the table (Kolmogorov-Smirnov): near 0 where the kind fits.
    """

    kind: Kind
    values: list[Any]
    cumulative: Floats
    parameters: tuple[float, float] | None
    whole: bool
    distance: float

    def quantiles(self, at: Floats) -> list[Any]:
        """The values below which these shares, in (0, 1), lie."""
        if self.kind == "values":
            places = np.searchsorted(self.cumulative, at, side="left")
            return [self.values[place] for place in np.minimum(places, len(self.values) - 1).tolist()]
        if self.kind == "quantiles":
            found = np.interp(at, self.cumulative, np.array(self.values, np.float64))
            return _listed(found, self.whole)
        found = _inverse(self.kind, self.parameters or (0.0, 1.0), at)
        return _listed(found, self.whole)


@dataclass(frozen=True)
class Distributions:
    """Fitted columns and the correlations of their normal scores: `Distributions.fit(table).sample(1000, draw)`.

    `correlations` is (columns, columns) in their order, positive semidefinite.
    """

    columns: dict[str, Fitted]
    correlations: Floats

    @classmethod
    def fit(
        cls,
        table: Mapping[str, Sequence[Any]],
        *,
        kinds: Mapping[str, Kind] | None = None,
        weights: Weights | None = None,
    ) -> Distributions:
        """Fit to a table; rows count by their weights, one each or the name of a column, which is then left out.

        `kinds` says how a column is fitted: 'values' gives out the values of the table in their shares (text, and
        numbers of few values, unless said otherwise), 'quantiles' interpolates between them (other numbers), 'normal',
        'lognormal' and 'gamma' are fitted by maximum likelihood. Raises ScenarioError, naming the column, for a kind
        that it cannot have, and for columns with missing values: leave such rows out, or fill them first.
        """
        source = Population(table)
        each = weights_of(source, weights)
        each = each / each.sum()
        own = weights if isinstance(weights, str) else None
        names = [name for name in source.columns if name != own]
        for name in (kinds or {}).keys() - set(names):
            raise ScenarioError(f"Distributions: kinds has {name!r}; the columns are {', '.join(names)}")
        fitted, scores = {}, []
        for name in names:
            column = source.columns[name]
            if any(one is None or (isinstance(one, float) and math.isnan(one)) for one in column):
                raise ScenarioError(
                    f"Distributions: column {name!r} has missing values: leave such rows out, or fill them"
                )
            kind = (kinds or {}).get(name) or _kind_of(column)
            fitted[name], score = _fit(name, kind, column, each)
            scores.append(score)
        return cls(fitted, _correlations(np.array(scores), each))

    def sample(self, size: int, draw: Stream) -> Population:
        """People drawn from the fitted distributions; `draw` gives a normal deviate for each person and column."""
        from scipy.special import ndtr

        values, vectors = np.linalg.eigh(self.correlations)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        many = len(self.columns)
        normals = np.array([[draw.normal() for _ in range(many)] for _ in range(size)]).reshape(size, many)
        shares = np.clip(ndtr(normals @ root.T), 1e-12, 1 - 1e-12)
        return Population({name: one.quantiles(shares[:, at]) for at, (name, one) in enumerate(self.columns.items())})


def _listed(found: Floats, whole: bool) -> list[Any]:
    listed: list[Any] = (np.rint(found).astype(np.int64) if whole else found).tolist()
    return listed


def _number(one: Any) -> bool:
    return isinstance(one, int | float) and not isinstance(one, bool)


def _kind_of(column: Sequence[Any]) -> Kind:
    return "quantiles" if all(map(_number, column)) and len(set(column)) > _FEW else "values"


def _fit(name: str, kind: Kind, column: Sequence[Any], each: Floats) -> tuple[Fitted, Floats]:
    """The fit, and each row's normal score: that of the middle of the shares that its value spans."""
    from scipy.special import ndtri

    if kind not in _KINDS:
        raise ScenarioError(f"Distributions: column {name!r} cannot be of kind {kind!r}; kinds are {', '.join(_KINDS)}")
    numbers = all(map(_number, column))
    if not numbers and kind != "values":
        raise ScenarioError(f"Distributions: column {name!r} is not of numbers, so its kind can be 'values' only")
    order = (
        sorted(set(column)) if numbers or all(isinstance(one, str) for one in column) else list(dict.fromkeys(column))
    )
    place = {value: at for at, value in enumerate(order)}
    codes = np.array([place[value] for value in column])
    shares: Floats = np.bincount(codes, each, len(order)).astype(np.float64)
    cumulative = np.cumsum(shares)
    middle = cumulative - shares / 2
    score = ndtri(np.clip(middle, 1e-12, 1 - 1e-12))[codes]
    whole = numbers and all(isinstance(one, int) for one in column)
    if kind == "values":
        return Fitted(kind, order, cumulative, None, whole, 0.0), score
    values = np.array(order, np.float64)
    if kind == "quantiles":
        return Fitted(kind, order, middle, None, whole, 0.0), score
    if kind != "normal" and values[0] <= 0:
        raise ScenarioError(f"Distributions: column {name!r} has {order[0]}, and a {kind} has numbers above 0 only")
    parameters = _likeliest(kind, values, shares)
    at = _cumulative(kind, parameters, values)
    distance = float(max(np.abs(at - cumulative).max(), np.abs(at - (cumulative - shares)).max()))
    return Fitted(kind, [], np.zeros(0), parameters, whole, distance), score


def _likeliest(kind: Kind, values: Floats, shares: Floats) -> tuple[float, float]:
    """Maximum likelihood of weighted values."""
    from scipy.special import polygamma, psi

    of = values if kind == "normal" else np.log(values)
    mean = float(shares @ of)
    if kind != "gamma":
        return mean, math.sqrt(float(shares @ (of - mean) ** 2))
    arithmetic = float(shares @ values)
    gap = math.log(arithmetic) - mean  # log of the mean less the mean of the logs: log k - psi(k)
    if gap <= 0:
        raise ScenarioError("Distributions: a gamma needs values that differ")
    k = (3 - gap + math.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap)
    for _ in range(_STEPS):
        step = (math.log(k) - float(psi(k)) - gap) / (1 / k - float(polygamma(1, k)))
        k = max(k - step, k / 2)
        if abs(step) < 1e-12 * k:
            break
    return k, arithmetic / k


def _inverse(kind: Kind, parameters: tuple[float, float], at: Floats) -> Floats:
    from scipy.special import gammaincinv, ndtri

    first, second = parameters
    if kind == "gamma":
        return np.asarray(second * gammaincinv(first, at))
    normal = first + second * ndtri(at)
    return np.asarray(normal if kind == "normal" else np.exp(normal))


def _cumulative(kind: Kind, parameters: tuple[float, float], values: Floats) -> Floats:
    from scipy.special import gammainc, ndtr

    first, second = parameters
    if kind == "gamma":
        return np.asarray(gammainc(first, values / second))
    of = values if kind == "normal" else np.log(values)
    return np.asarray(ndtr((of - first) / second) if second > 0 else (of >= first).astype(np.float64))


def _correlations(scores: Floats, each: Floats) -> Floats:
    """Weighted correlations of rows of scores, 0 with a column that does not vary, the diagonal 1."""
    centred = scores - (scores @ each)[:, None]
    c = (centred * each) @ centred.T
    sd = np.sqrt(np.diag(c))
    r = np.divide(c, np.outer(sd, sd), out=np.zeros_like(c), where=np.outer(sd, sd) > 1e-300)
    np.fill_diagonal(r, 1.0)
    return np.asarray(r)
