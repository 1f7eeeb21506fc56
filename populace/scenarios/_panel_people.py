"""The respondents of `panel`: voters of 1996 with traits, leanings, and texts about themselves."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from populace import Persona, Population, Setup
from populace.core.draws import Stream
from populace.core.errors import ScenarioError
from populace.scenarios import _panel_rules as rules
from populace.scenarios._data import respondents

POLITICS = [name for name, key in rules.KEYS.items() if key.trait == 0]
OF_PERSONA = 3
"""How many statements a short persona has: a few sentences, where an interview has all."""


def leaning_of(name: str, row: Any) -> float:
    """The leaning from which a respondent's real answer comes: the middle of those that give it."""
    shares = np.cumsum([0.0, *rules.DATA["items"][name]["shares"]])
    at = int(row[name] - rules.ITEMS[name].low)
    return float(NormalDist().inv_cdf(float(shares[at] + shares[at + 1]) / 2.0))


def with_traits(row: Any, lot: Stream) -> tuple[list[float], dict[str, float]]:
    """A respondent's traits (6,), and where it leans on each item, both in standard deviations.

    Politics is the factor of its three real answers, with what these leave open by lot; the other traits are drawn
    given politics, age and schooling. A leaning on an item of personality is its trait by the loading, and what is the
    item's own.
    """
    real = np.array([leaning_of(name, row) for name in POLITICS])
    loads = np.array([rules.DATA["items"][name]["loading"] for name in POLITICS])
    weights = np.linalg.solve(np.outer(loads, loads) + np.diag(1.0 - loads**2), loads)
    politics = float(weights @ real) + (1.0 - float(weights @ loads)) ** 0.5 * lot.normal(0.0, 1.0)
    mean, root = rules.expected(row["age"], row["educ"]), np.linalg.cholesky(rules.spread())
    first = (politics - mean[0]) / root[0, 0]
    traits = mean + root @ np.array([first, *(lot.normal(0.0, 1.0) for _ in rules.TRAITS[1:])])
    leanings = dict(zip(POLITICS, real.tolist(), strict=True))
    for name, key in rules.KEYS.items():
        if name not in leanings:
            shown = key.loading * traits[key.trait]
            own = max(0.0, rules.STABLE - key.loading**2) ** 0.5 * lot.normal(0.0, 1.0)
            leanings[name] = float((shown + own) / max(rules.STABLE, key.loading**2) ** 0.5)
    return traits.tolist(), leanings


def interview(traits: list[float], candour: float, lot: Stream) -> list[str]:
    """A statement on each topic, in an order by lot; `candour` is how much of the trait it shows, as a loading."""
    said = []
    for topic in rules.TEXTS["topics"]:
        trait = traits[rules.TRAITS.index(topic["trait"])]
        shown = candour * trait + (1.0 - candour**2) ** 0.5 * lot.normal(0.0, 1.0)
        said.append(rules.TEXTS["degrees"][int(np.searchsorted(rules.DEGREES, shown))].format(**topic))
    lot.shuffle(said)
    return said


def text(row: Any, said: list[str], arm: Literal["demographics", "persona", "interview"], share: float) -> str:
    """What is told of a respondent: demographics, with a few statements, or with a share of the interview."""
    columns = {"age": "age", "region": "town", "education": "educ"}
    labels = {"educ": {float(at): school for at, school in enumerate(rules.SCHOOLS, 1)}}
    row = {**row, "town": rules.TEXTS["town"].format(popul=f"{row['popul']:.0f}")}
    if arm == "demographics":
        return Persona("demographics", columns=columns, labels=labels)(row)
    kept = OF_PERSONA if arm == "persona" else round(share * len(said))
    more = {"said": rules.TEXTS["own_words" if arm == "persona" else "interview"]} if kept else {}
    depth: Literal["short", "backstory"] = "short" if arm == "persona" else "backstory"
    told = Persona(depth, columns=columns, labels=labels, more=more)
    return told({**row, "said": " ".join(said[:kept])})


def people(setup: Setup) -> dict[str, Population]:
    """Respondents drawn with replacement, and a twin of each, which has nothing of it but the text."""
    dials, number = setup.parameters, len(setup.ids("respondent"))
    if (twins := len(setup.ids("twin"))) > number:
        raise ScenarioError(f"panel: {twins} twins for {number} respondents: set agents.twin to {number} or fewer")
    drawn = respondents(Setup(number, setup.seed, dials, setup.tick_seconds))
    traits, says = setup.draw("traits"), setup.draw("interview")
    leanings, texts = [], []
    for at in range(number):
        row = {name: column[at] for name, column in drawn.columns.items()}
        has, leans = with_traits(row, traits)
        leanings.append(leans)
        texts.append(text(row, interview(has, dials.candour, says), dials.about, dials.kept))
    columns = {**drawn.columns, "leanings": leanings}
    return {
        "respondent": Population(columns, extra=list(drawn.columns)),
        "twin": Population({"about": texts[:twins]}),
    }
