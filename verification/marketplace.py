"""The society marketplace against what satisficing comes to by theory (Simon 1955, doi:10.2307/1884852)."""

from __future__ import annotations

import contextlib
import tempfile
from typing import Any

import numpy as np

import populace
from verification.verdicts import Verdict, check

ASPIRATION = 0.3
ALIKE: dict[str, Any] = {
    "society.price_share": 0.0,
    "society.contact_cents": 0,
    "society.credulity": 0.0,
    "society.delay_ticks": 0.0,
    "society.menu": 8,
    "society.results": 1_000,
    "society.attention": 1_000,
    "society.aspiration": ASPIRATION,
}
"""Proposals cost nothing and arrive in an order that is drawn, so that what one leaves is uniform from 0 to 1."""


def outcomes(names: tuple[str, ...], seeds: int, customers: int, businesses: int, **parameters: Any) -> list[float]:
    """The mean over seeds of outcomes as the run ends."""
    size = {"agents.customer": customers, "agents.business": businesses}
    settings = {**ALIKE, **size, **{f"society.{name}": value for name, value in parameters.items()}}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        runs = [
            populace.run("marketplace", model="rules", seed=seed, settings=settings, ticks=4, quiet=True).outcomes
            for seed in range(seeds)
        ]
    return [float(np.mean([run[name].iloc[-1] for run in runs])) for name in names]


def satisficing(full: bool, **parameters: Any) -> list[Verdict]:
    """The first of values that are uniform from 0 to 1 above a is uniform from a to 1; it comes first with 1 - a."""
    size = (20, 60, 90) if full else (4, 24, 40)
    gain, first = outcomes(("gain_share", "first_share"), *size, **parameters)
    source = "the first of independent uniform values above an aspiration a"
    tolerance = 0.015 if full else 0.07
    return [
        Verdict("gain of who bought, (1 + a) / 2", gain, (1 + ASPIRATION) / 2, tolerance, source),
        Verdict("sales to the first proposal, 1 - a", first, 1 - ASPIRATION, 2 * tolerance, source),
    ]


@check("customers who satisfice in a marketplace")
def marketplace(full: bool) -> list[Verdict]:
    """As `satisficing` says, on the society's own rules."""
    return satisficing(full)
