"""Trips of a city against the gravity model that they are drawn by, computed over all pairs of places.

The part draws by rejection over cells; here the probabilities are taken from the formula, for each home and each shop.
The production-constrained model (Wilson 1971, doi:10.1068/a030001): of the O_i trips that begin at i, the share
p_ij = A_j f(d_ij) / sum_k A_k f(d_ik) goes to j.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from populace.core.draws import Draws
from populace.env import City, Kind, Opening, World
from populace.env.acts import Acting, Acts
from verification.verdicts import Verdict, check

WILSON = "the production-constrained gravity model, Wilson 1971, doi:10.1068/a030001"
SHOPS = 120
_STEP = 2000


class _Setup(NamedTuple):
    """What a city is generated for."""

    agents: int
    seed: int

    @property
    def draw(self) -> Draws:
        """The world's streams of tick 0."""
        return Draws(self.seed)


class Trips(NamedTuple):
    """Trips from homes to shops: of each, its distance to all shops in metres, and which it went to."""

    distance_m: NDArray[np.float64]
    attraction: NDArray[np.float64]
    went: NDArray[np.int64]


def trips(agents: int, decay: str, beta: float, seed: int = 1) -> Trips:
    """Let everybody go to a shop by gravity, in a real city; gives who went where."""
    setup = _Setup(agents, seed)
    kinds = {"home": Kind(4.0), "shop": Kind(agents / SHOPS, attraction_sd=0.7)}
    city = City.grid(setup, kinds=kinds, assigned=("home",), choice="gravity", decay=decay, beta=beta, name="city")
    world = World(city)
    world.open(Opening(agents=agents, seed=seed, tick_seconds=86_400.0, parameters=None, columns={}, draw=Draws(seed)))
    ids = np.arange(agents, dtype=np.int32)
    world.resolve(Acting([], [Acts("city.go", ids, np.zeros(agents, np.int32), {}, {"kind": "shop"})]))
    places, shops = city.places, np.flatnonzero(city.places.kind == city.places.code_of("shop"))
    home = city.people.assigned["home"]
    far = np.abs(places.x[home][:, None] - places.x[shops]) + np.abs(places.y[home][:, None] - places.y[shops])
    return Trips(far, places.attraction[shops], np.searchsorted(shops, city.people.place))


def shares(made: Trips, decay: str, beta: float, rows: slice) -> NDArray[np.float64]:
    """p_ij of the model for these trips."""
    far = made.distance_m[rows]
    weight = np.exp(-far / beta) if decay == "exponential" else np.maximum(far, 100.0) ** -beta
    weight = weight * made.attraction
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def fitted(made: Trips, decay: str) -> tuple[float, float]:
    """The decay of maximum likelihood and its standard error: a conditional logit on -d, or on -log d.

    McFadden (1974), by Newton's method in steps of up to 0.5; the log of attraction is an offset.
    """
    found, error = 0.0, np.inf
    for _ in range(25):
        slope = curvature = 0.0
        for start in range(0, len(made.went), _STEP):
            rows = slice(start, start + _STEP)
            far = made.distance_m[rows]
            cost = far / 1000.0 if decay == "exponential" else np.log(np.maximum(far, 100.0))
            utility = np.log(made.attraction) - found * cost
            p = np.exp(utility - utility.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            mean = (p * cost).sum(axis=1)
            slope += float((mean - cost[np.arange(len(far)), made.went[rows]]).sum())
            curvature += float(((p * cost**2).sum(axis=1) - mean**2).sum())
        step = float(np.clip(slope / curvature, -0.5, 0.5))
        found, error = found + step, curvature**-0.5
        if abs(step) < 1e-9:
            break
    return found, error


@check("gravity trips to shops")
def gravity(full: bool) -> list[Verdict]:
    """How many trips each shop gets, how long they are, and the decay that they tell."""
    agents = 60_000 if full else 8000
    found = []
    for decay, beta in (("exponential", 500.0), ("power", 2.0)):
        made = trips(agents, decay, beta)
        size = made.distance_m.shape[1]
        expected, spread, mean, square = np.zeros(size), np.zeros(size), 0.0, 0.0
        for start in range(0, agents, _STEP):
            rows = slice(start, start + _STEP)
            p = shares(made, decay, beta, rows)
            expected, spread = expected + p.sum(axis=0), spread + (p * (1 - p)).sum(axis=0)
            own = (p * made.distance_m[rows]).sum(axis=1)
            mean += float(own.sum())
            square += float(((p * made.distance_m[rows] ** 2).sum(axis=1) - own**2).sum())
        counts = np.bincount(made.went, minlength=size)
        per_shop = float(((counts - expected) ** 2 / spread).mean())
        length = float(made.distance_m[np.arange(agents), made.went].mean())
        told, error = fitted(made, decay)
        truth = 1000.0 / beta if decay == "exponential" else beta
        unit = "per km" if decay == "exponential" else "as a power"
        found += [
            Verdict(f"{decay}: squared error of the trips to {size} shops, in variances", per_shop, 1.0,
                    5 * (2 / size) ** 0.5, WILSON),
            Verdict(f"{decay}: mean length of a trip, m", length, mean / agents, 4 * square**0.5 / agents, WILSON),
            Verdict(f"{decay}: decay told by a conditional logit, {unit}", told, truth, 4 * error,
                    "the decay that the city has"),
        ]  # fmt: skip
    return found
