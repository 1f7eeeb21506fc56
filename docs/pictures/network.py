"""Draws docs/pictures/network.svg: `python docs/pictures/network.py`, some seconds."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from populace.core.draws import Draws
from populace.env import Network

HERE = Path(__file__).parent
AGENTS, DEGREE = 5_000, 6

mpl.rcParams.update({"svg.hashsalt": "network", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


@dataclass(frozen=True)
class Setup:
    """What networks are made for."""

    agents: int = AGENTS
    seed: int = 7

    @property
    def draw(self) -> Draws:
        """Its draws."""
        return Draws(self.seed)


setup = Setup()
column = np.random.default_rng(1).normal(size=AGENTS)
networks = {
    "Watts-Strogatz": Network.watts_strogatz(setup, neighbours=DEGREE, rewire=0.3),
    "Barabasi-Albert": Network.barabasi_albert(setup, links=DEGREE // 2),
    "block model": Network.stochastic_block(setup, sizes=[AGENTS], probabilities=[[DEGREE / AGENTS]]),
    "homophily": Network.homophily(setup, {"x": column}, mean_degree=DEGREE, strength=5.0),
}
figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.8))
for name, network in networks.items():
    degree = network.out_degree()
    values = np.unique(degree)
    left.loglog(values, [(degree >= one).mean() for one in values], marker=".", ms=3, lw=0.8, label=name)
k, m = np.arange(DEGREE // 2, 200), DEGREE // 2
left.loglog(k, m * (m + 1) / (k * (k + 1.0)), color="0.4", ls=":", lw=1)
left.set(xlabel="degree k", ylabel="share with at least k", title="5,000 agents, six ties each", ylim=(1e-4, 1.5))
left.legend(frameon=False, fontsize=8)
strengths = np.linspace(0, 15, 7)
alike = [
    Network.homophily(setup, {"x": column}, mean_degree=DEGREE, strength=float(one)).assortativity(column)
    for one in strengths
]
right.plot(strengths, alike, "o-", ms=4)
right.set(xlabel="strength of homophily", ylabel="assortativity", title="likeness of neighbours", ylim=(-0.05, 1))
figure.tight_layout()
figure.savefig(HERE / "network.svg", metadata={"Date": None})
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=110)
