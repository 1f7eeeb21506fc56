"""Reading a table of people: a file, or any data frame that gives itself out by Arrow. A shell: it reads files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from populace.core.errors import ScenarioError

_TEXT: Final = {".csv": ",", ".tsv": "\t"}
_PARQUET: Final = {".parquet", ".pq"}
_SHIPPED: Final = ("anes96", "cps_tax_units")
_WHERE: Final = Path(__file__).parents[1] / "scenarios" / "data"


def read_table(source: Any, columns: Iterable[str] | None = None) -> dict[str, list[Any]]:
    """Columns of a table as lists, None where a value is missing: `Population.sample(read_table(path), 100, draw)`.

    `source` is the path of a .csv, .tsv or .parquet file, or a table of pandas, polars, pyarrow, duckdb or any other
    library that gives it out by the Arrow PyCapsule interface; or the name of a table that ships: 'anes96' (944 voters
    of 1996), 'cps_tax_units' (2,029 weighted tax units of 1,500 households); a page beside each, in
    `populace/scenarios/data`, says where it is from. `columns` are those to read (all unless given). Raises
    ScenarioError, naming the file and the column, for what cannot be read.
    """
    wanted = None if columns is None else list(columns)
    table, called = _table(source)
    missing = [name for name in wanted or () if name not in table.column_names]
    if missing:
        raise ScenarioError(f"{called} has no column {', '.join(missing)}; it has {', '.join(table.column_names)}")
    if len(set(table.column_names)) < len(table.column_names):
        raise ScenarioError(f"{called} has two columns of one name: {', '.join(table.column_names)}")
    if not table.num_rows:
        raise ScenarioError(f"{called} has no rows")
    return {
        name: _plain(table.column(name).to_pylist(), text=called.endswith(tuple(_TEXT)))
        for name in wanted or table.column_names
    }


def _plain(values: list[Any], text: bool) -> list[Any]:
    """None for NaN, and for the empty cells of a file of text."""
    return [None if (isinstance(one, float) and one != one) or (text and one == "") else one for one in values]


def _table(source: Any) -> tuple[Any, str]:
    import pyarrow as pa

    if not isinstance(source, str | Path):
        if not hasattr(source, "__arrow_c_stream__"):
            raise ScenarioError(
                f"read_table: a {type(source).__name__} is neither a path nor a table that Arrow can read"
            )
        return pa.table(source), f"the {type(source).__name__}"
    path = _WHERE / f"{source}.parquet" if source in _SHIPPED else Path(source)
    ending = path.suffix.lower()
    if ending not in _TEXT and ending not in _PARQUET:
        raise ScenarioError(
            f"{path}: tables are read from .csv, .tsv or .parquet, not '{ending}'; "
            f"those that ship are {', '.join(_SHIPPED)}"
        )
    try:
        with path.open("rb") as file:  # opened here, so that a run notes which file its people are from
            if ending in _PARQUET:
                import pyarrow.parquet as pq

                return pq.read_table(file), str(path)
            from pyarrow import csv

            return csv.read_csv(file, parse_options=csv.ParseOptions(delimiter=_TEXT[ending])), str(path)
    except OSError as error:
        raise ScenarioError(f"{path} cannot be read: {error}") from None
    except pa.ArrowInvalid as error:
        raise ScenarioError(f"{path} cannot be read as a table: {error}") from None
