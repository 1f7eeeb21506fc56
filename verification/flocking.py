"""Boids that fly alike in the end: order from chance, beside Mesa's example, and none under much noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from verification.running import compared, mean_and_error, mesa, outcomes
from verification.verdicts import Verdict, check

MESA = """
import numpy as np
from mesa.examples.basic.boid_flockers.model import BoidFlockers

def turned(one):
    near, distances = one.get_neighbors_in_radius(radius=one.vision)
    if not near:
        return one.direction.copy()
    delta = one.space.calculate_difference_vector(one.position, agents=near)
    cohere = delta.sum(axis=0) * one.cohere_factor
    separate = delta[distances < one.separation].sum(axis=0) * one.separate_factor
    match = np.asarray([other.direction for other in near]).sum(axis=0) * one.match_factor
    direction = one.direction + (cohere - separate + match) / len(near)
    return direction / np.linalg.norm(direction)

def step_at_once(model):
    for one, direction in [(one, turned(one)) for one in model.agents]:
        one.direction = direction
    for one in model.agents:
        one.position += one.direction * one.speed

def measure(seed, boids, side, steps, at_once):
    model = BoidFlockers(population_size=boids, width=side, height=side, seed=seed)
    for _ in range(steps):
        step_at_once(model) if at_once else model.step()
    headings = np.array([one.direction for one in model.agents])
    headings /= np.linalg.norm(headings, axis=1)[:, None]
    near = np.mean([len(one.get_neighbors_in_radius(radius=one.vision)[0]) for one in model.agents])
    return {"order": float(np.linalg.norm(headings.mean(axis=0))), "near": float(near)}
"""
"""Mesa's example in a square of any size. As it ships its boids turn and fly one after another, so that each sees those
before it where they are by then; `at_once` all turn, and then all fly, by the same rule.
"""

BOIDS, SIDE = 100, 50.0
NAMES = {"order": "order parameter", "near": "neighbours of a boid"}
CHANCE = float(np.sqrt(np.pi / 4))
"""The mean length of the mean of n random headings, times the root of n: Rayleigh's distribution."""


def flocked(seeds: Sequence[int], ticks: int, boids: int = BOIDS, **given: Any) -> list[dict[str, float]]:
    """Our figures for each seed."""
    parameters = {"side": SIDE, **given}
    return [outcomes("flocking", agents=boids, ticks=ticks, seed=seed, parameters=parameters) for seed in seeds]


@check("flocking beside Mesa's Boids")
def beside_mesa(full: bool) -> list[Verdict]:
    """On the way to order, all turning at once in Mesa as well."""
    verdicts = []
    seeds = range(24) if full else range(8)
    for ticks in (10, 60) if full else (10,):
        theirs, version = mesa(MESA, seeds, boids=BOIDS, side=SIDE, steps=ticks, at_once=True)
        names = {name: f"{what} after {ticks} steps" for name, what in NAMES.items()}
        verdicts += compared(flocked(seeds, ticks), theirs, names, f"{version}, all at once, {len(seeds)} seeds each")
    return verdicts


@check("flocking: order out of chance, and none under noise")
def ends(full: bool) -> list[Verdict]:
    """Headings are by chance at first, and stay so with much noise, or where nobody heeds the others."""
    boids, ticks, seeds, side = (400, 200, range(20), SIDE) if full else (60, 30, range(3), 30.0)
    law = "headings by chance: sqrt(pi / 4n), Rayleigh"
    verdicts = []
    for what, after, given in (
        (f"after {ticks} ticks, nobody heeds anybody", ticks, {"match": 0.0, "cohere": 0.0, "separate": 0.0}),
        (f"after {ticks} ticks, noise of 100", ticks, {"noise": 100.0}),
    ):
        found, error = mean_and_error([one["order"] for one in flocked(seeds, after, boids, side=side, **given)])
        within = 4 * max(error, 0.463 / np.sqrt(boids * len(seeds)))
        verdicts.append(Verdict(f"order parameter {what}", found, CHANCE / np.sqrt(boids), within, law))
    strong, _ = mean_and_error([one["order"] for one in flocked(seeds, ticks, boids, side=side, match=1.0, cohere=0.0)])
    verdicts.append(
        Verdict(f"after {ticks} ticks, strong alignment", strong, 1.0, 0.05, "Vicsek et al. (1995), no noise: 1")
    )
    return verdicts
