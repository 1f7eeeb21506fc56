"""The checks on the economy fail for economies that are broken on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from populace.env import Economy
from populace.env.economy import Schedule, closing, firms, goods, labour, sharing
from verification import economy as checks


def broken(verdicts):
    return [one.what for one in verdicts if not one.holds]


class Minting(Economy):
    """Gives the first household a cent a month, after the part's own check."""

    def advance(self, tick):
        super().advance(tick)
        self.accounts.cents[self.accounts.first_agent] += tick == 30


def test_a_cent_out_of_nothing_is_found(monkeypatch):
    monkeypatch.setattr(checks, "Economy", Minting)
    assert "cents that accounts are off" in broken(checks.conservation(False))


def test_a_tax_on_the_whole_income_is_found(monkeypatch):
    def whole(self, incomes):
        at = np.searchsorted(self.starts, incomes, side="right") - 1
        return np.where(at >= 0, incomes * self.points[at] // 10_000, 0)

    monkeypatch.setattr(Schedule, "tax", whole)
    assert broken(checks.taxes(False)) == ["incomes taxed otherwise"]


def test_interest_that_does_not_compound_is_found(monkeypatch):
    monkeypatch.setattr(
        checks, "Economy", lambda *args, **values: Economy(*args, **{**values, "interest_rate": 0.0374})
    )
    assert len(broken(checks.interest(False))) == 2


def test_prices_that_follow_nothing_and_the_wrong_way_are_found(monkeypatch):
    usual = firms.Firms.move_prices
    monkeypatch.setattr(firms.Firms, "move_prices", lambda self, speed, rows: usual(self, -speed, rows))
    assert len(broken(checks.clearing(False))) == 2


def by_id(totals, groups, weights, words):
    return sharing.share_out(totals, groups, weights, np.arange(len(weights)).astype(np.uint64))


def first_come(agents, firms_, vacancies, wages, lot, ties):
    return labour.match(agents, firms_, vacancies, wages, agents.astype(np.uint64) << np.uint64(40), ties)


@pytest.mark.parametrize(
    ("module", "name", "unfair", "said"),
    [(goods, "share_out", by_id, "goods"), (closing, "match", first_come, "jobs")],
)
def test_first_come_by_id_is_found(monkeypatch, module, name, unfair, said):
    monkeypatch.setattr(module, name, unfair)
    assert broken(checks.fairness(False)) == [f"their share of {said}"]
