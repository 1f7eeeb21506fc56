"""A control of the networks' verification: newcomers who tie themselves to anybody make no hubs."""

import numpy as np

from populace.env.network import graphs
from verification.network import degrees


def test_control_attachment_without_preference_is_found(monkeypatch):
    def anybody(setup, name, *, links):
        draw = np.random.default_rng(setup.seed)
        made = [(new, old) for new in range(links, setup.agents) for old in draw.choice(new, links, replace=False)]
        return lambda: np.array(made).T

    monkeypatch.setattr(graphs, "barabasi_albert", anybody)
    assert not all(one.holds for one in degrees(full=False)[:2])
    assert degrees(full=False)[2].holds
