"""Networks that are made, against the laws of their degrees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from populace.core.draws import Draws
from populace.env import Network
from verification.verdicts import Verdict, check


@dataclass(frozen=True)
class Made:
    """What a network is made for."""

    agents: int
    seed: int = 7

    @property
    def draw(self) -> Draws:
        """Its draws."""
        return Draws(self.seed)


@check("network: degrees")
def degrees(full: bool) -> list[Verdict]:
    """The tail of preferential attachment, and the spread of a random graph, which is its mean."""
    agents, links, mean = 50_000 if full else 4_000, 3, 6.0
    hubs = Network.barabasi_albert(Made(agents), links=links).out_degree()
    block = Network.stochastic_block(Made(agents), sizes=[agents], probabilities=[[mean / agents]]).out_degree()
    found = []
    for least in (10, 30):
        expected = links * (links + 1) / (least * (least + 1))
        error = 3 * float(np.sqrt(expected / agents)) + 0.05 * expected
        source = "Dorogovtsev, Mendes and Samukhin 2000: m(m+1)/(k(k+1))"
        found.append(Verdict(f"hubs, share of k >= {least}", float((hubs >= least).mean()), expected, error, source))
    error = 3 * mean * float(np.sqrt(2 / agents)) + 0.05
    source = "Poisson: the variance of degrees is their mean"
    return [*found, Verdict("random graph, variance of k", float(block.var()), mean, error, source)]
