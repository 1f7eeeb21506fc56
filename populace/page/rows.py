"""Rows of a run's tables as they stand on the disk, by row group and column: no more is read than a view shows.

Rows are numbered over all files of a table, in their order. That number stays what it is when the parts of a run
become one file, so a page may hold on to it. Shell: files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from populace.core.errors import StorageError
from populace.page.shelf import NotThere
from populace.store.tables.files import check_schema
from populace.store.tables.tables import table_files, unreadable_table

_TRIES: Final = 3
_BATCH_ROWS: Final = 512
_GONE: Final = "the table goes while it is read: look again."


class Stamp(NamedTuple):
    """A file as it is now: another one of its name has another stamp."""

    path: Path
    bytes: int
    mtime_ns: int
    inode: int


class Group(NamedTuple):
    """A row group: where it stands, and the number of its first row."""

    stamp: Stamp
    number: int
    first: int
    rows: int


@lru_cache(maxsize=512)
def _metadata(stamp: Stamp) -> Any:
    try:
        metadata = pq.read_metadata(stamp.path)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise unreadable_table(stamp.path, error) from None
    check_schema(stamp.path, metadata.metadata)
    return metadata


@lru_cache(maxsize=512)
def _places(stamp: Stamp) -> dict[str, int]:
    """Where each column stands in a file."""
    return {name: at for at, name in enumerate(_metadata(stamp).schema.to_arrow_schema().names)}


@lru_cache(maxsize=2048)
def _ranges(stamp: Stamp, column: str) -> list[tuple[Any, Any] | None]:
    """The least and the greatest value of a column in each row group of a file; None where it does not say."""
    metadata, place = _metadata(stamp), _places(stamp).get(column)
    if place is None:
        return [None] * metadata.num_row_groups
    known = [metadata.row_group(number).column(place).statistics for number in range(metadata.num_row_groups)]
    return [(one.min, one.max) if one is not None and one.has_min_max else None for one in known]


@lru_cache(maxsize=512)
def _counts(stamp: Stamp) -> list[int]:
    """How many rows each row group of a file has."""
    metadata = _metadata(stamp)
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


def stamps(folder: Path, name: str) -> list[Stamp]:
    """The files that hold a table now, in order; none where there is no such table."""
    for _ in range(_TRIES):
        try:
            found = []
            for path in table_files(folder, name):
                about = path.stat()
                found.append(Stamp(path, about.st_size, about.st_mtime_ns, about.st_ino))
        except FileNotFoundError:
            continue  # the run has made one file of its parts meanwhile
        return found
    return []


def warm() -> None:
    """Have pyarrow load what it loads as it gives the first array: some tenths of a second that no answer waits for."""
    pa.chunked_array([[0]]).to_numpy()


class Rows:
    """A table of a run as it stands now. `names` are its columns. Raises StorageError for a damaged file."""

    def __init__(self, folder: Path, name: str) -> None:
        for attempt in range(_TRIES):
            self.stamps = stamps(folder, name)
            try:
                self.groups = list(self._all())
                self.names: list[str] = list(_places(self.stamps[-1])) if self.stamps else []
            except FileNotFoundError:
                if attempt == _TRIES - 1:
                    raise StorageError(f"{folder}: the table {name} goes while it is read. Look again.") from None
            else:
                break
        self.name = name

    def __len__(self) -> int:
        return self.groups[-1].first + self.groups[-1].rows if self.groups else 0

    def _all(self) -> Iterator[Group]:
        first = 0
        for stamp in self.stamps:
            for number, rows in enumerate(_counts(stamp)):
                yield Group(stamp, number, first, rows)
                first += rows

    def range_of(self, group: Group, column: str) -> tuple[Any, Any] | None:
        """The least and the greatest value of a column in a row group; None where its file does not say."""
        return _ranges(group.stamp, column)[group.number]

    def may_hold(self, group: Group, column: str, low: float, high: float) -> bool:
        """Whether a row group may hold a value from `low` to `high`."""
        known = self.range_of(group, column)
        return known is None or (known[1] >= low and known[0] <= high)

    def extremes(self, column: str) -> tuple[Any, Any] | None:
        """The least and greatest value of a column, from what the files say of themselves."""
        known = [one for group in self.groups if (one := self.range_of(group, column)) is not None]
        return (min(low for low, _ in known), max(high for _, high in known)) if known else None

    def read(self, group: Group, columns: Sequence[str]) -> Any:
        """Columns of a row group as a `pyarrow.Table`; those that the file has not are left out."""
        try:
            with pq.ParquetFile(group.stamp.path, metadata=_metadata(group.stamp)) as file:
                there = [name for name in columns if name in file.schema_arrow.names]
                return file.read_row_group(group.number, columns=there, use_threads=False)
        except FileNotFoundError:
            raise StorageError(_GONE) from None
        except (pa.ArrowException, OSError) as error:
            raise unreadable_table(group.stamp.path, error) from None

    def group_of(self, row: int) -> Group:
        """The row group that holds a row. Raises NotThere."""
        for group in self.groups:
            if group.first <= row < group.first + group.rows:
                return group
        raise NotThere(f"{self.name} has no row {row}")

    def row(self, row: int, columns: Sequence[str]) -> dict[str, Any]:
        """One row as plain data. Raises NotThere."""
        group = self.group_of(row)
        left = row - group.first
        for batch in self._batches(group, columns):  # no further than to the row: texts may be long
            if left < batch.num_rows:
                return dict(batch.slice(left, 1).to_pylist()[0])
            left -= batch.num_rows
        raise NotThere(f"{self.name} has no row {row}")

    def _batches(self, group: Group, columns: Sequence[str]) -> Iterator[Any]:
        try:
            with pq.ParquetFile(group.stamp.path, metadata=_metadata(group.stamp)) as file:
                there = [name for name in columns if name in file.schema_arrow.names]
                yield from file.iter_batches(_BATCH_ROWS, row_groups=[group.number], columns=there, use_threads=False)
        except FileNotFoundError:
            raise StorageError(_GONE) from None
        except (pa.ArrowException, OSError) as error:
            raise unreadable_table(group.stamp.path, error) from None
