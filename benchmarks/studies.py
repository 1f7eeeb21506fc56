"""The studies after AgentSociety under other parameters: the share of draws in which a published sign is found.

    python benchmarks/studies.py [--draws 100] [--only polarization outrage basic_income hurricane] [--out FILE]

Each draw takes every figure of a society's rule mind, and the parameters named below, from half to twice what it is
(on a logarithmic scale, shares at most 1), a new seed, and plays the arms of that seed. Shares come with 95 % intervals
(Wilson). Runs are in this process, since a rule's figures are set in its module.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pandas as pd
from statsmodels.stats.proportion import proportion_confint

import populace
from populace.core.draws import Stream
from populace.scenarios import _basic_income_rules, _hurricane_rules, _outrage_rules, _polarization_rules

Ends = dict[str, pd.Series]


class Study(NamedTuple):
    """`rules` holds the `figures` that are drawn, `parameters` are drawn, too; `arms` are settings and levers."""

    rules: ModuleType
    figures: tuple[str, ...]
    parameters: dict[str, float]
    size: dict[str, Any]
    arms: dict[str, tuple[dict[str, Any], list[Any]]]
    signs: dict[str, Callable[[Ends], bool]]


SUSPEND = 'when={agents={moderation.flagged={min=3}}}, set={world.moderation.suspended="matching"}'
WARN = 'at=16, send={to="all", body={warning=0.8, source="official"}}'
TALK = {"society.persuaders": True, "society.arguments": 4, "society.start": "halves"}

STUDIES = {
    "polarization": Study(
        _polarization_rules,
        ("RATE", "REJECTION"),
        {"openness": 0.3, "homophily": 4.0, "mean_degree": 6.0},
        {"agents": 102, "ticks": 12},
        {name: ({**TALK, "society.contact": name}, []) for name in ("friends", "like_minded", "opposing")},
        {
            "more extreme: like-minded above friends": lambda e: _of(e, "more_extreme", "like_minded", "friends"),
            "more extreme: friends above opposing": lambda e: _of(e, "more_extreme", "friends", "opposing"),
            "more moderate: opposing above friends": lambda e: _of(e, "moderated", "opposing", "friends"),
        },
    ),
    "outrage": Study(
        _outrage_rules,
        ("PER_AROUSAL", "PER_DUTY", "COST"),
        {"susceptibility": 0.5, "keeps": 0.8, "flag_from": 0.5, "mean_degree": 8.0, "homophily": 4.0},
        {"agents": 100, "ticks": 30},
        {
            "neutral": ({"society.text": "neutral"}, []),
            "inflammatory": ({}, []),
            "cut": ({}, ["at=0, set={world.moderation.cutting=true}"]),
            "suspend": ({}, [SUSPEND]),
        },
        {
            f"{outcome}: {high} above {low}": lambda e, o=outcome, h=high, w=low: _of(e, o, h, w)  # type: ignore[misc]
            for outcome in ("reach", "arousal_so_far")
            for high, low in (
                ("inflammatory", "neutral"),
                ("inflammatory", "cut"),
                ("cut", "suspend"),
                ("suspend", "neutral"),
            )
        },
    ),
    "basic_income": Study(
        _basic_income_rules,
        ("BUFFER_MONTHS", "ADJUSTS", "LEAST_SPENT", "LESS_EARNED", "CALM", "STRAIN", "JOBLESS", "NOISE"),
        {"memory_months": 12.0, "months_saved": 1.5},
        {"agents": 40, "ticks": 60},
        {
            "none": ({"society.interview": 59}, []),
            "transfer": ({"society.interview": 59}, ['at=36, set={"world.economy.transfer_cents"=100000}']),
        },
        {
            "consumption: transfer above none": lambda e: _of(e, "consumption_two_years", "transfer", "none"),
            "CES-D: none above transfer": lambda e: _of(e, "distress", "none", "transfer"),
        },
    ),
    "hurricane": Study(
        _hurricane_rules,
        ("WORK", "FOOD", "LEISURE", "DANGER", "HOME", "NOISE"),
        {"severity": 0.9, "keeps": 0.8, "friends_trust": 0.3, "wind_m_s": 40.0, "radius_km": 60.0},
        {"agents": 50, "ticks": 72},
        {"none": ({"society.storm": False}, []), "storm": ({}, []), "warned": ({}, [WARN])},
        {
            "visits: below the days before and after at landfall": lambda e: bool(
                e["storm"]["at_landfall"] < min(e["storm"]["before"], e["storm"]["after"])
            ),
            "visits: lowest on the day of the landfall": lambda e: bool(e["storm"]["lowest_day"] == 4),
            "visits at landfall: none above storm": lambda e: _of(e, "at_landfall", "none", "storm"),
            "visits on the eve: storm above warned": lambda e: _of(e, "eve", "storm", "warned"),
        },
    ),
}
LEAN = {
    "journal": "off", "checkpoint.every_s": None,
    "record.agents": "none", "record.asks": False, "record.messages": False, "record.actions": False,
}  # fmt: skip
"""Nothing is kept of a run but its outcomes."""
SHARES = {"openness", "susceptibility", "keeps", "severity", "friends_trust", "flag_from", "LEAST_SPENT"}


def _of(ends: Ends, outcome: str, high: str, low: str) -> bool:
    return bool(ends[high][outcome] > ends[low][outcome])


def play(name: str, study: Study, draw: int) -> Ends:
    """The last row of each arm's outcomes, with the draw's figures."""
    lot = Stream(20_261_129, draw, 0, name)

    def drawn(key: str, value: float) -> float:
        found = value * 2.0 ** lot.uniform(-1.0, 1.0)
        return min(1.0, found) if key in SHARES else found

    usual = {key: getattr(study.rules, key) for key in study.figures}
    given = {f"society.{key}": drawn(key, value) for key, value in study.parameters.items()}
    for key, value in usual.items():
        setattr(study.rules, key, drawn(key, value))
    try:
        ends = {}
        for arm, (settings, levers) in study.arms.items():
            of = {**LEAN, **given, **settings}
            run = populace.run(
                name, model="rules", seed=1_000 + draw, settings=of, levers=levers, quiet=True, **study.size
            ).outcomes
            end = run.iloc[-1].copy()
            if "visits_today" in run:
                end["lowest_day"] = float(run["visits_today"].iloc[8::8].to_numpy().argmin())
            ends[arm] = end
        return ends
    finally:
        for key, value in usual.items():
            setattr(study.rules, key, value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--only", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    out = given.out and given.out.absolute()
    os.chdir(tempfile.mkdtemp())
    rows = []
    for name in given.only:
        study, begun = STUDIES[name], time.perf_counter()
        found: dict[str, int] = dict.fromkeys(study.signs, 0)
        for draw in range(given.draws):
            ends = play(name, study, draw)
            for sign, holds in study.signs.items():
                found[sign] += holds(ends)
            if out:
                so_far = [_shares(name, sign, many, draw + 1) for sign, many in found.items()]
                out.write_text(json.dumps([*rows, *so_far], indent=1) + "\n")
        rows += [_shares(name, sign, many, given.draws) for sign, many in found.items()]
        for row in rows[-len(found) :]:
            shown = f"{row['found']} of {row['draws']} | {row['low']:.2f} to {row['high']:.2f}"
            print(f"| {name} | {row['sign']} | {shown} |", flush=True)
        print(f"{name}: {time.perf_counter() - begun:.0f} s", flush=True)


def _shares(name: str, sign: str, many: int, draws: int) -> dict[str, Any]:
    low, high = proportion_confint(many, draws, method="wilson")
    return {"study": name, "sign": sign, "found": many, "draws": draws, "low": float(low), "high": float(high)}


if __name__ == "__main__":
    main()
