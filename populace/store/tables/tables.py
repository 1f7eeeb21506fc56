"""The Parquet tables that a run leaves, and how to read them. Shell: files.

`populace.core.tables` declares them. Give `Tables.add` one batch a tick that holds every shard's rows: then the tables
are the same on any number of shards (but for `latency_s` of asks, which is wall time).

While a run lasts, its rows stand in part files, `parts/<name>-<number>.parquet`. `mark` says where the part that is
being written ends, and `cut` ends it there, in a thread while the run goes on, so that what came before a checkpoint is
on the disk however the run ends; a run that is resumed there drops the parts after it. At the run's end the parts
become one file a table. An attempt that ends before it has come as far as one before it leaves that one's tables as
they are.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec.structs import replace
from numpy.typing import NDArray

from populace.core.errors import SettingsError, StorageError
from populace.core.tables import TABLES, Table, TableRows
from populace.files import naming, sync_folder
from populace.settings import Record
from populace.store.place import is_part, remove_own
from populace.store.tables.columns import field_columns
from populace.store.tables.files import GROUP_ROWS, PARTS, Sheet, check_schema, is_table, part_number, ticks_of


class Tables:
    """Writes a run's tables into the folder `out`, which it makes if need be.

    `fields` are the agents' public fields (float, int, bool or str); `settings` says which tables are kept. Rows
    are held back until there are `group_rows` of them, so memory stays bounded. A resumed run goes on after
    its first `parts` parts; the tables of an attempt before, of `former_ticks` ticks, stand until it has come as far.
    Raises StorageError.
    """

    def __init__(
        self,
        out: Path,
        fields: Mapping[str, type],
        settings: Record,
        group_rows: int = GROUP_ROWS,
        parts: int = 0,
        former_ticks: int = 0,
    ) -> None:
        extra = field_columns(fields)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"--out {out}: cannot be made a folder ({error.strerror}). Choose another.") from None
        self._out = out
        self._parts = parts
        self._former_ticks = former_ticks
        self._group_rows = group_rows
        self._settings = settings
        self._sheets: dict[str, Sheet] = {}
        self._one = threading.RLock()
        self._marked: tuple[int, int | None] | None = None
        """The number of the parts that are to end, and of how many ticks they have all rows."""
        for name, table in TABLES.items():
            if table.seldom and not any((out / PARTS).glob(f"{name}-*.parquet")):
                continue
            if self._keeps(table):
                whole = replace(table, columns=(*table.columns, *extra)) if name == "agents" else table
                self._sheets[name] = Sheet(out, name, whole, group_rows, parts)
        with naming(out / PARTS, "written"):
            (out / PARTS).mkdir(exist_ok=True)
            for file in (out / PARTS).iterdir():
                if is_part(file) and part_number(file) not in range(parts):
                    file.unlink()
            for name in self._sheets:  # left by a run that ended early and is taken up now
                path = out / f"{name}.parquet"
                if path.exists() and not is_table(path, name):
                    raise StorageError(f"{path}: is not a table that a run left. Move it out of the run's folder.")

    def _keeps(self, table: Table) -> bool:
        """Whether the settings have a table kept."""
        return table.record is None or getattr(self._settings, table.record) not in (False, "none")

    @property
    def names(self) -> tuple[str, ...]:
        """The tables that this run keeps."""
        return tuple(self._sheets)

    @property
    def rows(self) -> dict[str, int]:
        """How many rows of each table stand in parts, once those that are marked have ended, and were added since."""
        return {name: sheet.rows for name, sheet in self._sheets.items()}

    def add(self, name: str, batch: TableRows) -> None:
        """Add rows to a table, as the kernel gives them; where the table is not kept, nothing happens."""
        with self._one:
            self.cut()
            if name not in self._sheets and TABLES[name].seldom and self._keeps(TABLES[name]):
                self._sheets[name] = Sheet(self._out, name, TABLES[name], self._group_rows, self._parts)
            if sheet := self._sheets.get(name):
                sheet.add(batch)

    def mark(self, ticks: int | None = None) -> int:
        """Have the parts that are being written end here; gives how many there are then, the same for every table.

        They say that what they hold is what `ticks` ticks came to. Raises StorageError.
        """
        with self._one:
            self.cut()
            self._marked = self._parts, ticks
            self._parts += 1
            return self._parts

    def cut(self) -> None:
        """End the parts where they are marked, if they have not: what was added before is on the disk then.

        May run in a thread; whatever is added next waits for it. Raises StorageError.
        """
        with self._one:
            if self._marked is None:
                return
            number, ticks = self._marked
            for sheet in self._sheets.values():
                sheet.cut(number, ticks)
            sync_folder(self._out / PARTS)
            self._marked = None

    def close(self, ticks: int | None = None, *, complete: bool = True) -> list[Path]:
        """Make each table one file, and say which there are; a second call gives none.

        Each says in its metadata whether the run was `complete`, and of how many `ticks` it has the rows. Parts that a
        checkpoint counts on stay beside them, until `forget`. A table of an attempt that came further stays as it is. A
        table that cannot be finished keeps its parts, while the others are finished; then StorageError names it.
        """
        finished: list[Path] = []
        failed: list[StorageError] = []
        with contextlib.suppress(StorageError):  # the table that could not be cut says so below
            self.cut()
        short = not complete and ticks is not None and ticks < self._former_ticks
        for name, sheet in self._sheets.items():
            try:
                if short and (former := self._out / f"{name}.parquet").exists():
                    sheet.drop()
                    finished.append(former)
                else:
                    finished.append(sheet.close(complete, self._parts, ticks))
            except StorageError as error:
                failed.append(error)
        if self._sheets:
            sync_folder(self._out)
        self._sheets = {}
        if failed:
            raise type(failed[0])("\n".join(map(str, failed)))
        if finished and not self._parts:
            self.forget()
        return finished

    def forget(self) -> None:
        """Remove the parts, once nobody will take the run up again. Raises StorageError."""
        remove_own(self._out / PARTS)

    def abandon(self) -> None:
        """Let go of what is not in a part yet: the run goes back to where it was cut."""
        with self._one:
            for sheet in self._sheets.values():
                sheet.drop()
            self._sheets, self._marked = {}, None


def read_table(run_dir: str | Path, name: str) -> Any:
    """A table of a run as a `pyarrow.Table` (`.to_pandas()` and `.to_pydict()` go on from there).

    Of a run that was killed, or is still at work, it is what stands in parts: up to the last checkpoint. Raises
    SettingsError when the run has no such table, naming those that it has, and StorageError when it is damaged.
    """
    run_dir = Path(run_dir)
    path = run_dir / f"{name}.parquet"
    try:
        files = table_files(run_dir, name)
        for file in files or [path]:
            check_schema(file, pq.read_schema(file).metadata)
        if len(files) > 1:
            return pa.concat_tables(map(_read_file, files), promote_options="default")
        return _read_file(*files or [path])
    except FileNotFoundError:
        there = ", ".join(sorted(file.stem for file in run_dir.glob("*.parquet"))) or "none"
        raise SettingsError(f"{path}: there is no such table. Tables there are: {there}.") from None
    except (pa.ArrowException, OSError) as error:
        raise unreadable_table(path, error) from None


def unreadable_table(path: Path, error: Exception) -> StorageError:
    """The error to raise for a table's file that is damaged."""
    return StorageError(
        f"{path}: cannot be read as Parquet: {error}. Put a good copy of the file back; `populace replay "
        f"{shlex.quote(str(path.parent))} --out FOLDER` recomputes a run's tables with no call."
    )


