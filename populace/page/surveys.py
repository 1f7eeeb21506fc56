"""What probes measured: the tables that stand in a run's folder `probes`, one a file, as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from populace.page.scan import SHOWN_LETTERS
from populace.page.shelf import NotThere
from populace.store.tables.tables import unreadable_table

PROBES: Final = "probes"
_MOST_FILES: Final = 200


def surveys(folder: Path) -> list[dict[str, Any]]:
    """The tables there are: name, rows, columns."""
    found = []
    for name, path in _files(folder).items():
        try:
            about = pq.read_metadata(path)
        except (pa.ArrowException, OSError):
            continue  # it is being written
        found.append({"name": name, "rows": about.num_rows, "columns": about.schema.to_arrow_schema().names})
    return found


def survey(folder: Path, name: str, start: int, want: int) -> dict[str, Any]:
    """Rows of one table from `start` on, and of each column of numbers the mean. Raises NotThere."""
    path = _files(folder).get(name)
    if path is None:
        raise NotThere("there is no such survey")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable_table(path, error) from None
    means = {}
    for column in table.column_names:
        kind = table.schema.field(column).type
        if (pa.types.is_floating(kind) or pa.types.is_integer(kind)) and table.num_rows:
            means[column] = pa.compute.mean(table.column(column)).as_py()
    rows = [[_shown(value) for value in row.values()] for row in table.slice(start, want).to_pylist()]
    return {"columns": table.column_names, "rows": rows, "start": start, "of": table.num_rows, "means": means}


def _files(folder: Path) -> dict[str, Path]:
    """The tables by name; a link that leads out of the run's folder is none of them."""
    root = (folder / PROBES).resolve()
    if not root.is_relative_to(folder.resolve()):
        return {}
    found = sorted(root.glob("**/*.parquet"))[:_MOST_FILES]
    return {
        path.relative_to(root).with_suffix("").as_posix(): path for path in found if path.resolve().is_relative_to(root)
    }


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else str(value)[:SHOWN_LETTERS]
