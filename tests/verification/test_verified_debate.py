"""Broken on purpose, debates are found not to hold."""

from __future__ import annotations

import pytest

from verification import debate


def test_a_mind_of_other_weights_is_found(monkeypatch: pytest.MonkeyPatch):
    made = debate.outcomes
    monkeypatch.setattr(debate, "outcomes", lambda agents, **given: made(24, **{**given, "stubbornness": 0.05}))
    assert not all(one.holds for one in debate.estimated(False))


def test_rude_words_that_cost_nothing_are_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(debate, "outcomes", lambda agents, **given: {"messages": debate.expected_messages(0.0)})
    assert [one.holds for one in debate.length(True)] == [True, False]
