"""Small databases: tables that never change, and views with what was changed on top."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from populace.core.errors import ScenarioError

Key: TypeAlias = str | int
Row: TypeAlias = dict[str, Any]
Changes: TypeAlias = dict[str, dict[Key, Row | None]]
"""By table and key: the rows that differ from the database's; None for one that is gone."""


class Refusal(Exception):
    """What a tool raises for a call that cannot be done: one word, such as 'unknown_order'. It changes nothing then."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Database:
    """Tables of columns by name; the first column of each is its key. They are the same for all, and never change.

    Columns are sequences or NumPy arrays of one length, of str, int, float or bool, or of lists of these. Raises
    ScenarioError, naming the table, for keys that come twice and columns of different lengths.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, Sequence[Any] | np.ndarray[Any, Any]]]) -> None:
        self.columns: dict[str, dict[str, list[Any]]] = {}
        self.key: dict[str, str] = {}
        self.kinds: dict[str, dict[str, set[type]]] = {}
        """By table and column: the types of the values there."""
        self._place: dict[str, dict[Key, int]] = {}
        for table, columns in tables.items():
            own = {
                name: column.tolist() if isinstance(column, np.ndarray) else list(column)
                for name, column in columns.items()
            }
            if not own or len({len(column) for column in own.values()}) > 1:
                raise ScenarioError(f"Database: the columns of table '{table}' have to be there, and of one length")
            self.columns[table], self.key[table] = own, next(iter(own))
            self.kinds[table] = {name: {type(one) for one in column} for name, column in own.items()}
            keys = own[self.key[table]]
            self._place[table] = {key: at for at, key in enumerate(keys)}
            if len(self._place[table]) < len(keys):
                raise ScenarioError(
                    f"Database: '{self.key[table]}' of table '{table}' is its key: no value comes twice"
                )

    def row(self, table: str, key: Key) -> Row | None:
        """A row, by column; None where there is none."""
        place = self._place[self.known(table)].get(key)
        return None if place is None else {name: column[place] for name, column in self.columns[table].items()}

    def keys(self, table: str) -> Iterable[Key]:
        """The keys of a table, in order."""
        return self._place[self.known(table)]

    def where(self, table: str, equal: Mapping[str, Any]) -> list[Key]:
        """Keys of the rows whose columns equal these values."""
        keys: list[Key] = self.columns[self.known(table)][self.key[table]]
        places: Iterable[int] = range(len(keys))
        for name, value in equal.items():
            column = self.columns[table][self.column(table, name)]
            places = [at for at in places if column[at] == value]
        return [keys[at] for at in places]

    def known(self, table: str) -> str:
        """The table's name. Raises ScenarioError, naming those there are, for another."""
        if table not in self.columns:
            raise ScenarioError(f"there is no table '{table}'; there are {', '.join(self.columns)}")
        return table

    def column(self, table: str, name: str) -> str:
        """The column's name. Raises ScenarioError, naming those there are, for another."""
        if name not in self.columns[self.known(table)]:
            raise ScenarioError(f"table '{table}' has no column '{name}'; it has {', '.join(self.columns[table])}")
        return name


class View:
    """A database as it is after some `changes`, which a view may add to. Rows that it gives are copies.

    Tools are given one: `db.row("orders", order)`, `db.put("orders", order, status="cancelled")`.
    """

    def __init__(self, base: Database, changes: Changes | None = None) -> None:
        self.base = base
        self.changes: Changes = {table: dict(rows) for table, rows in (changes or {}).items()}

    def get(self, table: str, key: Any) -> Row | None:
        """A row, or None."""
        if type(key) not in (str, int):
            return None
        changed = self.changes.get(self.base.known(table), {})
        row = changed[key] if key in changed else self.base.row(table, key)
        return None if row is None else _copied(row)

    def row(self, table: str, key: Any) -> Row:
        """A row. Raises Refusal('unknown_' and the table's name) where there is none."""
        row = self.get(table, key)
        if row is None:
            raise Refusal(f"unknown_{table}")
        return row

    def find(self, table: str, **equal: Any) -> list[Row]:
        """The rows whose columns equal these values, those that were there from the start first."""
        for name in equal:
            self.base.column(table, name)
        changed = self.changes.get(self.base.known(table), {})
        found = [self.row(table, key) for key in self.base.where(table, equal) if key not in changed]
        new = [row for row in changed.values() if row is not None]
        return found + [_copied(row) for row in new if all(row[name] == value for name, value in equal.items())]

    def put(self, table: str, key: Key, **values: Any) -> None:
        """Change columns of a row. Raises Refusal where there is no such row."""
        self._set(table, key, {**self.row(table, key), **values})

    def add(self, table: str, key: Key, **values: Any) -> None:
        """Add a row, with a value for each column. Raises Refusal('taken_' and the table's name) for a key in use."""
        if self.get(table, key) is not None:
            raise Refusal(f"taken_{table}")
        self._set(table, key, {self.base.key[self.base.known(table)]: key, **values})

    def drop(self, table: str, key: Key) -> None:
        """Take a row away. Raises Refusal where there is none."""
        self.row(table, key)
        self._keep(table, key, None)

    def _set(self, table: str, key: Key, row: Row) -> None:
        columns = self.base.columns[table]
        if row.keys() != columns.keys() or row[self.base.key[table]] != key:
            raise ScenarioError(f"a row of '{table}' has the columns {', '.join(columns)}, the first being its key")
        for name, value in row.items():
            kinds = self.base.kinds[table][name]
            if kinds and type(value) not in kinds:
                given, there = type(value).__name__, ", ".join(sorted(one.__name__ for one in kinds))
                raise ScenarioError(f"column '{name}' of table '{table}' holds {there}, and was to hold {given}")
        self._keep(table, key, {name: row[name] for name in columns})

    def _keep(self, table: str, key: Key, row: Row | None) -> None:
        rows = self.changes.setdefault(table, {})
        rows.pop(key, None)
        if row != self.base.row(table, key):
            rows[key] = None if row is None else _copied(row)
        if not rows:
            del self.changes[table]


def _copied(row: Row) -> Row:
    return {name: list(value) if isinstance(value, list) else value for name, value in row.items()}


def difference(base: Database, left: Changes, right: Changes) -> list[tuple[str, Key, str, Any, Any]]:
    """Where two states of a database differ: (table, key, column, value on the left, value on the right), sorted.

    A row that only one of them has differs in each column, and is None on the other side. Mirrored, it is what the
    states give the other way round.
    """
    found = []
    one, other = View(base, left), View(base, right)
    for table in sorted(left.keys() | right.keys()):
        keys = left.get(table, {}).keys() | right.get(table, {}).keys()
        for key in sorted(keys, key=lambda key: (str(type(key)), key)):
            mine, theirs = one.get(table, key), other.get(table, key)
            for column in base.columns[table]:
                values = (mine or {}).get(column), (theirs or {}).get(column)
                if values[0] != values[1] or type(values[0]) is not type(values[1]):
                    found.append((table, key, column, *values))
    return found
