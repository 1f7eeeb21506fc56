"""Broken on purpose, games are found not to hold."""

from __future__ import annotations

import pytest

from populace.env.games import normal_form
from populace.scenarios import _games_rules as rules
from verification import games
from verification.verdicts import Verdict


def holding(verdicts: list[Verdict]) -> list[bool]:
    return [one.holds for one in verdicts]


def test_wrong_payoffs_are_found(monkeypatch: pytest.MonkeyPatch):
    wrong = normal_form("wrong", ("cooperate", "defect"), [[[3, 3], [5, 0]], [[0, 5], [1, 1]]])
    monkeypatch.setattr(games, "prisoners_dilemma", lambda: wrong)
    assert not all(holding(games.pairings(False)))


def test_players_who_see_no_history_are_found(monkeypatch: pytest.MonkeyPatch):
    made = games.Games
    monkeypatch.setattr(games, "Games", lambda *given, **options: made(*given, **options, shown=0))
    assert not all(holding(games.beauty(False)))


def test_losses_that_weigh_nothing_are_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(games, "share_of_draws", lambda aversion, pairs, ticks: games.plain_draws(0.0, pairs, ticks))
    assert holding(games.locked(False)) == [True, False, True]
    assert rules.DRAW > 0