def _read_file(file: Path) -> Any:
    # And not by `pq.read_table`, which loads pandas, where it is there, and reads columns out of folders' names.
    with pq.ParquetFile(file, page_checksum_verification=True) as opened:
        return opened.read()


def table_files(run_dir: str | Path, name: str) -> list[Path]:
    """The files that hold a table of a run, in order: the table itself or, while they go further, its parts."""
    run_dir = Path(run_dir)
    path = run_dir / f"{name}.parquet"
    parts = sorted((run_dir / PARTS).glob(f"{name}-*.parquet"), key=part_number)
    if not path.exists():
        return parts
    table_ticks, parts_ticks = ticks_of(path), ticks_of(parts[-1]) if parts else None
    further = table_ticks is not None and parts_ticks is not None and parts_ticks > table_ticks
    return parts if further else [path]


def recorded_prompt(run_dir: str | Path, tick: int, agent: int, nth: int) -> list[dict[str, str]] | None:
    """The messages (role, content) of one ask, or None where the table of asks does not have it.

    Raises SettingsError when the run has no such table.
    """
    asks = read_table(run_dir, "asks")
    here = (pc.field("tick") == tick) & (pc.field("agent") == agent) & (pc.field("nth") == nth)
    rows = asks.filter(here).column("prompt").to_pylist()
    return json.loads(rows[0]) if rows else None


def agents_touched(run_dir: str | Path) -> dict[str, int] | None:
    """How many different agents each lever of a run touched, by its label, for those that touched any.

    None where the run has no such table.
    """
    try:
        table = read_table(run_dir, "levers").select(["lever", "agent"])
    except (SettingsError, StorageError):
        return None
    agents = table.filter(pc.greater_equal(table.column("agent"), 0)).group_by("lever")
    counted = agents.aggregate([("agent", "count_distinct")]).to_pydict()
    return dict(zip(counted["lever"], counted["agent_count_distinct"], strict=True))


