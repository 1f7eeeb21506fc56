"""Texts about people, made of their columns: the same row gives the same text, and says nothing that is not in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from populace.core.errors import ScenarioError

Depth: TypeAlias = Literal["demographics", "short", "backstory"]

_DEPTHS: Final = ("demographics", "short", "backstory")
_ORDER: Final = (
    "name", "age", "gender", "race", "region", "education", "occupation", "income", "marital", "children", "religion",
    "ideology", "party",
)  # fmt: skip
_SHORT: Final = {
    "name": "You are {}.",
    "age": "You are {} years old.",
    "gender": "You are a {}.",
    "race": "You are {}.",
    "region": "You live in {}.",
    "education": "Your education: {}.",
    "occupation": "You work as {}.",
    "income": "Your income: {}.",
    "marital": "You are {}.",
    "children": "You have {} children.",
    "religion": "Your religion: {}.",
    "ideology": "In politics you are {}.",
    "party": "You think of yourself as {}.",
}
_BACKSTORY: Final = (
    ("Who I am", (
        ("name", "My name is {}."), ("age", "I am {} years old."), ("gender", "I am a {}."), ("race", "I am {}."),
    )),
    ("Where I live and with whom", (
        ("region", "I live in {}."), ("marital", "I am {}."), ("children", "I have {} children."),
    )),
    ("What I do", (
        ("education", "As to schooling, I have {}."), ("occupation", "I work as {}."),
        ("income", "My income is {}."),
    )),
    ("What I hold", (
        ("religion", "My religion is {}."), ("ideology", "In politics I am {}."), ("party", "I think of myself as {}."),
    )),
)  # fmt: skip


class Persona:
    """Makes a text of a row: `people.adding(profile=Persona("short", columns={"age": "age", "party": "PID"}))`.

    `columns` says which column holds what: name, age, gender, race, region, education, occupation, income, marital,
    children, religion, ideology, party; without it, columns are taken by these names. `labels` are words for the codes
    of a column, by its own name: {"PID": {0: "a strong Democrat"}}. `more` are sentences for other columns, with {} for
    the value: {"TVnews": "You watch the news on TV {} days a week."}.

    Depths: 'demographics' is a line a fact ('age: 34'), 'short' a few sentences that tell the agent who it is, and
    'backstory' paragraphs in the first person. A value that is missing (None, NaN) is left out. Raises ScenarioError
    for a depth, a fact or a column that there is not, and for a code without a label where its column has labels.
    """

    __slots__ = ("columns", "depth", "labels", "more")

    def __init__(
        self,
        depth: Depth = "short",
        *,
        columns: Mapping[str, str] | None = None,
        labels: Mapping[str, Mapping[Any, str]] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        if depth not in _DEPTHS:
            raise ScenarioError(f"Persona: there is no depth {depth!r}; there are {', '.join(_DEPTHS)}")
        foreign = sorted((columns or {}).keys() - set(_ORDER))
        if foreign:
            raise ScenarioError(
                f"Persona: columns={foreign} are no facts that it has a sentence for; they are {', '.join(_ORDER)}. "
                "Give a sentence of your own: more={column: 'You ... {}.'}"
            )
        self.depth = depth
        self.columns = columns
        self.labels = labels or {}
        self.more = more or {}

    def __call__(self, row: Mapping[str, Any]) -> str:
        """The text of one row."""
        facts = {}
        for fact in _ORDER:
            column = fact if self.columns is None else self.columns.get(fact)
            if column is None or (self.columns is None and column not in row):
                continue
            if (told := self._told(row, column)) is not None:
                facts[fact] = told
        rest = {column: told for column in self.more if (told := self._told(row, column)) is not None}
        if self.depth == "demographics":
            return "\n".join(f"{name}: {value}" for name, value in (*facts.items(), *rest.items()))
        added = [self.more[column].format(value) for column, value in rest.items()]
        if self.depth == "short":
            return " ".join([*(_SHORT[fact].format(value) for fact, value in facts.items()), *added])
        parts = [
            f"{title}. {' '.join(sentence.format(facts[fact]) for fact, sentence in sentences if fact in facts)}"
            for title, sentences in _BACKSTORY
            if any(fact in facts for fact, _ in sentences)
        ]
        return "\n\n".join([*parts, *([" ".join(added)] if added else [])])

    def _told(self, row: Mapping[str, Any], column: str) -> str | None:
        if column not in row:
            raise ScenarioError(f"Persona: the row has no column {column!r}; it has {', '.join(row)}")
        value = row[column]
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if column in self.labels:
            if value not in self.labels[column]:
                raise ScenarioError(f"Persona: labels of {column!r} have no word for {value!r}")
            return self.labels[column][value]
        return f"{int(value)}" if isinstance(value, float) and value.is_integer() else str(value)
