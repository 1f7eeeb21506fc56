"""A table on its way to the disk: the parts that a run writes while it lasts, and the one file that they become."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from populace.core.errors import PopulaceError, SettingsError, StorageError
from populace.core.tables import SCHEMA_VERSION, TABLES, Table, TableRows
from populace.files import naming, storage_error
from populace.store.tables.columns import arrow_type, to_arrow

GROUP_ROWS: Final = 50_000
"""Rows that are held back before they are written as one row group."""

GROUP_BYTES: Final = 32 * 2**20
"""Bytes of rows that are held back, for tables whose rows are long."""

SCHEMA: Final = "populace.schema"
"""The key in a file's metadata under which its schema version stands."""

PARTS: Final = "parts"
"""The folder of a run that holds the parts of its tables while it lasts."""


_OF_ONE_FILE: Final = (b"populace.complete", b"populace.ticks")


def part_number(file: Path) -> int:
    """The number of a part file, or -1 where it is not a whole one."""
    found = re.fullmatch(r"\w+-(\d{6,})\.parquet", file.name)
    return int(found[1]) if found else -1


def rows_of(path: Path) -> int | None:
    """How many rows a Parquet file holds, or None where it is none that can be read."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return None


def check_schema(path: Path, metadata: Mapping[bytes, bytes] | None) -> None:
    """Raise SettingsError for a table of a newer schema than this populace knows; tables without a version are of 1."""
    said = (metadata or {}).get(SCHEMA.encode(), b"1").decode(errors="replace")
    if not said.isdecimal() or int(said) > SCHEMA_VERSION:
        raise SettingsError(
            f"{path}: is a table of schema version {said}, and this populace ({version('populace')}) reads up to "
            f"{SCHEMA_VERSION}: a newer one wrote it. Read it with that, or upgrade: pip install -U populace"
        )


def is_table(path: Path, name: str) -> bool:
    """Whether a file is a table of this name that a run left."""
    try:
        about = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError):
        return False
    return bool(about.get(b"populace.table", b"") == name.encode())


def ticks_of(path: Path) -> int | None:
    """For how many ticks a table's file, or a part, has all rows; None where it does not say so, or cannot be read."""
    try:
        about = pq.read_schema(path).metadata or {}
        return int(about[b"populace.ticks"])
    except (KeyError, pa.ArrowException, OSError):
        return None


def lost_parts(out: Path, parts: int, rows: Mapping[str, int]) -> list[str]:
    """What is missing of the first `parts` parts of a run's tables, which held so many rows: a sentence a table."""
    lost = []
    for name, wanted in rows.items():
        files = [out / PARTS / f"{name}-{number:06}.parquet" for number in range(parts)]
        there = {file: rows_of(file) for file in files if file.exists()}
        found = sum(count or 0 for count in there.values())
        if found != wanted:
            bad = [file.name for file in files if there.get(file) is None]
            lost.append(f"{out / PARTS}: {found:,} of {wanted:,} rows of {name} are there; look for {', '.join(bad)}")
    return lost