def outcome_series(run_dir: str | Path) -> dict[str, list[float]]:
    """The outcomes of a run, each as its values in order of ticks."""
    series: dict[str, list[float]] = {}
    table = read_table(run_dir, "outcomes").to_pydict()
    for name, value in zip(table["name"], table["value"], strict=True):
        series.setdefault(name, []).append(value)
    return series


def public_fields(columns: Iterable[str]) -> list[str]:
    """The public fields among the names of the columns of a run's table `agents`."""
    return [name for name in columns if name not in ("tick", "agent", "type")]


def panel(run_dir: str | Path, field: str) -> NDArray[Any]:
    """One public field as a dense array of shape (ticks, agents), filled forward from the rows that changed.

    Row 0 is the first tick that the table holds, the last row the last tick of its agents or outcomes; column i
    is agent i. Where an agent has no value (before it is born, once it has left, or since its type has no such field)
    there is NaN (bool and int fields then become float64) or None (str fields, whose dtype is object). Raises
    SettingsError when there is no such table or field.
    """
    table = read_table(run_dir, "agents")
    fields = public_fields(table.column_names)
    if field not in fields:
        raise SettingsError(f"{run_dir}: agents have no public field '{field}'. Fields there are: {', '.join(fields)}.")
    if not table.num_rows:
        return np.empty((0, 0), dtype=np.float64)
    every_tick = table.column("tick").to_numpy()
    first, last = int(every_tick.min()), int(every_tick.max())
    outcomes = read_table(run_dir, "outcomes").column("tick")
    if len(outcomes):
        last = max(last, int(outcomes.to_numpy().max()))
    ticks, agents = last - first + 1, int(table.column("agent").to_numpy().max()) + 1
    left = _exits(run_dir)
    table = table.filter(pc.is_valid(table.column(field)))
    tick, agent, values = (table.column(name).to_numpy() for name in ("tick", "agent", field))
    order = np.argsort(tick, kind="stable")
    tick, agent, values = tick[order], agent[order], values[order]
    everyone_from_the_start = np.unique(agent[tick == first]).size == agents
    if not (everyone_from_the_start and not left) and values.dtype.kind in "bi":
        values = values.astype(np.float64)
    blank = np.nan if values.dtype.kind == "f" else None
    dense = np.full((ticks, agents), blank if values.dtype.kind in "fO" else 0, dtype=values.dtype)
    starts = np.searchsorted(tick, np.arange(first, last + 2))
    for row in range(ticks):
        if row:
            dense[row] = dense[row - 1]
        rows = slice(starts[row], starts[row + 1])
        dense[row, agent[rows]] = values[rows]
    for one, at in left.items():
        dense[max(0, at - first) :, one] = blank
    return dense


def agents_having(run_dir: str | Path, field: str) -> dict[int, str]:
    """The agents that have a public field, in the order of their ids, each with its type; empty without types."""
    table = read_table(run_dir, "agents")
    if "type" not in table.column_names:
        return {}
    known = table.filter(pc.is_valid(table.column(field))).select(["agent", "type"]).group_by("agent")
    found = known.aggregate([("type", "min")]).sort_by("agent").to_pydict()
    return dict(zip(found["agent"], found["type_min"], strict=True))


def with_types(run_dir: str | Path, table: pa.Table) -> pa.Table:
    """A table of a run with each agent's type beside its id, text: `type` for `agent`, `sender_type` and the like else.

    The world (-1) and who stands in no row of the table `agents` have null. A table of a society without types, or of a
    run that keeps no table `agents`, is given back as it is.
    """
    named = [name for name in ("agent", "sender", "receiver") if name in table.column_names]
    if not named or "type" in table.column_names:
        return table
    try:
        known = read_table(run_dir, "agents")
    except SettingsError:
        return table
    if "type" not in known.column_names:
        return table
    of = known.select(["agent", "type"]).group_by("agent").aggregate([("type", "min")])
    for name in named:
        at = pc.index_in(table.column(name), of.column("agent"))
        label = "type" if name == "agent" else f"{name}_type"
        place = table.column_names.index(name) + 1
        table = table.add_column(place, label, pc.take(of.column("type_min"), at))
    return table


def _exits(run_dir: str | Path) -> dict[int, int]:
    """The agents who have left, each with the first tick in which it no longer lives."""
    if not table_files(run_dir, "turnover"):
        return {}
    rows = read_table(run_dir, "turnover")
    gone = rows.filter(pc.equal(rows.column("what"), "left")).to_pydict()
    return dict(zip(gone["agent"], gone["tick"], strict=True))
