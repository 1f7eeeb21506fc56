"""The Parquet tables that a run leaves, and how to read them. The only importer of pyarrow.

| table    | a row is                      | sorted by, within a batch |
|----------|-------------------------------|---------------------------|
| agents   | an agent's fields at a tick   | tick, agent               |
| messages | a message and its fate        | tick_sent, sender, nth    |
| asks     | a question and how it ended   | tick, agent, nth          |
| outcomes | one outcome at a tick         | tick                      |
| failures | a turn ended by an exception  | tick, agent               |
| levers   | an agent touched by a lever   | tick, agent               |

Give each method one batch a tick that holds every shard's rows: then the tables are the same on any number of
shards (but for `latency_s` of asks, which is wall time).

While a run lasts, its rows stand in part files, `parts/<name>-<number>.parquet`. `cut` ends the part that is being
written, so that what came before a checkpoint is on the disk however the run ends; a run that is taken up there drops
the parts after it. At the run's end the parts become one file a table.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from populace.core.errors import BusError, DiskFull, PopulaceError, SettingsError, StorageError
from populace.monitoring.manifest import sync_folder
from populace.settings import Record

Columns: TypeAlias = Mapping[str, "Sequence[Any] | NDArray[Any]"]
"""A batch of rows: a sequence a column, all of one length."""

GROUP_ROWS: Final = 50_000
"""Rows that are held back before they are written as one row group."""

GROUP_BYTES: Final = 32 * 2**20
"""Bytes of rows that are held back, for tables whose rows are long."""

PARTS: Final = "parts"
"""The folder of a run that holds the parts of its tables while it lasts."""

_FIELD_TYPES: Final = {float: pa.float64(), int: pa.int64(), bool: pa.bool_(), str: pa.string()}
_INT: Final = pa.int32()
_TEXT: Final = pa.string()


def body_text(body: bytes) -> str:
    """A message's body, packed by msgpack, as JSON text: bytes as base64, NaN and infinities as null.

    Raises BusError when `body` is not msgpack.
    """
    try:
        return _to_json(_unpack(body)).decode()
    except (msgspec.DecodeError, TypeError, ValueError) as error:
        raise BusError(f"a message body of {len(body)} bytes is not plain data in msgpack: {error}") from None


_unpack: Final = msgspec.msgpack.Decoder().decode
_to_json: Final = msgspec.json.Encoder().encode


def _prompt_text(messages: Sequence[Sequence[str]] | str) -> str:
    if isinstance(messages, str):
        return messages
    return json.dumps([{"role": role, "content": content} for role, content in messages], ensure_ascii=False)


def _never_is_null(ticks: Sequence[Any] | NDArray[Any]) -> Any:
    if isinstance(ticks, np.ndarray):
        return np.ma.masked_less(ticks, 0)
    return [None if tick is None or tick < 0 else int(tick) for tick in ticks]


def _empty_is_null(texts: Iterable[str]) -> list[str | None]:
    return [text or None for text in texts]


def _key_text(keys: Iterable[bytes | str]) -> list[str]:
    return [key if isinstance(key, str) else key.hex() for key in keys]


class _Column(msgspec.Struct, frozen=True):
    """One column: its Arrow type, its unit or meaning, and how what is given becomes what is written."""

    type: Any
    about: str
    nullable: bool = False
    convert: Callable[[Any], Any] | None = None


_TICK: Final = _Column(_INT, "tick")

_SHEETS: Final[dict[str, tuple[tuple[str, ...], dict[str, _Column]]]] = {
    "agents": (("tick", "agent"), {"tick": _TICK, "agent": _Column(_INT, "agent's id")}),
    "messages": (
        ("tick_sent", "sender", "nth"),
        {
            "tick_sent": _TICK,
            "tick_read": _Column(_INT, "tick; null: never read", nullable=True, convert=_never_is_null),
            "sender": _Column(_INT, "agent's id; -1: the world or a lever"),
            "receiver": _Column(_INT, "agent's id; -1: the world"),
            "nth": _Column(_INT, "which of its sender's messages of that tick, from 0; a lever's from 2**30"),
            "body": _Column(_TEXT, "JSON; bytes as base64", convert=lambda bodies: [body_text(b) for b in bodies]),
            "fate": _Column(_TEXT, "delivered, expired or refused"),
        },
    ),
    "asks": (
        ("tick", "agent", "nth"),
        {
            "tick": _TICK,
            "agent": _Column(_INT, "agent's id"),
            "nth": _Column(_INT, "which of its agent's asks of that tick, from 0"),
            "purpose": _Column(_TEXT, "what the agent asked for"),
            "settled": _Column(_TEXT, "answered, cached, replayed or abstained"),
            "reason": _Column(_TEXT, "why it abstained", nullable=True, convert=_empty_is_null),
            "detail": _Column(_TEXT, "more on why it abstained", nullable=True, convert=_empty_is_null),
            "prompt": _Column(_TEXT, "JSON list of messages", convert=lambda prompts: [*map(_prompt_text, prompts)]),
            "answer": _Column(_TEXT, "what the model said; null: abstained", nullable=True),
            "tokens_in": _Column(pa.int64(), "tokens"),
            "tokens_out": _Column(pa.int64(), "tokens"),
            "cost_usd": _Column(pa.float64(), "US dollars"),
            "calls": _Column(_INT, "calls billed, repairs and retries included"),
            "latency_s": _Column(pa.float64(), "seconds of wall time"),
            "key": _Column(_TEXT, "content key, hex of BLAKE2b-128", convert=_key_text),
        },
    ),
    "outcomes": (
        ("tick",),
        {"tick": _TICK, "name": _Column(_TEXT, "outcome"), "value": _Column(pa.float64(), "the scenario's own unit")},
    ),
    "failures": (
        ("tick", "agent"),
        {
            "tick": _TICK,
            "agent": _Column(_INT, "agent's id"),
            "error": _Column(_TEXT, "the exception, in a line"),
            "story": _Column(_TEXT, "what led to it"),
        },
    ),
    "levers": (
        ("tick", "agent"),
        {
            "tick": _TICK,
            "lever": _Column(_TEXT, "its name, or its place in the settings"),
            "agent": _Column(_INT, "agent's id; -1: everybody, since a parameter was set"),
            "what": _Column(_TEXT, "what the lever did"),
        },
    ),
}


class Tables:
    """Writes a run's tables into the folder `out`, which it makes if need be.

    `fields` are the agents' public fields (float, int, bool or str); `settings` says which tables are kept: a
    method whose table is not kept does nothing. Rows are held back until there are `group_rows` of them, so memory
    stays bounded. A run that is taken up again goes on after its first `parts` parts. Raises StorageError.
    """

    def __init__(
        self,
        out: Path,
        fields: Mapping[str, type],
        settings: Record,
        group_rows: int = GROUP_ROWS,
        parts: int = 0,
    ) -> None:
        unknown = [name for name, kind in fields.items() if kind not in _FIELD_TYPES or name in ("tick", "agent")]
        if unknown:
            raise ValueError(f"public fields are float, int, bool or str and not 'tick' or 'agent': {unknown}")
        kept = {"agents": settings.agents != "none", "messages": settings.messages, "asks": settings.asks}
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"--out {out}: cannot be made a folder ({error.strerror}). Choose another.") from None
        self._out = out
        self._parts = parts
        self._sheets: dict[str, _Sheet] = {}
        for name, (order, columns) in _SHEETS.items():
            if kept.get(name, True):
                extra = {
                    field: _Column(_FIELD_TYPES[kind], "public field", nullable=True)
                    for field, kind in (fields.items() if name == "agents" else ())
                }
                self._sheets[name] = _Sheet(out, name, order, {**columns, **extra}, group_rows, parts)
        with _naming(out / PARTS):
            (out / PARTS).mkdir(exist_ok=True)
            for file in (out / PARTS).iterdir():
                if part_number(file) not in range(parts):
                    file.unlink()
            for name in self._sheets:  # left by a run that ended early and is taken up now
                (out / f"{name}.parquet").unlink(missing_ok=True)

    @property
    def names(self) -> tuple[str, ...]:
        """The tables that this run keeps."""
        return tuple(self._sheets)

    def agents(self, columns: Columns) -> None:
        """Add agents' fields: tick, agent and every public field."""
        self._add("agents", columns)

    def messages(self, columns: Columns) -> None:
        """Add messages; `tick_read` is None or negative for never, `body` is msgpack."""
        self._add("messages", columns)

    def asks(self, columns: Columns) -> None:
        """Add asks; `prompt` is (role, content) pairs or their JSON, `key` is bytes or hex.

        An empty `reason` or `detail` is written as null, and so is the answer of an ask that abstained.
        """
        if "asks" in self._sheets and {"answer", "settled"} <= columns.keys():
            pairs = zip(columns["answer"], columns["settled"], strict=False)
            columns = {**columns, "answer": [None if settled == "abstained" else text for text, settled in pairs]}
        self._add("asks", columns)

    def outcomes(self, columns: Columns) -> None:
        """Add outcomes: tick, name, value."""
        self._add("outcomes", columns)

    def failures(self, columns: Columns) -> None:
        """Add failed turns: tick, agent, error, story."""
        self._add("failures", columns)

    def levers(self, columns: Columns) -> None:
        """Add whom levers touched: tick, lever, agent, what."""
        self._add("levers", columns)

    def cut(self) -> int:
        """End the parts that are being written; gives how many there are now, the same for every table.

        What was added before is on the disk then. Raises StorageError.
        """
        for sheet in self._sheets.values():
            sheet.cut(self._parts)
        sync_folder(self._out / PARTS)
        self._parts += 1
        return self._parts

    def close(self, *, complete: bool = True) -> list[Path]:
        """Make each table one file, and say which there are; a second call gives none.

        Each says in its metadata whether the run was `complete`; the parts of one that was not stay beside, for it to
        be taken up again. A table that cannot be finished keeps its parts, while the others are finished; then
        StorageError names it.
        """
        finished: list[Path] = []
        failed: list[StorageError] = []
        for sheet in self._sheets.values():
            try:
                finished.append(sheet.close(complete, self._parts))
            except StorageError as error:
                failed.append(error)
        if self._sheets:
            sync_folder(self._out)
        self._sheets = {}
        if failed:
            raise type(failed[0])("\n".join(map(str, failed)))
        if finished and complete:
            with _naming(self._out / PARTS):
                (self._out / PARTS).rmdir()
        return finished

    def abandon(self) -> None:
        """Let go of what is not in a part yet: the run goes back to where it was cut."""
        for sheet in self._sheets.values():
            sheet.drop()
        self._sheets = {}

    def _add(self, name: str, columns: Columns) -> None:
        if sheet := self._sheets.get(name):
            sheet.add(columns)


