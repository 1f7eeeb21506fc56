"""A broken posterior and a biased sample give verdicts that do not hold."""

import numpy as np

from populace.env import BayesNet
from verification import cases


def test_a_posterior_that_forgets_evidence_is_seen(monkeypatch):
    exact = BayesNet.posterior
    monkeypatch.setattr(BayesNet, "posterior", lambda net, target, seen: exact(net, target, {}))
    assert not all(one.holds for one in cases.asia(False))


def test_a_sample_that_ignores_parents_is_seen(monkeypatch):
    monkeypatch.setattr(BayesNet, "sample", lambda net, n, draws: {name: np.zeros(n, int) for name in net.levels})
    assert not all(one.holds for one in cases.sampled(False))
