"""What surveys asked: the tables in a run's folder `probes`, summed up by item and wave, and as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from populace.monitoring.summary import PLACEBO_CAVEAT
from populace.page.scan import SHOWN_LETTERS
from populace.page.shelf import NotThere
from populace.store.manifest import is_placebo
from populace.store.probes import PROBES
from populace.store.tables.tables import unreadable_table

_MOST_FILES: Final = 200
_LABELS: Final = 6
_ASKED: Final = frozenset({"agent", "item", "tick", "answer", "label", "abstained", "weight"})


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
    """What each item came to in each wave, rows of the table from `start` on, and a caveat if any. Raises NotThere."""
    path = _files(folder).get(name)
    if path is None:
        raise NotThere("there is no such survey")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable_table(path, error) from None
    rows = [[_shown(value) for value in row.values()] for row in table.slice(start, want).to_pylist()]
    caveat = PLACEBO_CAVEAT if is_placebo(folder) else ""
    found = {"columns": table.column_names, "rows": rows, "start": start, "of": table.num_rows}
    return {**found, "items": _items(table), "caveat": caveat}


def _items(table: Any) -> list[dict[str, Any]]:
    """Of each item and tick: how many were asked and abstained, the mean answer by weight, the commonest labels."""
    if not _ASKED.issubset(table.column_names):
        return []
    known = pc.is_valid(table.column("answer"))
    weight = pc.fill_null(table.column("weight"), 1.0)
    table = table.append_column("weighed", pc.multiply(pc.fill_null(table.column("answer"), 0.0), weight))
    table = table.append_column("of", pc.if_else(known, weight, 0.0))
    sums = [("agent", "count"), ("abstained", "count"), ("weighed", "sum"), ("of", "sum")]
    found = table.group_by(["item", "tick"], use_threads=False).aggregate(sums).to_pylist()
    said: dict[tuple[str, int], list[tuple[str, int]]] = {}
    labelled = table.filter(pc.is_valid(table.column("label"))).group_by(["item", "tick", "label"], use_threads=False)
    for one in labelled.aggregate([("agent", "count")]).to_pylist():
        said.setdefault((one["item"], one["tick"]), []).append((one["label"][:SHOWN_LETTERS], one["agent_count"]))
    return [
        {
            "item": one["item"], "tick": one["tick"], "asked": one["agent_count"],
            "abstained": one["abstained_count"], "mean": one["weighed_sum"] / one["of_sum"] if one["of_sum"] else None,
            "labels": sorted(said.get((one["item"], one["tick"]), []), key=lambda pair: -pair[1])[:_LABELS],
        }
        for one in found
    ]  # fmt: skip


def _files(folder: Path) -> dict[str, Path]:
    """The tables by name; a link that leads out of the run's folder is none of them."""
    root = (folder / PROBES).resolve()
    if not root.is_relative_to(folder.resolve()):
        return {}
    found = sorted(root.glob("*.parquet"))[:_MOST_FILES]
    return {path.stem: path for path in found if path.resolve().is_relative_to(root)}


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else str(value)[:SHOWN_LETTERS]
