"""Rubrics, judges, and how far two judges agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError

Report = dict[str, Any]
"""What a judge goes by: 'answer', 'truth', 'correct', 'questions', 'spent' and 'heard' (levels by key) of a case."""


class Criterion(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a rubric, with an ordered `scale` of marks.

    With a `rule(report)`, a pure function that gives one of the marks, the rule judges. Without one the model does: it
    is asked `prompt`, a template, once for each model role in `judges`, under the purpose 'judge'. The template may use
    the facts {answer}, {truth}, {correct}, {heard}, {questions}, {spent}, {scale} and {judge} (the role).
    """

    name: str
    scale: tuple[str, ...] = ("poor", "fair", "good")
    prompt: str = (
        "You are the {judge}. A solver was told {heard} and answered {answer}; the right answer is {truth}. It asked "
        "{questions} questions and spent {spent}. Mark the work with one of {scale}."
    )
    rule: Callable[[Mapping[str, Any]], str] | None = None
    judges: tuple[str, ...] = ("judge", "second_judge")

    def __post_init__(self) -> None:
        """Raises ScenarioError for a scale of one mark, or no judge."""
        if len(set(self.scale)) < 2 or (self.rule is None and not 1 <= len(self.judges) <= 2):
            raise ScenarioError(
                f"Criterion('{self.name}'): it needs two different marks or more, and one or two judges"
            )

    def mark(self, given: Any) -> int:
        """A mark's place on the scale. Raises ScenarioError for one that is not on it."""
        if given not in self.scale:
            raise ScenarioError(f"Criterion('{self.name}'): {given!r} is no mark; its scale is {', '.join(self.scale)}")
        return self.scale.index(given)


def cohen_kappa(table: NDArray[Any], weights: Literal["none", "linear", "quadratic"] = "none") -> float:
    """Cohen's kappa of two judges from their table of counts, shape (marks, marks); NaN where nothing was judged.

    Weighted by the distance of the marks, or its square (Cohen 1960, doi:10.1177/001316446002000104; 1968,
    doi:10.1037/h0026256). Judges who always give the same single mark agree wholly: 1.
    """
    counts = np.asarray(table, np.float64)
    total = counts.sum()
    if not total > 0:
        return float("nan")
    marks = np.arange(len(counts))
    apart = np.abs(marks[:, None] - marks[None, :]).astype(np.float64)
    loss = {"none": (apart > 0).astype(np.float64), "linear": apart, "quadratic": apart**2}[weights]
    chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / total
    expected = float((loss * chance).sum())
    return 1.0 if expected == 0 else 1.0 - float((loss * counts).sum()) / expected
