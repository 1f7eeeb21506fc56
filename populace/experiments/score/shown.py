"""A score card as text for a person, and as plain data for a file."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from populace.experiments.score.card import Against, ItemScore, ScoreCard


def as_data(card: ScoreCard) -> dict[str, Any]:
    """The card as plain data that JSON can hold; what is not a number is null."""
    data: dict[str, Any] = _clean(asdict(card))
    data["beats_all"] = card.beats_all
    return data


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _clean(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def headline(card: ScoreCard) -> str:
    """What was found, in one sentence."""
    told = [f"{one.verdict} {one.baseline} on {item.item}" for item in card.items for one in item.against]
    beaten = sum(one.verdict == "beats" for item in card.items for one in item.against)
    if card.beats_all:
        return f"The simulation beats every baseline on every item ({beaten} of {len(told)})."
    lost = sum(one.verdict == "loses to" for item in card.items for one in item.against)
    return (
        f"The simulation does not beat its baselines: it beats {beaten} of {len(told)}, loses to {lost}, and is not "
        f"told from {len(told) - beaten - lost}."
    )


def as_text(card: ScoreCard) -> str:
    """The card as Markdown: the finding, items against baselines, distributions, effects, worth in respondents."""
    parts = [headline(card), _against(card), _distributions(card), _effects(card), _worth(card)]
    return "\n\n".join(parts) + "\n"


def _table(headings: list[str], rows: list[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _n(value: float) -> str:
    return "-" if not math.isfinite(value) else f"{value:.2f}"


def _against(card: ScoreCard) -> str:
    rows = [_row(item, one) for item in card.items for one in item.against]
    headings = ["item", "answered", "hit", "error", "baseline", "hit", "error", "error less baseline's", "so it"]
    return _table(headings, rows)


def _row(item: ItemScore, one: Against) -> list[str]:
    low, high = one.effect.t.low, one.effect.t.high
    difference = f"{one.effect.difference:+.2f} ({low:+.2f} to {high:+.2f})"
    return [item.item, f"{item.answered} of {item.people}", _n(item.accuracy), _n(item.error), one.baseline,
            _n(one.accuracy), _n(one.error), difference, one.verdict]  # fmt: skip


def _distributions(card: ScoreCard) -> str:
    headings = ["item", "mean, people", "simulated", "r", "slope", "intercept", "variance ratio", "Wasserstein-1",
                "overlap", "stereotyping", "worst served"]  # fmt: skip
    rows = []
    for one in card.items:
        worst = "-" if one.worst_group is None else f"{one.worst_group[0]} ({_n(one.worst_group[1])})"
        figures = (one.mean_human, one.mean_simulated, one.r, one.slope, one.intercept, one.variance_ratio,
                   one.wasserstein, one.overlap, one.stereotyping)  # fmt: skip
        rows.append([one.item, *map(_n, figures), worst])
    retest = "" if any(math.isfinite(one.over_retest) for one in card.items) else (
        "\n\nThere is no second answer of the same people here, so accuracy over their own retest can't be had."
    )  # fmt: skip
    return _table(headings, rows) + retest


def _effects(card: ScoreCard) -> str:
    found = card.effects
    if found is None:
        return "Effects: fewer than three groups could be compared."
    return (
        f"Effects of groups ({found.effects}, in standard deviations of people's answers): r {_n(found.r)}, corrected "
        f"for noise {_n(found.r_corrected)}; halves of the people reach {_n(card.ceiling)}. RMSE {_n(found.rmse)}, "
        f"corrected {_n(found.rmse_corrected)}; {100 * found.signs:.0f} % have the human sign; slope of human on "
        f"simulated {_n(found.slope)}."
    )


def _worth(card: ScoreCard) -> str:
    rows = []
    for one in card.items:
        if one.worth is not None:
            it = one.worth
            rows.append([one.item, str(it.humans), str(it.simulated), f"{_n(it.plain.low)} to {_n(it.plain.high)}",
                         f"{_n(it.interval.low)} to {_n(it.interval.high)}", _n(it.weight),
                         f"{it.worth_in_humans:.1f}", str(it.humans_saved)])  # fmt: skip
    headings = ["item", "people", "simulated besides", "people alone", "with simulations", "weight", "worth in people",
                "saved"]  # fmt: skip
    return _table(headings, rows) if rows else "Worth in respondents: too few answers."
