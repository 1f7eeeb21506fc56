"""What an instrument is: items, answers that may be given, and the key that makes scores of them.

Items that a scale may count are numbers (`Item`); the others (`MultipleChoice`, `Ranking`, `OpenText`) are asked with
them and counted by hand.

An instrument is data. `score` reads answers by rows or by columns and gives a score for each scale, by the published
key: reversed items are mirrored in the range of the answers, and people who left out too many items have no score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Item:
    """One question: `name` is its key in answers, `text` its wording, None where the wording may not be passed on.

    `low` and `high` are the least and the largest answer; `labels` says what answers are called, by their number;
    without labels any number from `low` to `high` is an answer, or with `whole` any whole one. Answers may be given as
    numbers or as labels. Labels are steps of a scale unless they are `nominal`: those have no order, so a survey may
    show them in any. Items of one `page` that follow one another are asked in one question, as the rows of a matrix.
    """

    name: str
    text: str | None
    low: float
    high: float
    labels: Mapping[float, str] = field(default_factory=dict)
    whole: bool = False
    nominal: bool = False
    page: str = ""

    def value_of(self, answer: Any) -> float:
        """The number of an answer, NaN for none (None or NaN). Raises ValueError for what is no answer to this item."""
        if answer is None:
            return math.nan
        if isinstance(answer, str):
            said = answer.strip().casefold()
            for value, label in self.labels.items():
                if label.casefold() == said:
                    return float(value)
            raise ValueError(f"{answer!r} is no answer; they are {', '.join(self.labels.values()) or self._range()}")
        value = float(answer)
        if math.isnan(value):
            return value
        if not self.low <= value <= self.high or (self.all_labelled and value not in self.labels):
            raise ValueError(f"{answer!r} is no answer; they are {self._range()}")
        if self.whole and not value.is_integer():
            raise ValueError(f"{answer!r} is no answer; they are whole {self._range()}")
        return value

    def are_answers(self, values: Floats) -> bool:
        """Whether all of these numbers are answers, or NaN."""
        fit = (values >= self.low) & (values <= self.high)
        if self.all_labelled:
            fit &= np.isin(values, list(self.labels))
        if self.whole:
            fit &= values == np.floor(values)
        return bool((fit | np.isnan(values)).all())

    @property
    def all_labelled(self) -> bool:
        """Whether every answer has a label of its own."""
        return bool(self.labels) and len(self.labels) == self.high - self.low + 1

    def _range(self) -> str:
        return f"numbers from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class MultipleChoice:
    """A question to which several of its `options` are the answer: at least so many, at most so many (None: all)."""

    name: str
    text: str
    options: Sequence[str]
    at_least: int = 0
    at_most: int | None = None
    page: str = ""


@dataclass(frozen=True)
class Ranking:
    """A question to which all of its `options` in an order are the answer, the first the best."""

    name: str
    text: str
    options: Sequence[str]
    page: str = ""


@dataclass(frozen=True)
class OpenText:
    """A question to which a text is the answer."""

    name: str
    text: str
    page: str = ""


Question: TypeAlias = Item | MultipleChoice | Ranking | OpenText
"""What a survey asks."""


@dataclass(frozen=True)
class Scale:
    """A score and its key: `key` says of each item whether it counts as it is (1) or reversed (-1).

    A reversed answer x is low + high - x. `how` is 'sum' or 'mean', of the answers after `recode` (by value, where it
    is given) and reversal. A person with more than `most_missing` items left out has NaN; with fewer, what is left out
    counts as the mean of the person's other items of the scale. `cutoffs` are named scores at or above which the source
    calls a person so. `source` says where the key is from, if not from the source of the instrument.
    """

    name: str
    key: Mapping[str, Literal[1, -1]]
    how: Literal["sum", "mean"] = "mean"
    most_missing: int = 0
    recode: Mapping[float, float] = field(default_factory=dict)
    cutoffs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Instrument:
    """A set of items with scales: `CESD.score(answers)["depression"]`.

    `items` are asked in their order. Scales count those that are an `Item`, which is what `rated` holds.

    `source` is the publication of the items and of the key; `status` says what is known of licence or copyright, and
    so why a wording is there or is not. `differences` are scores that are one scale less another, by name.
    Raises ScenarioError for a key that names no item, for items of one name and for ranges that are none.
    """

    name: str
    title: str
    source: str
    status: str
    items: Sequence[Question]
    scales: Sequence[Scale] = ()
    instruction: str | None = None
    differences: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [item.name for item in self.items]
        if len(set(names)) < len(names) or not names:
            raise ScenarioError(f"instrument {self.name!r}: items need names of their own, got {names}")
        for item in self.items:
            if wrong := _wrong_with(item):
                raise ScenarioError(f"instrument {self.name!r}: item {item.name!r} {wrong}")
        for scale in self.scales:
            foreign = sorted(scale.key.keys() - set(self.item_names))
            if foreign or not scale.key or not set(scale.key.values()) <= {1, -1}:
                raise ScenarioError(
                    f"instrument {self.name!r}: scale {scale.name!r} needs a key of 1 or -1 by item; {foreign} are none"
                )
        known = {scale.name for scale in self.scales}
        for name, pair in self.differences.items():
            if not set(pair) <= known or name in known:
                raise ScenarioError(f"instrument {self.name!r}: the difference {name!r} of {pair} names no two scales")

    @property
    def rated(self) -> list[Item]:
        """The items whose answers are numbers, in their order: what scales, `matrix` and response styles go by."""
        return [item for item in self.items if isinstance(item, Item)]

    @property
    def item_names(self) -> list[str]:
        """The names of the items whose answers are numbers, in their order."""
        return [item.name for item in self.rated]

    def scale(self, name: str) -> Scale:
        """A scale by its name. Raises ScenarioError, naming those there are."""
        for scale in self.scales:
            if scale.name == name:
                return scale
        raise ScenarioError(f"{self.name} has no scale {name!r}; it has {', '.join(one.name for one in self.scales)}")

    def matrix(self, answers: Any) -> Floats:
        """Answers as float64, a row a person and a column an item in order, NaN where there is none.

        `answers` is a mapping or a data frame of columns by item (other columns are left out), one person's answers by
        item, a list of such, or an array of (people, items) or of (items,). Raises ScenarioError, naming item, person
        and what may be answered.
        """
        columns = self._columns(answers)
        made = np.full((len(columns[0]), len(columns)), np.nan)
        for at, (item, column) in enumerate(zip(self.rated, columns, strict=True)):
            values = np.asarray(column)
            if values.dtype.kind in "iuf" and item.are_answers(values.astype(np.float64)):
                made[:, at] = values
                continue
            for row, value in enumerate(column):
                try:
                    made[row, at] = item.value_of(value)
                except (TypeError, ValueError) as error:
                    raise ScenarioError(f"{self.name}: item {item.name!r}, person {row}: {error}") from None
        return made

    def _columns(self, answers: Any) -> list[Any]:
        names = self.item_names
        if isinstance(answers, Sequence) and answers and all(isinstance(one, Mapping) for one in answers):
            answers = {
                name: [one.get(name) for one in answers] for name in names if any(name in one for one in answers)
            }
        if isinstance(answers, Mapping) or hasattr(answers, "columns"):
            missing = [name for name in names if name not in answers]
            if missing:
                raise ScenarioError(f"{self.name}: there is no column or answer for {', '.join(missing)}")
            columns = [answers[name] for name in names]
            columns = [[one] if isinstance(one, str) or np.ndim(one) == 0 else list(one) for one in columns]
        else:
            table = np.atleast_2d(np.asarray(answers))
            if table.ndim != 2 or table.shape[1] != len(names):
                raise ScenarioError(f"{self.name}: answers are of shape {table.shape}, and it has {len(names)} items")
            columns = [table[:, at].tolist() for at in range(len(names))]
        if len({len(column) for column in columns}) != 1:
            raise ScenarioError(f"{self.name}: the columns of answers are of unequal length")
        return columns

    def keyed(self, scale: str, answers: Any) -> Floats:
        """The answers to the items of a scale after recoding and reversal: (people, items of the scale)."""
        return self._keyed(self.scale(scale), self.matrix(answers))

    def _keyed(self, key: Scale, table: Floats) -> Floats:
        at = {name: place for place, name in enumerate(self.item_names)}
        items = [self.rated[at[name]] for name in key.key]
        values = table[:, [at[name] for name in key.key]]
        if key.recode:
            recoded = np.full_like(values, np.nan)
            for value, score in key.recode.items():
                recoded[values == value] = score
            values = recoded
        low, high = np.array([item.low for item in items]), np.array([item.high for item in items])
        return np.where(np.array(list(key.key.values())) > 0, values, low + high - values)

    def score(self, answers: Any) -> dict[str, Floats]:
        """Scores by scale, float64 with a value a person, NaN where too much was left out; `answers` as in `matrix`."""
        table = self.matrix(answers)
        found = {scale.name: self._score(scale, table) for scale in self.scales}
        return found | {name: found[more] - found[less] for name, (more, less) in self.differences.items()}

    def _score(self, scale: Scale, table: Floats) -> Floats:
        values = self._keyed(scale, table)
        there = ~np.isnan(values)
        count = there.sum(axis=1)
        enough = (values.shape[1] - count <= scale.most_missing) & (count > 0)
        means = np.where(there, values, 0.0).sum(axis=1) / np.maximum(count, 1)
        return np.where(enough, means * (values.shape[1] if scale.how == "sum" else 1), np.nan)


def _wrong_with(item: Question) -> str:
    """What cannot be about a question, in words; '' where nothing is wrong."""
    if isinstance(item, OpenText):
        return ""
    if isinstance(item, Item) and not item.nominal:
        bounded = math.isfinite(item.low) and math.isfinite(item.high)
        if not item.low < item.high or (bounded and not math.isfinite(item.high - item.low)):
            return f"goes from {item.low} to {item.high}"
        if item.whole and bounded and math.floor(item.high) - math.ceil(item.low) < 1:
            return f"has no two whole numbers from {item.low} to {item.high}"
        labels = [*item.labels.values()]
        if len(set(labels)) < len(labels) or not all(labels):
            return f"needs labels that differ, got {labels}"
        return ""
    options = [*item.labels.values()] if isinstance(item, Item) else list(item.options)
    if len(options) < 2 or len(set(options)) < len(options) or not all(options):
        return f"needs two or more different options, got {options}"
    if isinstance(item, MultipleChoice):
        most = len(options) if item.at_most is None else item.at_most
        if not 0 <= item.at_least <= most <= len(options) or most < 1:
            return f"wants {item.at_least} to {most} of {len(options)} options"
    return ""
