"""Tables of a run read a tick at a time, and what differs between two of a tick: memory is that of a tick's rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from populace.core.errors import SettingsError
from populace.store.tables.files import check_schema
from populace.store.tables.tables import table_files, unreadable_table

_BATCH_ROWS = 32_768


class TickRows:
    """The rows of one table, a tick at a time, from `first` on; `columns` None: all there are.

    `take` must be asked for ticks in rising order. Raises SettingsError for a file that is not a table of a run,
    and StorageError for one that is damaged.
    """

    def __init__(self, run_dir: Path, name: str, tick: str, columns: Sequence[str] | None = None, first: int = 0):
        self.files = table_files(run_dir, name)
        self._tick = tick
        self._columns = None if columns is None else list(columns)
        self._first = first
        self._batches = self._by_tick()
        self._next: tuple[int, Any] | None = None

    def take(self, tick: int) -> Any:
        """The rows of a tick as a `pyarrow.Table`, or None where there is none."""
        while self._next is None or self._next[0] < tick:
            self._next = next(self._batches, None)
            if self._next is None:
                return None
        return self._next[1] if self._next[0] == tick else None

    def _by_tick(self) -> Iterator[tuple[int, Any]]:
        held: list[Any] = []
        now = self._first
        for path in self.files:
            try:
                for batch in self._read(path):
                    ticks = batch.column(self._tick).to_numpy()
                    edges = [0, *(np.flatnonzero(np.diff(ticks)) + 1).tolist(), len(ticks)]
                    for begin, end in pairwise(edges):
                        tick = int(ticks[begin])
                        if tick < now and tick >= self._first:
                            raise SettingsError(f"{path}: tick {tick} comes after tick {now}: rows were rearranged.")
                        if tick > now and held:
                            yield now, pa.Table.from_batches(held)
                            held = []
                        if tick >= self._first:
                            now = tick
                            held.append(batch.slice(begin, end - begin))
            except (pa.ArrowException, OSError) as error:
                raise unreadable_table(path, error) from None
        if held:
            yield now, pa.Table.from_batches(held)

    def _read(self, path: Path) -> Iterator[Any]:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            check_schema(path, file.metadata.metadata)
            there = file.schema_arrow.names
            if self._tick not in there:
                raise SettingsError(f"{path}: has no column '{self._tick}', so it is not a table that a run left.")
            wanted = None if self._columns is None else [name for name in self._columns if name in there]
            place = there.index(self._tick)
            groups = [n for n in range(file.num_row_groups) if self._reaches(file.metadata.row_group(n).column(place))]
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=wanted):
                if batch.num_rows:
                    yield batch.replace_schema_metadata(None)

    def _reaches(self, ticks: Any) -> bool:
        """Whether a row group holds a tick from the first on, as its statistics have it."""
        known = ticks.statistics
        return known is None or not known.has_min_max or bool(known.max >= self._first)


class Differing(msgspec.Struct):
    """Rows in which two tables of a tick differ, as places in each: only in one, or in both with other `columns`.

    `columns` says, for every pair of places in `a` and `b`, in which columns the two are not the same.
    """

    only_a: NDArray[np.intp]
    only_b: NDArray[np.intp]
    a: NDArray[np.intp]
    b: NDArray[np.intp]
    columns: dict[str, NDArray[np.bool_]]

    def __len__(self) -> int:
        return len(self.only_a) + len(self.only_b) + len(self.a)


def differing(a: Any, b: Any, identity: Sequence[str], columns: Sequence[str]) -> Differing:
    """Compare two tables of one tick: rows are the same one when `identity` (one or two integer columns) is.

    Either may be None, for no row. NaN is the same as NaN, and null as null.
    """
    none = np.empty(0, np.intp)
    if a is None or b is None:
        return Differing(
            np.arange(0 if a is None else a.num_rows), np.arange(0 if b is None else b.num_rows), none, none, {}
        )
    if a.equals(b):
        return Differing(none, none, none, none, {})
    one, other = _codes(a, identity), _codes(b, identity)
    _, at_a, at_b = np.intersect1d(one, other, assume_unique=True, return_indices=True)
    unlike = {name: _unlike(a.column(name).take(at_a), b.column(name).take(at_b)) for name in columns}
    anywhere = np.logical_or.reduce(list(unlike.values())) if unlike else np.zeros(len(at_a), np.bool_)
    only_a, only_b = np.ones(len(one), np.bool_), np.ones(len(other), np.bool_)
    only_a[at_a] = False
    only_b[at_b] = False
    return Differing(
        np.flatnonzero(only_a),
        np.flatnonzero(only_b),
        at_a[anywhere],
        at_b[anywhere],
        {name: mask[anywhere] for name, mask in unlike.items()},
    )


def _codes(table: Any, identity: Sequence[str]) -> NDArray[np.int64]:
    codes = table.column(identity[0]).to_numpy().astype(np.int64)
    if len(identity) > 1:
        codes = codes * 2**32 + table.column(identity[1]).to_numpy()
    if len(np.unique(codes)) != len(codes):
        raise SettingsError(f"two rows of one tick have the same {' and '.join(identity)}: the table was changed.")
    return np.asarray(codes)


def _unlike(one: Any, other: Any) -> NDArray[np.bool_]:
    if one.type != other.type:
        one, other = one.cast(pa.string()), other.cast(pa.string())
    unlike = pc.fill_null(pc.not_equal(one, other), False)
    unlike = pc.or_(unlike, pc.xor(pc.is_null(one), pc.is_null(other)))
    if pa.types.is_floating(one.type):
        both = pc.and_(pc.fill_null(pc.is_nan(one), False), pc.fill_null(pc.is_nan(other), False))
        unlike = pc.and_not(unlike, both)
    return np.asarray(unlike.to_numpy(), np.bool_)
