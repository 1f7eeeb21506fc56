"""A population: one row an agent, drawn from a table or from distributions."""

from __future__ import annotations

import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.agents.agent import Agent
from populace.agents.columnar import DTYPES, column_types
from populace.agents.declaration import explain_value
from populace.core.draws import Stream
from populace.core.errors import ScenarioError
from populace.core.text import shown_value

if TYPE_CHECKING:
    from populace.agents.people.summary import Summary

Weights: TypeAlias = Sequence[float] | NDArray[Any] | str
"""Weights of rows: numbers, one a row, or the name of a column that has them."""


class Population:
    """Columns of equal length; row `i` is agent `i`.

    Columns give the agents' fields of the same names. Those that are no fields are named in `extra`: the world can be
    made from them, and groups of levers chosen by them: `Population({"mood": moods, "age": ages}, extra=["age"])`.
    Raises ScenarioError on columns of unequal length and on an extra one that there is not.
    """

    __slots__ = ("columns", "extra", "size")

    def __init__(
        self, columns: Mapping[str, Sequence[Any] | np.ndarray[Any, Any]], *, extra: Iterable[str] = ()
    ) -> None:
        self.columns = {name: _plain(column) for name, column in columns.items()}
        self.extra = frozenset((extra,) if isinstance(extra, str) else extra)
        missing = sorted(self.extra - self.columns.keys())
        if missing:
            raise ScenarioError(f"extra={missing}: the population has no such column; it has {', '.join(self.columns)}")
        sizes = {name: len(column) for name, column in self.columns.items()}
        if len(set(sizes.values())) != 1:
            raise ScenarioError(f"a population's columns must be of one length of at least 1, got {sizes or 'none'}")
        self.size = next(iter(sizes.values()))

    @classmethod
    def of_defaults(cls, size: int) -> Population:
        """So many rows without a column: all fields have their defaults."""
        made = cls({"": range(min(size, 1))})
        made.columns, made.size = {}, size
        return made

    @classmethod
    def sample(
        cls,
        table: Mapping[str, Sequence[Any]],
        size: int,
        draw: Stream,
        *,
        weights: Weights | None = None,
        extra: Iterable[str] = (),
    ) -> Population:
        """`size` rows drawn from a table with replacement, each row equally likely, or in proportion to its weight.

        `weights` are finite numbers of 0 or more, one a row, or the name of a column of the table, which is then left
        out of the population. Raises ScenarioError for weights that cannot be.
        """
        source = cls(table)
        out = {weights} if isinstance(weights, str) else set()
        columns = {name: column for name, column in source.columns.items() if name not in out}
        kept = cls(columns, extra={extra} - out if isinstance(extra, str) else set(extra) - out)
        if weights is None:
            return kept.rows([draw.integer(source.size) for _ in range(size)])
        steps = np.cumsum(weights_of(source, weights))
        marks = np.array([draw.random() for _ in range(size)]) * steps[-1]
        return kept.rows(np.searchsorted(steps, marks, side="right").tolist())

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
        made = {name: [make(row) for row in rows] for name, make in columns.items()}
        return Population(self.columns | made, extra=self.extra)

    def rows(self, ids: Sequence[int]) -> Population:
        """The rows of these agents."""
        return Population(
            {name: [column[row] for row in ids] for name, column in self.columns.items()}, extra=self.extra
        )

    def summary(self, source: Mapping[str, Sequence[Any]] | Population, *, weights: Weights | None = None) -> Summary:
        """How the columns of this population compare with those of the same names in the table that it is from.

        `weights` are those of the source's rows, as in `sample`. `print` shows a line a column; see `Summary`.
        """
        from populace.agents.people.summary import summarize

        return summarize(self, source if isinstance(source, Population) else Population(source), weights)


def weights_of(people: Population, weights: Weights | None) -> NDArray[np.float64]:
    """Weights as an array, one a row: those given, a column's, or ones. Raises ScenarioError for what are none."""
    if isinstance(weights, str) and weights not in people.columns:
        raise ScenarioError(f"weights={weights!r}: there is no such column; there are {', '.join(people.columns)}")
    given: Any = people.columns[weights] if isinstance(weights, str) else weights
    try:
        found = np.ones(people.size) if given is None else np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise ScenarioError(f"weights={weights!r:.60}: they have to be numbers, one a row") from None
    if found.shape != (people.size,) or not np.isfinite(found).all() or (found < 0).any() or not found.sum() > 0:
        raise ScenarioError(
            f"weights need a finite number of 0 or more for each of {people.size} rows, not all of them 0"
        )
    return found


