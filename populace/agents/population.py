"""A population: one row an agent, drawn from a table or from distributions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from populace.agents.agent import Agent
from populace.core.draws import Stream
from populace.core.errors import ScenarioError


class Population:
    """Columns of equal length; row `i` is agent `i`.

    Columns that are fields of the agent give its state; the others (say, attributes that a network is made from)
    are there for the world. Raises ScenarioError on columns of unequal length.
    """

    __slots__ = ("columns", "size")

    def __init__(self, columns: Mapping[str, Sequence[Any] | np.ndarray[Any, Any]]) -> None:
        self.columns = {name: _plain(column) for name, column in columns.items()}
        sizes = {name: len(column) for name, column in self.columns.items()}
        if len(set(sizes.values())) != 1:
            raise ScenarioError(f"a population's columns must be of one length of at least 1, got {sizes or 'none'}")
        self.size = next(iter(sizes.values()))

    @classmethod
    def sample(cls, table: Mapping[str, Sequence[Any]], size: int, draw: Stream) -> Population:
        """`size` rows drawn from a table, each row equally likely, with replacement."""
        source = cls(table)
        rows = [draw.integer(source.size) for _ in range(size)]
        return cls({name: [column[row] for row in rows] for name, column in source.columns.items()})

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, name: str) -> list[Any]:
        """A column as a list. Raises KeyError, naming the columns there are."""
        try:
            return self.columns[name]
        except KeyError:
            raise KeyError(f"no column {name!r}; there are {', '.join(self.columns)}") from None

    def adding(self, **columns: Callable[[dict[str, Any]], Any]) -> Population:
        """The same people with more columns, functions of a row: `people.adding(old=lambda row: row["age"] > 64)`."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in zip(*self.columns.values(), strict=True)]
        return Population(self.columns | {name: [make(row) for row in rows] for name, make in columns.items()})

    def rows(self, ids: Sequence[int]) -> Population:
        """The rows of these agents."""
        return Population({name: [column[row] for row in ids] for name, column in self.columns.items()})


def make_agents(agent_type: type[Agent], rows: Population) -> list[Agent]:
    """One agent a row. Raises ScenarioError, naming class, row and field, where a row does not fit."""
    known = agent_type.__struct_fields__
    columns = {name: column for name, column in rows.columns.items() if name in known}
    names = tuple(columns)
    convert = msgspec.convert
    agents: list[Agent] = []
    for values in zip(*columns.values(), strict=True) if columns else [()] * rows.size:
        try:
            agents.append(convert(dict(zip(names, values, strict=True)), agent_type))
        except msgspec.ValidationError as error:
            raise ScenarioError(
                f"{agent_type.__name__}: row {len(agents)} of the population does not fit: {error}. "
                f"The population has the columns {', '.join(rows.columns)}."
            ) from None
    return agents


def _plain(column: Sequence[Any] | np.ndarray[Any, Any]) -> list[Any]:
    if hasattr(column, "tolist"):
        return list(column.tolist())
    return [value.item() if isinstance(value, np.generic) else value for value in column]