def part_number(file: Path) -> int:
    """The number of a part file, or -1 where it is not a whole one."""
    found = re.fullmatch(r"\w+-(\d{6,})\.parquet", file.name)
    return int(found[1]) if found else -1


class _Sheet:
    """One table on its way to the disk. Its first `parts` parts stand there already."""

    def __init__(
        self,
        out: Path,
        name: str,
        order: tuple[str, ...],
        columns: Mapping[str, _Column],
        group_rows: int,
        parts: int,
    ) -> None:
        self._path = out / f"{name}.parquet"
        self._folder = out / PARTS
        self._order = order
        self._columns = columns
        self._group_rows = group_rows
        self._held: list[Any] = []
        self._rows = 0
        self._bytes = 0
        self._broken: StorageError | None = None
        self._schema = pa.schema(
            [
                pa.field(column, kind.type, nullable=kind.nullable, metadata={"about": kind.about})
                for column, kind in columns.items()
            ],
            metadata={"populace.table": name, "populace.order": ", ".join(order)},
        )
        self._done = [path for number in range(parts) if (path := self._part(number)).exists()]
        self._file: _File | None = None

    def _part(self, number: int) -> Path:
        return self._folder / f"{self._path.stem}-{number:06}.parquet"

    def add(self, columns: Columns) -> None:
        """Convert a batch, sort it, and write when enough is held."""
        if self._broken is not None:
            raise self._broken
        batch = self._sorted(self._convert(columns))
        if not batch.num_rows:
            return
        self._held.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= self._group_rows or self._bytes >= GROUP_BYTES:
            self._write()

    def cut(self, number: int, *, complete: bool = False) -> None:
        """End the part that is being written, if there is any row for it, as part `number`."""
        if self._broken is not None:
            raise self._broken
        if self._rows:
            self._write()
        if self._file is not None:
            file, self._file = self._file, None
            path = self._part(number)
            try:
                file.finish(path, complete)
            except OSError as error:
                raise self._fail(error) from error
            self._done.append(path)

    def close(self, complete: bool, number: int) -> Path:
        """Make the parts one file."""
        fresh = not self._done
        self.cut(number, complete=complete)
        try:
            if fresh and complete and self._done:
                self._done[0].replace(self._path)
                return self._path
            whole = _File(self._path.with_name(f"{self._path.name}.part"), self._schema)
            try:
                self._merge(whole)
                whole.finish(self._path, complete)
            except BaseException:
                whole.drop()
                raise
            if complete:
                for path in self._done:
                    path.unlink()
        except OSError as error:
            raise self._fail(error) from error
        return self._path

    def _merge(self, whole: _File) -> None:
        held: list[Any] = []
        rows = size = 0
        for path in self._done:
            try:
                for batch in pq.ParquetFile(path).iter_batches(batch_size=self._group_rows):
                    held.append(batch.cast(self._schema))
                    rows, size = rows + batch.num_rows, size + batch.nbytes
                    if rows >= self._group_rows or size >= GROUP_BYTES:
                        whole.write(held, self._group_rows)
                        held, rows, size = [], 0, 0
            except pa.ArrowInvalid as error:
                raise StorageError(f"{path}: is not what was written there: {error}.") from None
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
                self._file = _File(self._folder / f"{self._path.name}.part", self._schema)
            self._file.write(held, self._group_rows)
        except OSError as error:
            raise self._fail(error) from error

    def _fail(self, error: OSError) -> StorageError:
        self.drop()
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        why = "no space left on the disk" if full else error.strerror or str(error)
        self._broken = (DiskFull if full else StorageError)(
            f"{self._path}: cannot be written ({why}). Free some space and resume the run, or begin another that keeps "
            "less: --set record.messages=false, record.asks=false, record.agents=none."
        )
        return self._broken

    def _convert(self, columns: Columns) -> Any:
        name = self._path.stem
        if columns.keys() != self._columns.keys():
            raise ValueError(f"{name} wants the columns {list(self._columns)}, got {list(columns)}")
        arrays = []
        for column, kind in self._columns.items():
            values = columns[column]
            place = f"{self._path}, column '{column}'"
            try:
                array = pa.array(kind.convert(values) if kind.convert else values, kind.type)
            except (pa.ArrowException, OverflowError) as error:
                raise PopulaceError(f"{place}: cannot be written as {kind.type}: {error}") from None
            if array.null_count and not kind.nullable:
                raise PopulaceError(f"{place}: {array.null_count} of {len(array)} values are missing")
            arrays.append(array)
        lengths = {column: len(array) for column, array in zip(self._columns, arrays, strict=True)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{name}: the columns of a batch have different lengths: {lengths}")
        return pa.record_batch(arrays, schema=self._schema)

    def _sorted(self, batch: Any) -> Any:
        keys = [np.asarray(batch.column(name)) for name in reversed(self._order)]
        rows = np.lexsort(keys)
        if np.array_equal(rows, np.arange(rows.size)):
            return batch
        return batch.take(pa.array(rows))


class _File:
    """One Parquet file that is being written; it has its name only once it is whole and on the disk."""

    def __init__(self, part: Path, schema: Any) -> None:
        self._part = part
        self._schema = schema
        self._file: BinaryIO = part.open("wb")
        try:
            self._writer: Any = pq.ParquetWriter(self._file, schema, compression="zstd")
        except BaseException:
            self._file.close()
            part.unlink(missing_ok=True)
            raise

    def write(self, batches: list[Any], group_rows: int) -> None:
        """Write these rows. Raises OSError."""
        self._writer.write_table(pa.Table.from_batches(batches, self._schema), row_group_size=group_rows)

    def finish(self, path: Path, complete: bool) -> None:
        """Write the footer and give the file its name; where that fails, it is gone. Raises OSError."""
        try:
            self._writer.add_key_value_metadata({"populace.complete": "true" if complete else "false"})
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


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}). Check that it is yours.") from error


