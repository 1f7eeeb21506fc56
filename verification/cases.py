"""Cases: exact posteriors of a network against the sum over all its states, and dealt cases against equal shares."""

from __future__ import annotations

import itertools

import numpy as np

from populace.core.draws import Draws
from populace.env import BayesNet
from populace.scenarios._data import network
from verification.verdicts import Verdict, check


def enumerated(net: BayesNet, target: str, evidence: dict[str, str]) -> np.ndarray:
    """P(target | evidence) by definition: the joint probability, summed over every state."""
    found = np.zeros(len(net.levels[target]))
    fixed = {name: net.levels[name].index(level) for name, level in evidence.items()}
    names = list(net.levels)
    for state in itertools.product(*(range(len(net.levels[name])) for name in names)):
        at = dict(zip(names, state, strict=True))
        if any(at[name] != level for name, level in fixed.items()):
            continue
        joint = 1.0
        for name in names:
            joint *= net.tables[name][tuple(at[one] for one in (*net.parents[name], name))]
        found[at[target]] += joint
    return found / found.sum()


EVIDENCE = [
    {},
    {"dysp": "yes"},
    {"dysp": "yes", "xray": "yes", "smoke": "no"},
    {"asia": "yes", "dysp": "yes", "xray": "no"},
]


@check("cases: posteriors of the asia network are exact")
def asia(full: bool) -> list[Verdict]:
    """The largest difference over targets and evidence."""
    net = network("asia")
    targets = list(net.levels) if full else ["tub", "lung", "bronc"]
    given = EVIDENCE if full else EVIDENCE[1:3]
    worst = max(
        float(np.abs(net.posterior(one, seen) - enumerated(net, one, seen)).max()) for one in targets for seen in given
    )
    lung = float(net.posterior("lung", {"xray": "yes", "dysp": "yes"})[0])
    return [
        Verdict("largest difference", worst, 0.0, 1e-12, "sum over the 256 joint states"),
        Verdict("P(lung | xray, dysp)", lung, 0.62125, 5e-5, "Lauritzen and Spiegelhalter (1988), by enumeration"),
    ]


@check("cases: sampled patients have the network's frequencies")
def sampled(full: bool) -> list[Verdict]:
    """Marginals of hepar2 in a sample, within five standard errors of the exact ones."""
    net, n = network("hepar2"), 40_000 if full else 4_000
    sample = net.sample(n, Draws(11))
    names = ("PBC", "Steatosis", "ChHepatitis", "fatigue") if not full else tuple(net.levels)
    verdicts = []
    for name in names:
        p = float(net.posterior(name, {})[0])
        share = float(np.mean(sample[name] == 0))
        band = 5 * np.sqrt(p * (1 - p) / n)
        verdicts.append(Verdict(f"P({name} = {net.levels[name][0]})", share, p, band, "exact marginal, hepar2"))
    return verdicts
