"""Simulations whose worth is known: what prediction-powered intervals cover, and what correction for noise finds."""

from __future__ import annotations

import numpy as np

from populace.experiments import score
from verification.verdicts import Verdict, check


def powered(experiments: int, correlation: float, *, trusted: bool = False, seed: int = 11) -> tuple[float, float]:
    """The share of intervals that hold the mean, and the mean worth of 100 people with 400 simulations besides.

    Simulated answers are off by 3 and correlated with people's. `trusted` is the control: simulations are taken for
    people.
    """
    random = np.random.default_rng(seed)
    held, worths = [], []
    for _ in range(experiments):
        people = random.standard_normal(500)
        simulated = 3.0 + correlation * people + np.sqrt(1 - correlation**2) * random.standard_normal(500)
        if trusted:
            together = np.concatenate((people[:100], simulated[100:]))
            held.append(abs(together.mean()) <= 1.96 * together.std(ddof=1) / np.sqrt(500))
            continue
        made = score.worth(people[:100], simulated[:100], simulated[100:])
        held.append(made.interval.covers(0.0))
        worths.append(made.worth_in_humans)
    return float(np.mean(held)), float(np.mean(worths)) if worths else float("nan")


def known_worth(correlation: float, humans: int = 100, besides: int = 400) -> float:
    """People who would be as precise: n / (1 - r^2 / (1 + n / N))."""
    return humans / (1 - correlation**2 / (1 + humans / besides))


@check("prediction-powered intervals: coverage and worth in people")
def powered_intervals(full: bool) -> list[Verdict]:
    """100 people and 400 simulations besides, however good these are."""
    experiments = 10_000 if full else 1_500
    source = "PPI++, Angelopoulos, Duchi and Zrnic (2023)"
    verdicts = []
    for correlation in (0.0, 0.5, 0.9):
        held, found = powered(experiments, correlation)
        worth = known_worth(correlation)
        verdicts += [
            Verdict(f"intervals that hold the mean, r = {correlation}", held, 0.95, 0.02, source),
            Verdict(f"worth in people, r = {correlation}", found, worth, 0.05 * worth, "n / (1 - r^2 / (1 + n / N))"),
        ]
    return verdicts


@check("effects of a simulation: correlation corrected for noise")
def corrected(full: bool) -> list[Verdict]:
    """True effects correlated at .6, both sides measured with errors of .7 standard deviations."""
    random = np.random.default_rng(12)
    found = []
    for _ in range(2_000 if full else 200):
        true = random.standard_normal(60)
        other = 0.6 * true + 0.8 * random.standard_normal(60)
        error = np.full(60, 0.7)
        human, simulated = true + 0.7 * random.standard_normal(60), other + 0.7 * random.standard_normal(60)
        made = score.score_effects(human, error, simulated, error)
        found.append((made.r, made.r_corrected))
    raw, mended = np.nanmean(found, axis=0)
    return [
        Verdict("as measured", float(raw), 0.6 / 1.49, 0.03, "Spearman (1904): r times the root of both reliabilities"),
        Verdict("corrected for noise", float(mended), 0.6, 0.03, "Spearman (1904)"),
    ]
