"""Averaged opinions: DeGroot's consensus against the left eigenvector, Friedkin and Johnsen's fixed point."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace import Setup
from verification.running import final
from verification.societies import consensus
from verification.verdicts import Verdict, check

OWN = 0.3


def listening(agents: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The row-stochastic matrix W of who listens to whom, and the opinions at the start."""
    setup = Setup(agents=agents, seed=seed, parameters=consensus.Weights(own=OWN), tick_seconds=1.0)
    ties = consensus.network(setup).out
    weights = np.zeros((agents, agents))
    weights[ties.sources(), ties.targets] = ties.weights
    weights = OWN * np.eye(agents) + (1 - OWN) * weights / weights.sum(axis=1, keepdims=True)
    people = consensus.population(setup)
    return weights, np.array(people.columns["opinion"])


def influence(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The left eigenvector of W for the eigenvalue 1, summing to one: the weight of each opinion in the consensus."""
    values, vectors = np.linalg.eig(weights.T)
    vector = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    return np.asarray(vector / vector.sum())


def degroot(agents: int, ticks: int, seed: int, **changes: Any) -> list[Verdict]:
    """The opinions at the end against the consensus that theory gives."""
    weights, began = listening(agents, seed)
    found = final("consensus", "opinion", agents=agents, ticks=ticks, seed=seed, parameters={"own": OWN, **changes})
    source = "DeGroot (1974): the left eigenvector of W, times the opinions at the start"
    expected = float(influence(weights) @ began)
    second = float(np.sort(np.abs(np.linalg.eigvals(weights)))[-2])
    return [
        Verdict(f"consensus of {agents}", float(found.mean()), expected, 1e-6, source),
        Verdict("spread at the end", float(np.ptp(found)), 0.0, 10 * second ** (ticks - 1), "second eigenvalue of W"),
    ]


@check("DeGroot: the consensus is that of the left eigenvector")
def degroot_consensus(full: bool) -> list[Verdict]:
    """On a small world with weights of its own for each tie."""
    return degroot(200, 100, 3) if full else degroot(30, 60, 3)


def friedkin(agents: int, ticks: int, seed: int, **changes: Any) -> list[Verdict]:
    """The opinions at the end against the fixed point."""
    weights, began = listening(agents, seed)
    bounds = {"least": 0.2, "most": 0.9}
    drawn = Setup(agents=agents, seed=seed, parameters=consensus.Weights(own=OWN, **bounds), tick_seconds=1.0)
    held = np.diag(np.array(consensus.population(drawn).columns["susceptibility"]))
    fixed = np.linalg.solve(np.eye(agents) - held @ weights, (np.eye(agents) - held) @ began)
    given = {"own": OWN, **bounds, **changes}
    found = final("consensus", "opinion", agents=agents, ticks=ticks, seed=seed, parameters=given)
    source = "Friedkin and Johnsen (1990): (I - LW)^-1 (I - L) s"
    return [
        Verdict(f"largest distance of {agents} opinions", float(np.abs(found - fixed).max()), 0.0, 1e-9, source),
        Verdict("standard deviation that is left", float(found.std()), float(fixed.std()), 1e-9, source),
    ]


@check("Friedkin and Johnsen: opinions reach the fixed point")
def friedkin_fixed_point(full: bool) -> list[Verdict]:
    """Susceptibilities between 0.2 and 0.9."""
    return friedkin(200, 100, 4) if full else friedkin(30, 60, 4)
