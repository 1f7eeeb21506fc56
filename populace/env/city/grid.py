"""Generated cities: places at spots on a square of streets, and an own home and work place for each agent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np

from populace.core.draws import Draws
from populace.core.errors import ScenarioError
from populace.env.city.choosing import Choosing, Decay
from populace.env.city.places import NONE, Float, Int32, Places
from populace.env.network.graphs import Setup


class Kind(msgspec.Struct, frozen=True):
    """How many places of a kind a generated city has, and what they are like.

    There is one for `people_each` agents, rounded up; each has `capacity` seats (None for no limit) and the opening
    hours of `Places`. Attraction is lognormal, with a median of 1 and a standard deviation of `attraction_sd` of its
    logarithm. They lie in the middle square of the city with sides `spread` times as long as the city's.
    """

    people_each: float
    capacity: int | None = None
    opens: str = "00:00"
    closes: str = "24:00"
    days: str = "1234567"
    attraction_sd: float = 0.0
    spread: float = 1.0


KINDS: Final[Mapping[str, Kind]] = {
    "home": Kind(2.5),
    "work": Kind(20.0, opens="06:00", closes="20:00", attraction_sd=1.0, spread=0.6),
    "school": Kind(400.0, opens="08:00", closes="16:00", days="12345"),
    "shop": Kind(120.0, 60, "08:00", "20:00", "123456", attraction_sd=0.5),
    "leisure": Kind(150.0, 80, "10:00", "23:00", attraction_sd=0.5, spread=0.8),
    "shelter": Kind(500.0, 250),
}
"""A plausible town, not fitted to any: households of 2.5, shops and places to go out for a hundred or so each."""


def grid_places(setup: Setup, name: str, *, kinds: Mapping[str, Kind], people_per_km2: float, block_m: float) -> Places:
    """Places of a square city with a street every `block_m`, as large as its people need.

    Each lies on a street that is drawn, running east or north, at a spot along it that is drawn. Raises ScenarioError
    for numbers that cannot be.
    """
    if not kinds or not (0 < people_per_km2 < math.inf and 0 < block_m < math.inf):
        raise ScenarioError(
            f"City.grid(people_per_km2={people_per_km2}, block_m={block_m}): each is above zero, and there are kinds"
        )
    blocks = max(1, math.ceil(1000.0 * math.sqrt(setup.agents / people_per_km2) / block_m))
    columns: dict[str, list[Any]] = {"x": [], "y": [], "attraction": []}
    labels: list[str] = []
    rest: dict[str, list[Any]] = {"capacity": [], "opens": [], "closes": [], "days": []}
    for kind, about in kinds.items():
        if not (0 < about.people_each < math.inf and 0 < about.spread <= 1 and 0 <= about.attraction_sd < math.inf):
            raise ScenarioError(
                f"City.grid: kind {kind!r} has people_each above zero, spread above 0 and up to 1, attraction_sd "
                f"of 0 or more, not {about}"
            )
        count = math.ceil(setup.agents / about.people_each)
        ids = np.arange(count)
        drawn = [setup.draw.column(f"{name}.grid/{kind}/{what}", ids) for what in ("street", "along", "way", "pull")]
        streets = max(1, round(about.spread * blocks))
        street = (blocks - streets) / 2 + np.minimum(np.floor(drawn[0] * (streets + 1)), streets)
        street = np.round(street)
        along = (blocks - streets) / 2 + drawn[1] * streets
        east = drawn[2] < 0.5
        columns["x"].append(block_m * np.where(east, along, street))
        columns["y"].append(block_m * np.where(east, street, along))
        columns["attraction"].append(np.exp(about.attraction_sd * _normal(drawn[3])))
        labels += [kind] * count
        for what, values in rest.items():
            values += [getattr(about, what)] * count
    x, y, attraction = (np.concatenate(columns[one]) for one in ("x", "y", "attraction"))
    places = Places(labels, x, y, attraction=attraction, **rest, where="City.grid")
    places.block_m = block_m
    return places


def assign(
    places: Places,
    choosing: Choosing,
    kinds: Sequence[str],
    ids: Int32,
    draw: Draws,
    name: str,
    law: tuple[Decay, float, float],
) -> dict[str, Int32]:
    """Own places by kind: of the first dealt out evenly by lot, of others drawn by the gravity model from there."""
    own: dict[str, Int32] = {}
    for kind in kinds:
        code = places.code_of(kind)
        there = places.of_kind(code)
        if code == NONE:
            raise ScenarioError(f"assigned: there are no places of kind {kind!r}; kinds are {', '.join(places.kinds)}")
        if not own:
            lot = np.argsort(draw.words(f"{name}.own/{kind}", ids), kind="stable")
            first = np.argsort(draw.words(f"{name}.own/{kind}/first", there), kind="stable")
            dealt = np.empty(len(ids), np.int32)
            dealt[lot] = there[first[np.arange(len(ids)) % len(there)]]
            own[kind] = dealt
        else:
            own[kind] = choosing.gravity(
                code, next(iter(own.values())), ids, there, law,
                partial(_drawn, draw, f"{name}.own/{kind}"),
            )  # fmt: skip
    return own


def _drawn(draw: Draws, name: str, what: str, ids: Int32) -> Float:
    return draw.column(f"{name}/{what}", ids)


def _normal(drawn: Float) -> Float:
    """Normal deviates of uniform ones in [0, 1), by inversion."""
    from scipy.special import ndtri

    found: Float = ndtri(drawn * (1 - 2.0**-52) + 2.0**-54)
    return found
