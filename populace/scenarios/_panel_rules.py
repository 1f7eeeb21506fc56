"""The rule mind of `panel`: a reader who knows what people are like, and of this one what its text says.

It makes an estimate of the person's traits from age, schooling and what the text has the person say, each by what it
is worth, and answers what is then likeliest. It is told neither how long the text might have been nor the arm. All
figures are of data or published (`data/panel.md`), and were fixed before the first run.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from populace.core.draws import Stream
from populace.probes import IPIP25, Instrument, Item, Scale
from populace.scenarios._data import anes96, prompts

TEXTS = prompts("panel")
DATA = json.loads((Path(__file__).parent / "data" / "panel.json").read_text(encoding="utf-8"))
TRAITS: list[str] = DATA["traits"]
STABLE = 0.65
"""The share of an answer's variance that is there again after two weeks: the median correlation of an item's answers 13
days apart (HEXACO-100, N = 416; Henry, Thielmann, Booth and Mottus 2022, doi:10.1371/journal.pone.0262465)."""
DEGREES = tuple(NormalDist().inv_cdf(at / 5.0) for at in range(1, 5))
"""Where one degree of what is said of a topic passes into the next: each is as frequent as any other."""
SCHOOLS: list[str] = prompts("anes96")["schools"]


class Key(NamedTuple):
    """How an item is answered: its trait, its loading, and where one answer passes into the next.

    The real answers on politics are taken for what is stable, so those that are given on a day load less.
    """

    trait: int
    loading: float
    cuts: tuple[float, ...]


KEYS = {
    name: Key(
        TRAITS.index(one["trait"]),
        one["loading"] * (STABLE**0.5 if one["trait"] == "politics" else 1.0),
        tuple(NormalDist().inv_cdf(float(share)) for share in np.cumsum(one["shares"])[:-1]),
    )
    for name, one in DATA["items"].items()
}
SAYS = round(float(np.mean([abs(one["loading"]) for one in DATA["items"].values()])), 2)
"""How much of a trait one statement of an interview shows, as a loading: the mean of the items' own."""


def _politics() -> list[Item]:
    low = {"selfLR": 1, "PID": 0, "vote": 0}
    return [
        Item(
            name,
            one["text"],
            low[name],
            low[name] + len(one["labels"]) - 1,
            {float(at): label for at, label in enumerate(one["labels"], low[name])},
        )
        for name, one in TEXTS["items"].items()
    ]


INSTRUMENT = Instrument(
    name="panel",
    title="Twenty-five items on personality, three on politics",
    source=f"{IPIP25.source} American National Election Study 1996.",
    status="IPIP items are in the public domain; questions on politics are in populace's own words.",
    items=[*IPIP25.items, *_politics()],
    scales=[*IPIP25.scales, Scale("politics", {"selfLR": 1, "PID": 1, "vote": 1})],
)
ITEMS = {item.name: item for item in INSTRUMENT.rated}
STATEMENTS = {
    degree.format(**topic): (TRAITS.index(topic["trait"]), at)
    for topic in TEXTS["topics"]
    for at, degree in enumerate(TEXTS["degrees"])
}
"""What may be said in an interview: of which trait, and how much of it, from 0 to 4."""


@cache
def demographics() -> dict[str, tuple[float, float]]:
    """The mean and the standard deviation of age and schooling."""
    table = anes96()
    return {name: (float(np.mean(table[name])), float(np.std(table[name]))) for name in ("age", "educ")}


def expected(age: float | None, educ: float | None) -> NDArray[np.float64]:
    """Traits as age and schooling have them; what isn't known counts as the mean."""
    known = zip((age, educ), demographics().values(), strict=True)
    z = [0.0 if told is None else (told - mean) / sd for told, (mean, sd) in known]
    return np.asarray(np.array(DATA["on_age_and_schooling"]) @ np.array(z))


def spread() -> NDArray[np.float64]:
    """The covariance of traits among people of one age and schooling; of all people, variances are 1."""
    slopes = np.array(DATA["on_age_and_schooling"])
    left = np.sqrt(1.0 - (slopes**2).sum(axis=1))
    return np.array(DATA["correlations"]) * np.outer(left, left)


def read(about: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a text lets one hold of a person's traits: mean (6,) and covariance (6, 6), by Bayes' rule.

    Each statement is a sign of its trait, worth `SAYS`; where in its degree the person is, is taken to be the middle.
    """
    age = re.search(r"age: (\d+)|(\d+) years old", about)
    school = next((at for at, name in enumerate(SCHOOLS, 1) if name in about), None)
    mean, prior = expected(float(age[1] or age[2]) if age else None, school), spread()
    precision, signs = np.linalg.inv(prior), np.zeros(len(TRAITS))
    noise = 1.0 - SAYS**2
    for text, (trait, degree) in STATEMENTS.items():
        if text in about:
            z = NormalDist().inv_cdf((degree + 0.5) / 5.0)
            signs[trait] += SAYS * (z - SAYS * mean[trait]) / noise
            precision[trait, trait] += SAYS**2 / noise
    left = np.linalg.inv(precision)
    return mean + left @ signs, left


def answer(item: Item, at: float) -> int:
    """The step of an item, from 0 on, at which a person who leans so far answers."""
    return int(np.searchsorted(KEYS[item.name].cuts, at))


def likeliest(item: Item, mean: Any, left: Any) -> int:
    """The step that is likeliest of a person of whose traits so much is known."""
    key = KEYS[item.name]
    of = NormalDist(key.loading * mean[key.trait], (1.0 - key.loading**2 * (1.0 - left[key.trait, key.trait])) ** 0.5)
    below = [0.0, *(of.cdf(cut) for cut in key.cuts), 1.0]
    return int(np.argmax(np.diff(below)))


def label(item: Item, step: int) -> str:
    """What a step of an item is called."""
    return item.labels[item.low + step]


def leaning_now(stable: float, draw: Stream) -> float:
    """Where a person leans on this day: what is stable, and what the day adds."""
    return float(STABLE**0.5 * stable + (1.0 - STABLE) ** 0.5 * draw.normal(0.0, 1.0))


def asked(item: Item) -> str:
    """A question as it stands in a block: its text, and the answers there are."""
    return f"{item.text} ({' | '.join(item.labels[at] for at in sorted(item.labels))})"


BY_QUESTION = {asked(item): item for item in INSTRUMENT.rated}


def block(facts: dict[str, Any], draw: Stream) -> dict[str, str]:
    """A twin's answers to a block of questions."""
    mean, left = read(facts["about"])
    items = {name: BY_QUESTION[question] for name, question in facts["questions"].items()}
    return {name: label(item, likeliest(item, mean, left)) for name, item in items.items()}


def survey(facts: dict[str, Any], draw: Stream) -> Any:
    """A survey's item: a respondent by its own leanings, a twin by its text; what neither knows of, by lot."""
    item, known = ITEMS.get(facts["item"]), facts["self"]
    if item is None or item.text != facts["question"]:
        return draw.choice(facts["options"]) if facts["options"] else draw.uniform(facts["low"], facts["high"])
    if "leanings" in known:
        return label(item, answer(item, leaning_now(known["leanings"][item.name], draw)))
    return label(item, likeliest(item, *read(known["persona"])))


def interview(facts: dict[str, Any], draw: Stream) -> str:
    """Something that the text has the person say, by lot."""
    said = [text for text in STATEMENTS if text in str(facts["self"].get("persona", ""))]
    return str(draw.choice(said)) if said else "There is little to say about me."


RULES = {"block": block, "survey": survey, "interview": interview}