def check_columns(agent_type: type[Agent], people: Population) -> None:
    """Raise ScenarioError for a column that is no field of the agents and is not declared as extra."""
    if (found := _no_field(agent_type, people.columns, people.extra)) is not None:
        name, meant = found
        raise ScenarioError(
            f"the population's column {name!r} is no field of {agent_type.__name__}; {meant}. Name it as its "
            f"field, or declare that it is there for the world and for groups: Population(..., extra=[{name!r}])."
        )


def make_newborns(
    agent_type: type[Agent], columns: Mapping[str, Sequence[Any]], ids: Sequence[int], extra: Collection[str]
) -> list[Agent]:
    """Agents who are born with these columns. Raises ScenarioError, naming class, field and agent, where one cannot be.

    Columns that are no fields are those that the population of this type declared as `extra`.
    """
    if (found := _no_field(agent_type, columns, extra)) is not None:
        name, meant = found
        raise ScenarioError(f"spawn: {name!r} is no field of {agent_type.__name__}; {meant}")
    return make_agents(agent_type, columns, ids, "spawn: agent {id}")


def _no_field(agent_type: type[Agent], columns: Mapping[str, Any], extra: Collection[str]) -> tuple[str, str] | None:
    """The first column that is neither a field nor extra, and what may be meant by it."""
    fields = agent_type.__struct_fields__
    for name in columns:
        if name not in fields and name not in extra:
            near = [one for one in fields if one.lower() == name.lower()] or get_close_matches(name, fields, 1)
            meant = f"the nearest is {near[0]!r}" if near else f"they are {', '.join(fields) or 'none'}"
            return name, meant
    return None


def make_agents(
    agent_type: type[Agent],
    columns: Mapping[str, Sequence[Any]],
    ids: Sequence[int],
    row: str = "row {id} of the population",
) -> list[Agent]:
    """These agents, each from its row. Raises ScenarioError, naming class, `row` and field, where one does not fit."""
    known = {name: column for name, column in columns.items() if name in agent_type.__struct_fields__}
    names = tuple(known)
    convert = msgspec.convert
    agents: list[Agent] = []
    for values in zip(*known.values(), strict=True) if known else [()] * len(ids):
        try:
            agents.append(convert(dict(zip(names, values, strict=True)), agent_type))
        except msgspec.ValidationError as error:
            raise ScenarioError(
                f"{agent_type.__name__}: {row.format(id=ids[len(agents)])} does not fit: "
                f"{explain_value(error, agent_type)}. The columns are {', '.join(columns) or 'none'}."
            ) from None
    return agents


def make_columns(
    kind: type[Agent],
    columns: Mapping[str, Sequence[Any]],
    rows: Sequence[int],
    row: str = "row {id} of the population",
) -> dict[str, Any]:
    """The fields of these agents as arrays, from their rows, defaults where a column is left out.

    Raises ScenarioError, naming class, `row` and field, where one does not fit.
    """
    defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
    made: dict[str, Any] = {}
    for name, of in column_types(kind).items():
        if name in columns:
            made[name] = make_column(kind, name, columns[name], rows, row)
        elif defaults[name] is msgspec.NODEFAULT:
            make_agents(kind, columns, rows, row)  # which names the row
        else:
            made[name] = np.full(len(rows), defaults[name], DTYPES[of])
    return made


def make_column(kind: type[Agent], name: str, values: Sequence[Any], rows: Sequence[int], row: str) -> NDArray[Any]:
    """One field of these agents as an array. Raises ScenarioError, naming class, field and `row`, for what misfits."""
    hint, dtype = typing.get_type_hints(kind, include_extras=True)[name], DTYPES[column_types(kind)[name]]
    try:
        return np.array(msgspec.convert(list(values), list[hint]), dtype)  # type: ignore[valid-type]
    except (msgspec.ValidationError, OverflowError, TypeError, ValueError):
        for value, at in zip(values, rows, strict=True):
            try:
                np.array(msgspec.convert(value, hint), dtype)
            except (msgspec.ValidationError, OverflowError, TypeError, ValueError) as error:
                said = str(error) if isinstance(error, msgspec.ValidationError) else "an int has 64 bits"
                raise ScenarioError(
                    f"{kind.__name__}: {row.format(id=at)} does not fit: {name} = {shown_value(value)}: {said}"
                ) from None
        raise


def _plain(column: Sequence[Any] | np.ndarray[Any, Any]) -> list[Any]:
    if hasattr(column, "tolist"):
        return list(column.tolist())
    return [value.item() if isinstance(value, np.generic) else value for value in column]
