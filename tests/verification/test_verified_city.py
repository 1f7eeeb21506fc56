"""Negative controls of the verification of the city: what is broken in the part is seen."""

import numpy as np
import pytest

from populace.env.city import choosing
from verification.city import gravity


@pytest.mark.parametrize(
    "broken",
    [
        lambda decay, beta, nearest_m, far: np.ones_like(far),
        lambda decay, beta, nearest_m, far: weights(decay, beta * 1.15, nearest_m, far),
    ],
)
def test_another_decay_does_not_hold(monkeypatch, broken):
    monkeypatch.setattr(choosing, "weights", broken)
    lengths = [one for one in gravity(False) if not one.holds]
    assert {one.what.partition(":")[0] for one in lengths} == {"exponential", "power"}
    assert any("decay told" in one.what for one in lengths)


def test_shops_that_all_attract_alike_do_not_hold(monkeypatch):
    init = choosing._Gravity.__init__

    def alike(self, places, *rest):
        init(self, places, *rest)
        self._sum = np.arange(len(self.candidates) + 1.0)

    monkeypatch.setattr(choosing._Gravity, "__init__", alike)
    assert any("squared error" in one.what for one in gravity(False) if not one.holds)


weights = choosing.weights
