"""Slips that come all at once, and a grade that ignores the state, give verdicts that do not hold."""

import numpy as np

from populace.env.tools import part
from verification import tools


def test_slips_that_hang_together_are_seen(monkeypatch):
    drawn = tools.slips
    monkeypatch.setattr(tools, "slips", lambda *given: np.repeat(drawn(*given)[:, :1], tools.STEPS, axis=1))
    assert not all(one.holds for one in tools.equal_slips(False))


def test_a_grade_that_looks_away_is_seen(monkeypatch):
    monkeypatch.setattr(part, "difference", lambda *given: [])
    assert not all(one.holds for one in tools.equal_slips(False))