def read_table(run_dir: Path, name: str) -> Any:
    """A table of a run as a `pyarrow.Table` (`.to_pandas()` and `.to_pydict()` go on from there).

    Of a run that was killed, or is still at work, it is what stands in parts: up to the last checkpoint. Raises
    SettingsError when the run has no such table, naming those that it has.
    """
    path = run_dir / f"{name}.parquet"
    try:
        parts = [] if path.exists() else sorted((run_dir / PARTS).glob(f"{name}-*.parquet"), key=part_number)
        if parts:
            return pa.concat_tables([pq.read_table(part) for part in parts])
        return pq.read_table(path)
    except FileNotFoundError:
        there = ", ".join(sorted(file.stem for file in run_dir.glob("*.parquet"))) or "none"
        raise SettingsError(f"{path}: there is no such table. Tables there are: {there}.") from None
    except (pa.ArrowException, OSError) as error:
        raise SettingsError(f"{path}: cannot be read as Parquet: {error}") from None


def recorded_prompt(run_dir: Path, tick: int, agent: int, nth: int) -> list[dict[str, str]] | None:
    """The messages (role, content) of one ask, or None where the table of asks does not have it.

    Raises SettingsError when the run has no such table.
    """
    asks = read_table(run_dir, "asks")
    here = (pc.field("tick") == tick) & (pc.field("agent") == agent) & (pc.field("nth") == nth)
    rows = asks.filter(here).column("prompt").to_pylist()
    return json.loads(rows[0]) if rows else None


