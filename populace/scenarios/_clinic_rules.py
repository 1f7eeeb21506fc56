"""The clinic's rule mind: Bayes on what is in mind; and the textbooks that it and the handbook are made from."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from populace.core.draws import Draws, Stream
from populace.env import BayesNet, Fact
from populace.scenarios._data import network

DISORDERS = {
    "ChHepatitis": "active", "Cirrhosis": "decompensate", "Hyperbilirubinemia": "present", "PBC": "present",
    "RHepatitis": "present", "Steatosis": "present", "THepatitis": "present", "carcinoma": "present",
}  # fmt: skip


class Textbook(NamedTuple):
    """A network, its disorders, its findings of two levels, and what disorders show.

    `shows` is P(first level | disorder), float64 of shape (disorders, findings).
    """

    net: BayesNet
    diagnosis: str | dict[str, str]
    diseases: tuple[str, ...]
    findings: tuple[str, ...]
    shows: NDArray[np.float64]

    def facts(self, given: int) -> list[Fact]:
        """The findings; the first ones are given from the start."""
        levels = self.net.levels
        return [
            Fact(key=one, levels=levels[one], how="given" if at < given else "ask")
            for at, one in enumerate(self.findings)
        ]


@lru_cache
def textbook(name: str) -> Textbook:
    """The textbook 'drawn' or 'hepar2'.

    Drawn are 12 diseases x 40 findings, P ~ Beta(.6, .6) clipped to [.05, .95], the first diseases being more common;
    it is always the same. Of hepar2, what disorders show is counted in 20,000 samples.
    """
    draws = Draws(1986)
    if name == "drawn":
        diseases = tuple(f"D{at + 1:02d}" for at in range(12))
        findings = tuple(f"F{at + 1:02d}" for at in range(40))
        marks = draws.column("shows", np.arange(480)).reshape(12, 40)
        shows = np.clip(betaincinv(0.6, 0.6, marks), 0.05, 0.95)
        prior = 1.0 / (1.0 + np.arange(12))
        net = BayesNet.naive("disease", diseases, prior / prior.sum(), dict(zip(findings, shows.T, strict=True)))
        return Textbook(net, "disease", diseases, findings, shows)
    net = network(name)
    diseases = tuple(DISORDERS)
    findings = tuple(one for one in net.levels if one not in DISORDERS and len(net.levels[one]) == 2)
    sample = net.sample(20_000, draws)
    there = np.stack([sample[one] == net.level(one, level) for one, level in DISORDERS.items()], axis=1)
    alone = there & (there.sum(axis=1, keepdims=True) == 1)
    seen = np.stack([sample[one] == 0 for one in findings], axis=1).astype(np.float64)
    shows = (alone.T @ seen + 1.0) / (alone.sum(axis=0)[:, None] + 2.0)
    return Textbook(net, dict(DISORDERS), diseases, findings, shows)


@lru_cache
def handbook(name: str) -> str:
    """The textbook as text: a line a disease, in percent."""
    book = textbook(name)
    rows = [
        f"{disease}: " + ", ".join(f"{name} {100 * p:.0f}" for name, p in zip(book.findings, row, strict=True))
        for disease, row in zip(book.diseases, book.shows, strict=True)
    ]
    return "\n".join(rows)


@lru_cache
def step_type(name: str) -> type[msgspec.Struct]:
    """What a doctor answers: a question or a diagnosis of the textbook, and how sure it is."""
    book = textbook(name)
    return msgspec.defstruct(
        "Step",
        [
            ("do", Literal["ask", "answer"]),
            ("question", Literal[book.findings]),
            ("diagnosis", Literal[book.diseases]),
            ("sure", float),
        ],
    )


class Told(msgspec.Struct):
    """What a patient tells: the finding's level, and what it adds."""

    level: str
    aside: str


def belief(facts: dict[str, Any]) -> NDArray[np.float64]:
    """P(disease | what is in mind): frequencies in the notes times likelihoods, pulled towards the first impression."""
    book, wrong = textbook(facts["book"]), facts["wrong"]
    places = {name: at for at, name in enumerate(book.findings)}
    logs = np.log(1.0 + np.array([facts["notes"].count(one) for one in book.diseases]))
    for one in facts["mind"]:
        if (at := places.get(one["key"])) is not None:
            first = one["level"] == book.net.levels[one["key"]][0]
            says = (1.0 - wrong) * book.shows[:, at] + wrong * (1.0 - book.shows[:, at])
            logs += np.log(says if first else 1.0 - says)
    if facts["impression"] in book.diseases:
        logs[book.diseases.index(facts["impression"])] += facts["pull"]
    chances = np.exp(logs - logs.max())
    return np.asarray(chances / chances.sum())


def most_telling(facts: dict[str, Any], chances: NDArray[np.float64]) -> str:
    """The open question whose answer tells most: the expected fall in entropy of the belief."""
    book, wrong = textbook(facts["book"]), facts["wrong"]
    places = [book.findings.index(one) for one in facts["open"]]
    says = (1.0 - wrong) * book.shows[:, places] + wrong * (1.0 - book.shows[:, places])
    told = np.zeros(len(places))
    for chance in (says, 1.0 - says):
        joint = chances[:, None] * chance
        total = joint.sum(axis=0)
        told += (joint * np.log(np.maximum(joint / total, 1e-300))).sum(axis=0)
    return str(facts["open"][int(told.argmax())])


def step(facts: dict[str, Any], draw: Stream) -> dict[str, Any]:
    """Ask what tells most, or answer what is likeliest: at once, when sure enough, or when no more can be asked."""
    book = textbook(facts["book"])
    chances = belief(facts)
    sure = float(chances.max())
    over = not facts["open"] or facts["left"] <= 0
    enough = facts["habit"] == "never ask" or (facts["habit"] == "ask until sure" and sure >= facts["threshold"])
    asks = not (over or enough)
    return {
        "do": "ask" if asks else "answer",
        "question": most_telling(facts, chances) if asks else book.findings[0],
        "diagnosis": book.diseases[int(chances.argmax())],
        "sure": sure,
    }


def tell(facts: dict[str, Any], draw: Stream) -> dict[str, Any]:
    """The truth, or what one fears, or now and then the other thing; and at times something beside the point."""
    book, level = textbook(facts["book"]), facts["level"]
    first, second = facts["levels"]
    if facts["fear"] in book.diseases and draw.bernoulli(facts["conviction"]):
        shows = book.shows[book.diseases.index(facts["fear"]), book.findings.index(facts["question"])]
        level = first if shows > 0.5 else second
    if draw.bernoulli(facts["wrong"]):
        level = second if level == first else first
    return {"level": level, "aside": "and my neighbour has it too" if draw.bernoulli(facts["chatty"]) else ""}


def judge(facts: dict[str, Any], draw: Stream) -> dict[str, Any]:
    """Good where the answer is right, fair where it was worked for; one mark down now and then, as judges differ."""
    mark = 2 if facts["answer"] == facts["truth"] else (1 if facts["questions"] >= 8 else 0)
    return {"mark": ("poor", "fair", "good")[max(0, mark - draw.bernoulli(0.15))]}
