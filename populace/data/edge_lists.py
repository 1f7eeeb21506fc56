"""Reading an edge list from a file: columns `source`, `target` and, where there is one, `weight`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError

_SEPARATORS: Final = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_PARQUET: Final = {".parquet", ".pq"}
_NEEDED: Final = ("source", "target")
_KNOWN: Final = ("source", "target", "weight")


class EdgeList(NamedTuple):
    """Edges as they stand in a file; `weight` is None where the file has no such column."""

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    weight: NDArray[np.float64] | None


def read_edge_list(path: str | Path) -> EdgeList:
    """Read .csv, .tsv (with a first line of column names, UTF-8) or .parquet.

    Ids are integers from 0, weights are numbers; other columns are an error, so that a misspelt `weight` is not
    overlooked. Raises ScenarioError, naming the file, the line and the value, for what cannot be read.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind in _PARQUET:
        return _read_parquet(path)
    if kind not in _SEPARATORS:
        raise ScenarioError(f"{path}: an edge list is a .csv, .tsv or .parquet file, not '{kind}'")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read_rows(path, csv.reader(file, delimiter=_SEPARATORS[kind], strict=True))
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read ({error.strerror}). Check the path.") from None
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: is not UTF-8 text: {error}") from None


def _read_rows(path: Path, rows: Any) -> EdgeList:
    source: list[int] = []
    target: list[int] = []
    weight: list[float] = []
    try:
        names = [name.strip() for name in next(rows, [])]
        _check_names(path, names)
        at_source, at_target = names.index("source"), names.index("target")
        at_weight = names.index("weight") if "weight" in names else None
        for row in rows:
            if not row:
                continue
            if len(row) != len(names):
                raise ScenarioError(f"{path}, line {rows.line_num}: {len(row)} values for {len(names)} columns")
            source.append(_id(path, rows.line_num, "source", row[at_source]))
            target.append(_id(path, rows.line_num, "target", row[at_target]))
            if at_weight is not None:
                weight.append(_weight(path, rows.line_num, row[at_weight]))
    except csv.Error as error:
        raise ScenarioError(f"{path}, line {rows.line_num}: {error}") from None
    return EdgeList(
        np.array(source, dtype=np.int64),
        np.array(target, dtype=np.int64),
        None if at_weight is None else np.array(weight, dtype=np.float64),
    )


def _check_names(path: Path, names: list[str]) -> None:
    if len(set(names)) < len(names) or not set(_NEEDED) <= set(names) <= set(_KNOWN):
        raise ScenarioError(
            f"{path}, line 1: the columns are {names}, and must be source, target and, if there are weights, weight"
        )


def _id(path: Path, line: int, column: str, text: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdecimal()) or int(text) >= 2**31:
        raise ScenarioError(f"{path}, line {line}: {column} is an agent's id, an integer from 0 up, not {text!r}")
    return int(text)


def _weight(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise ScenarioError(f"{path}, line {line}: weight is a finite number, not {text!r}")
    return value


def _read_parquet(path: Path) -> EdgeList:
    import pyarrow as pa  # here, since only a Parquet edge list needs it
    import pyarrow.parquet as parquet

    try:
        with path.open("rb") as file:  # by a path Arrow would open it past Python, and `read_files` would not hear
            table = parquet.read_table(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise ScenarioError(f"{path}: cannot be read as Parquet: {error}") from None
    _check_names(path, table.column_names)
    columns: dict[str, NDArray[Any]] = {}
    for name in table.column_names:
        column = table[name]
        good = pa.types.is_integer(column.type) or (name == "weight" and pa.types.is_floating(column.type))
        if not good or column.null_count:
            raise ScenarioError(
                f"{path}: column '{name}' is {column.type} with {column.null_count} missing values; ids are integers, "
                "weights are numbers, and none may be missing"
            )
        columns[name] = column.to_numpy()
    for name in _NEEDED:
        ids = columns[name]
        if len(ids) and not 0 <= ids.min() <= ids.max() < 2**31:
            row = int(np.argmax((ids < 0) | (ids >= 2**31)))
            raise ScenarioError(f"{path}, row {row}: {name} is an agent's id, an integer from 0 up, not {ids[row]}")
    weight = columns.get("weight")
    return EdgeList(
        columns["source"].astype(np.int64),
        columns["target"].astype(np.int64),
        None if weight is None else weight.astype(np.float64),
    )