def agents_touched(run_dir: Path) -> dict[str, int] | None:
    """How many different agents each lever of a run touched, by its label, for those that touched any.

    None where the run has no such table.
    """
    try:
        table = read_table(run_dir, "levers").select(["lever", "agent"])
    except SettingsError:
        return None
    agents = table.filter(pc.greater_equal(table.column("agent"), 0)).group_by("lever")
    counted = agents.aggregate([("agent", "count_distinct")]).to_pydict()
    return dict(zip(counted["lever"], counted["agent_count_distinct"], strict=True))


def outcome_series(run_dir: Path) -> dict[str, list[float]]:
    """The outcomes of a run, each as its values in order of ticks."""
    series: dict[str, list[float]] = {}
    table = read_table(run_dir, "outcomes").to_pydict()
    for name, value in zip(table["name"], table["value"], strict=True):
        series.setdefault(name, []).append(value)
    return series


def panel(run_dir: Path, field: str) -> NDArray[Any]:
    """One public field as a dense array of shape (ticks, agents), filled forward from the rows that changed.

    Row 0 is the first tick that the table holds, the last row the last tick of its agents or outcomes; column i
    is agent i. Where an agent has no value yet there is NaN (bool and int fields then become float64) or None
    (str fields, whose dtype is object). Raises SettingsError when there is no such table or field.
    """
    table = read_table(run_dir, "agents")
    fields = [name for name in table.column_names if name not in ("tick", "agent")]
    if field not in fields:
        raise SettingsError(f"{run_dir}: agents have no public field '{field}'. Fields there are: {', '.join(fields)}.")
    if not table.num_rows:
        return np.empty((0, 0), dtype=np.float64)
    tick, agent, values = (table.column(name).to_numpy() for name in ("tick", "agent", field))
    order = np.argsort(tick, kind="stable")
    tick, agent, values = tick[order], agent[order], values[order]
    first, last = int(tick[0]), int(tick[-1])
    outcomes = read_table(run_dir, "outcomes").column("tick")
    if len(outcomes):
        last = max(last, int(outcomes.to_numpy().max()))
    ticks, agents = last - first + 1, int(agent.max()) + 1
    everyone_from_the_start = np.unique(agent[tick == first]).size == agents
    if not everyone_from_the_start and values.dtype.kind in "bi":
        values = values.astype(np.float64)
    blank = np.nan if values.dtype.kind == "f" else None
    dense = np.full((ticks, agents), blank if values.dtype.kind in "fO" else 0, dtype=values.dtype)
    starts = np.searchsorted(tick, np.arange(first, last + 2))
    for row in range(ticks):
        if row:
            dense[row] = dense[row - 1]
        rows = slice(starts[row], starts[row + 1])
        dense[row, agent[rows]] = values[rows]
    return dense