def write_part(out: Path, name: str, table: Any, number: int, ticks: int) -> Path:
    """Write rows that another run left as part `number` of a table of the run in `out`, up to so many ticks.

    Raises StorageError.
    """
    path = out / PARTS / f"{name}-{number:06}.parquet"
    about = {key: value for key, value in (table.schema.metadata or {}).items() if key not in _OF_ONE_FILE}
    schema = table.schema.with_metadata(about)
    repeating = [one.name for one in TABLES[name].columns if not one.distinct]
    with naming(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _File(path.with_name(f"{name}.parquet.part"), schema, [one for one in schema.names if one in repeating])
        try:
            file.write(table.replace_schema_metadata(about).to_batches(GROUP_ROWS), GROUP_ROWS)
            file.finish(path, complete=False, ticks=ticks)
        except BaseException:
            file.drop()
            raise
    return path


class Sheet:
    """One table on its way to the disk. Its first `parts` parts stand there already."""

    def __init__(
        self,
        out: Path,
        name: str,
        table: Table,
        group_rows: int,
        parts: int,
    ) -> None:
        self._path = out / f"{name}.parquet"
        self._folder = out / PARTS
        self._table = table
        self._group_rows = group_rows
        self._held: list[Any] = []
        self._rows = 0
        self._bytes = 0
        self._broken: StorageError | None = None
        self._schema = pa.schema(
            [
                pa.field(one.name, arrow_type(one), nullable=one.nullable, metadata={"about": one.about})
                for one in table.columns
            ],
            metadata={
                "populace.table": name,
                "populace.order": ", ".join(table.order),
                SCHEMA: str(SCHEMA_VERSION),
            },
        )
        self._repeating = [one.name for one in table.columns if not one.distinct]
        self._done = [path for number in range(parts) if (path := self._part(number)).exists()]
        self.part_rows = sum(rows_of(path) or 0 for path in self._done)
        self._file: _File | None = None

    @property
    def rows(self) -> int:
        """How many rows were added, with those of former lives that stand in parts."""
        return self.part_rows + self._rows + (0 if self._file is None else self._file.rows)

    def _part(self, number: int) -> Path:
        return self._folder / f"{self._path.stem}-{number:06}.parquet"

    def add(self, columns: TableRows) -> None:
        """Convert a batch, sort it, and write when enough is held. One that is in order is taken a group at a time."""
        if self._broken is not None:
            raise self._broken
        count = max(map(len, columns.values()), default=0)
        if count > self._group_rows and self._is_in_order(columns):
            for start in range(0, count, self._group_rows):
                self._take({name: column[start : start + self._group_rows] for name, column in columns.items()})
        else:
            self._take(columns)

    def _is_in_order(self, columns: TableRows) -> bool:
        """Whether rows that come as arrays are of one tick and, where the order says by agent, each agent's after."""
        tick, *more = (columns.get(name) for name in self._table.order)
        if not isinstance(tick, np.ndarray) or len(set(map(len, columns.values()))) > 1 or (tick != tick[0]).any():
            return False
        return not more or (len(more) == 1 and isinstance(more[0], np.ndarray) and _rises(more[0]))

    def _take(self, columns: TableRows) -> None:
        batch = self._sorted(self._convert(columns))
        if not batch.num_rows:
            return
        self._held.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= self._group_rows or self._bytes >= GROUP_BYTES:
            self._write()

    def cut(self, number: int, ticks: int | None, *, complete: bool = False) -> None:
        """End the part that is being written, if there is any row for it, as part `number`, up to so many ticks."""
        if self._broken is not None:
            raise self._broken
        if self._rows:
            self._write()
        if self._file is not None:
            file, self._file = self._file, None
            path = self._part(number)
            self.part_rows += file.rows
            try:
                file.finish(path, complete, ticks)
            except OSError as error:
                raise self._fail(error) from error
            self._done.append(path)

    def close(self, complete: bool, number: int, ticks: int | None) -> Path:
        """Make the parts one file. Those that a checkpoint may count on, before `number`, stay beside it."""
        fresh = not self._done
        self.cut(number, ticks, complete=complete)
        try:
            if fresh and self._done:
                self._done[0].replace(self._path)
                return self._path
            whole = _File(self._path.with_name(f"{self._path.name}.part"), self._schema, self._repeating)
            try:
                self._merge(whole)
                whole.finish(self._path, complete, ticks)
            except BaseException:
                whole.drop()
                raise
        except OSError as error:
            raise self._fail(error) from error
        return self._path

    def _merge(self, whole: _File) -> None:
        held: list[Any] = []
        rows = size = 0
        for path in self._done:
            try:
                for batch in pq.ParquetFile(path, page_checksum_verification=True).iter_batches(self._group_rows):
                    held.append(_widened(batch, self._schema))
                    rows, size = rows + batch.num_rows, size + batch.nbytes
                    if rows >= self._group_rows or size >= GROUP_BYTES:
                        whole.write(held, self._group_rows)
                        held, rows, size = [], 0, 0
            except (pa.ArrowException, OSError, KeyError) as error:
                raise StorageError(
                    f"{path}: is not what was written there: {error}. Remove it, then resume the run: it is recomputed "
                    "from its journal."
                ) from None
        if held:
            whole.write(held, self._group_rows)

    def drop(self) -> None:
        """Let go of what is held and of the part that is being written."""
        self._held, self._rows, self._bytes = [], 0, 0
        if self._file is not None:
            self._file.drop()
            self._file = None

    def _write(self) -> None:
        held, self._held, self._rows, self._bytes = self._held, [], 0, 0
        try:
            if self._file is None:
                self._file = _File(self._folder / f"{self._path.name}.part", self._schema, self._repeating)
            self._file.write(held, self._group_rows)
        except OSError as error:
            raise self._fail(error) from error

    def _fail(self, error: OSError) -> StorageError:
        self.drop()
        found = storage_error(error, self._path, "written")
        self._broken = type(found)(
            f"{found} A run keeps less with --set record.messages=false, .asks=false, .actions=false or .agents=none."
        )
        return self._broken

    def _convert(self, columns: TableRows) -> Any:
        name = self._path.stem
        names = [one.name for one in self._table.columns]
        if columns.keys() != set(names):
            raise ValueError(f"{name} wants the columns {names}, got {list(columns)}")
        arrays = []
        for column in self._table.columns:
            place = f"{self._path}, column '{column.name}'"
            try:
                array = to_arrow(column, columns[column.name])
            except (pa.ArrowException, OverflowError) as error:
                raise PopulaceError(f"{place}: cannot be written as {arrow_type(column)}: {error}") from None
            if array.null_count and not column.nullable:
                raise PopulaceError(f"{place}: {array.null_count} of {len(array)} values are missing")
            arrays.append(array)
        lengths = dict(zip(names, map(len, arrays), strict=True))
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{name}: the columns of a batch have different lengths: {lengths}")
        return pa.record_batch(arrays, schema=self._schema)

    def _sorted(self, batch: Any) -> Any:
        keys = [np.asarray(batch.column(name)) for name in self._table.order]
        if batch.num_rows and (keys[0] == keys[0][0]).all():  # of one tick: told faster than sorted
            keys = keys[1:]
        if len(keys) == 2 and all(one.dtype == np.int32 for one in keys):
            keys = [(keys[0].astype(np.int64) << 32) + keys[1]]
        if not keys or (len(keys) == 1 and not _falls(keys[0])):
            return batch
        rows = np.argsort(keys[0], kind="stable") if len(keys) == 1 else np.lexsort(keys[::-1])
        if np.array_equal(rows, np.arange(rows.size)):
            return batch
        return batch.take(pa.array(rows))


def _rises(column: Any) -> bool:
    return bool((column[1:] > column[:-1]).all())


def _falls(column: Any) -> bool:
    return bool((column[1:] < column[:-1]).any())


def _widened(batch: Any, schema: Any) -> Any:
    """A batch with the columns of `schema`: those that an older populace did not write are null."""
    there = batch.schema.names
    arrays = [
        batch.column(field.name).cast(field.type) if field.name in there else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.record_batch(arrays, schema=schema)


class _File:
    """One Parquet file that is being written; it has its name only once it is whole and on the disk."""

    def __init__(self, part: Path, schema: Any, repeating: list[str]) -> None:
        self._part = part
        self._schema = schema
        self.rows = 0
        self._file: BinaryIO = part.open("wb")
        try:
            self._writer: Any = pq.ParquetWriter(
                self._file, schema, compression="zstd", use_dictionary=repeating, write_page_checksum=True
            )
        except BaseException:
            self._file.close()
            part.unlink(missing_ok=True)
            raise

    def write(self, batches: list[Any], group_rows: int) -> None:
        """Write these rows. Raises OSError."""
        self.rows += sum(batch.num_rows for batch in batches)
        self._writer.write_table(pa.Table.from_batches(batches, self._schema), row_group_size=group_rows)

    def finish(self, path: Path, complete: bool, ticks: int | None) -> None:
        """Write the footer and give the file its name; where that fails, it is gone. Raises OSError."""
        try:
            about = {"populace.complete": "true" if complete else "false"}
            if ticks is not None:
                about["populace.ticks"] = str(ticks)
            self._writer.add_key_value_metadata(about)
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(path)
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Let go of the file and remove it."""
        if self._writer is not None:
            self._writer.is_open = False  # its own close would write to a disk that has refused
            self._writer = None
        with contextlib.suppress(OSError):  # what it still buffers cannot be written either
            self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)
