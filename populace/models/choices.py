"""Probabilities over the labels of a choice, read from the probabilities of an answer's first token."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

from populace.agents.answers import Chosen
from populace.core.draws import Stream

_AMBIGUOUS = 0.01


def label_probabilities(labels: tuple[str, ...], tokens: Iterable[tuple[str, float]]) -> dict[str, float] | None:
    """The probabilities of `labels`, from (token, natural logarithm of its probability) pairs of the first token.

    A token counts for a label when, without white space around it and whatever its case, it begins that label and no
    other; a single letter counts only for a label of one letter, since 'A' begins much that is not 'agree'. What was
    found is scaled to a sum of 1 and rounded to six digits; a label that was not found has 0. None when no label was
    found, or when more than a hundredth of what was found could mean more than one label ('1' and '10').

    >>> label_probabilities(("yes", "no"), [("Yes", -0.7), (" no", -1.4), ("I", -2.0)])
    {'yes': 0.668188, 'no': 0.331812}
    """
    folded = [label.strip().casefold() for label in labels]
    found = [0.0] * len(labels)
    ambiguous = 0.0
    for token, logarithm in tokens:
        start = token.strip().casefold()
        if not start or not logarithm <= 0.0:
            continue
        hits = [at for at, label in enumerate(folded) if label.startswith(start)]
        if len(hits) > 1:
            ambiguous += math.exp(logarithm)
        elif hits and len(start) >= min(2, len(folded[hits[0]])):
            found[hits[0]] += math.exp(logarithm)
    total = math.fsum(found)
    if total <= 0.0 or ambiguous > _AMBIGUOUS * (total + ambiguous):
        return None
    return {label: round(mass / total, 6) for label, mass in zip(labels, found, strict=True)}


def choose(probabilities: Mapping[str, float], draw: Stream) -> str:
    """The JSON of `Chosen`: a label drawn from the probabilities."""
    label = draw.weighted(tuple(probabilities), probabilities.values())
    return msgspec.json.encode(Chosen(label, dict(probabilities))).decode()
