"""What crosses between processes besides frames, as MessagePack: plain data and raw columns, never pickle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from populace.cluster.parts import ShardPart
from populace.core.claims import Claim, News
from populace.core.draws import WORLD
from populace.core.errors import BusError
from populace.core.records import Answer, Position
from populace.core.rounds import Contribution, Heard
from populace.core.table_columns import Coded, Joined, repeated
from populace.core.tables import TableRows
from populace.env.plain import Shown
from populace.kernel.bus import Envelope, Frame, unpack_frame
from populace.kernel.columnar_tick import Whole
from populace.kernel.events import RunDone, TickDone
from populace.kernel.looks import Looks
from populace.kernel.notices import Notice
from populace.kernel.reports import Reports, WorldDone
from populace.kernel.snapshot import ShardState
from populace.kernel.standing_in import Learnt
from populace.models.dialect import EndpointForm
from populace.store.checkpoint.file import Piece

_encode: Final = msgspec.msgpack.Encoder(enc_hook=lambda value: _column(value)).encode
_ARRAYS: Final = frozenset({"<i4", "<i8", "<f8", "|b1"})


class _Array(msgspec.Struct, frozen=True, tag="array", tag_field="is"):
    dtype: str
    data: bytes
    mask: bytes = b""


class _Coded(msgspec.Struct, frozen=True, tag="coded", tag_field="is"):
    values: list[Any]
    rows: int
    codes: bytes


class _Joined(msgspec.Struct, frozen=True, tag="joined", tag_field="is"):
    data: bytes
    ends: bytes


def _column(value: Any) -> Any:
    if isinstance(value, Coded):
        codes = b"" if len(value.values) == 1 else value.codes.astype("<i4", copy=False).tobytes()
        return _Coded(list(value.values), len(value), codes)
    if isinstance(value, Joined):
        return _Joined(value.data, value.ends.astype("<i8", copy=False).tobytes())
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return value.tolist()
        mask = np.ma.getmaskarray(value).tobytes() if isinstance(value, np.ma.MaskedArray) else b""
        return _Array(value.dtype.newbyteorder("<").str, np.ascontiguousarray(value).tobytes(), mask)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} does not cross between processes")


def _array(kind: Any, value: Any) -> Any:
    if kind is np.ndarray or getattr(kind, "__origin__", None) is np.ndarray:
        return _read_array(value)
    raise TypeError(f"{kind} does not cross between processes")


def _read_array(value: Any) -> Any:
    if not isinstance(value, dict) or value.get("dtype") not in _ARRAYS:
        raise BusError("a column of a kind that does not cross between processes")
    found = np.frombuffer(value["data"], value["dtype"])
    mask = value.get("mask")
    return np.ma.masked_array(found, np.frombuffer(mask, np.bool_)) if mask else found


def _rows(tables: Mapping[str, TableRows]) -> dict[str, TableRows]:
    """Rows of tables: columns that crossed as arrays become arrays again."""
    return {table: _columns(batch) for table, batch in tables.items()}


def _columns(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: _read_column(column) if isinstance(column, dict) else column for name, column in batch.items()}


def _read_column(column: dict[str, Any]) -> Any:
    match column.get("is"):
        case "coded" if not column["codes"]:
            return Coded(column["values"], repeated(None, column["rows"]).codes)
        case "coded":
            return Coded(column["values"], np.frombuffer(column["codes"], "<i4"))
        case "joined":
            return Joined(column["data"], np.frombuffer(column["ends"], "<i8"))
        case _:
            return _read_array(column)


def unpack_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Columns of the table of agents as they were before they crossed."""
    return _columns(fields)


def unpack_tables(tables: dict[str, TableRows]) -> dict[str, TableRows]:
    """Rows of tables as they were before they crossed."""
    return _rows(tables)


class LateRows(Mapping[str, TableRows]):
    """Rows of tables as they came, by table: a table's are read when they are wanted, once.

    So a tick can be told of, and the next one opened, before anybody has read them.
    """

    def __init__(self, packed: Mapping[str, bytes]) -> None:
        self._packed = packed
        self._read: dict[str, TableRows] = {}

    def __getitem__(self, table: str) -> TableRows:
        if table not in self._read:
            self._read[table] = _columns(_read(_BATCH, self._packed[table]))
        return self._read[table]

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def pack_rows(rows: Mapping[str, TableRows]) -> bytes:
    """Pack rows of tables, by table, for `unpack_rows`."""
    return _encode({table: _encode(batch) for table, batch in rows.items()})


def pack(value: Any) -> bytes:
    """Pack a record (`TickDone`, `WorldDone`, `RunDone`, `Opened`, looks, ...) for `unpack_...`."""
    return _encode(value)


_TICK: Final = msgspec.msgpack.Decoder(TickDone, dec_hook=_array)
_WORLD: Final = msgspec.msgpack.Decoder(WorldDone, dec_hook=_array)
_ROWS: Final = msgspec.msgpack.Decoder(dict[str, bytes])
_BATCH: Final = msgspec.msgpack.Decoder(TableRows)
_RUN: Final = msgspec.msgpack.Decoder(RunDone, dec_hook=_array)
_STATE: Final = msgspec.msgpack.Decoder(ShardState, dec_hook=_array)
_EXPORT: Final = msgspec.msgpack.Decoder(tuple[ShardState, list[Position]], dec_hook=_array)
_PIECE: Final = msgspec.msgpack.Decoder(Piece | None)
_POSITIONS: Final = msgspec.msgpack.Decoder(list[Position])
_PART: Final = msgspec.msgpack.Decoder(ShardPart, dec_hook=_array)
_ENVELOPE: Final = msgspec.msgpack.Decoder(tuple[dict[int, int] | None, int, bytes, int | None])
_FORMS: Final = msgspec.msgpack.Decoder(dict[str, EndpointForm])
_SAID: Final = msgspec.msgpack.Decoder(list[Contribution])
_HEARD: Final = msgspec.msgpack.Decoder(list[Heard])
_NEWS: Final = msgspec.msgpack.Decoder(News)
_CLAIMS: Final = msgspec.msgpack.Decoder(list[Claim])
_IDENTITIES: Final = msgspec.msgpack.Decoder(list[tuple[int, int]])
_ANSWERS: Final = msgspec.msgpack.Decoder(list[Answer])
_SHOWN: Final = msgspec.msgpack.Decoder(dict[str, dict[str, Any] | list[Any]])
_NOTICES: Final = msgspec.msgpack.Decoder(list[Notice])
_LOOKS: Final = msgspec.msgpack.Decoder(Looks, dec_hook=_array)


def unpack_tick(packed: bytes) -> TickDone:
    """Read a TickDone. Raises BusError when it is not one."""
    return _read(_TICK, packed)  # type: ignore[no-any-return]


def unpack_rows(packed: bytes) -> LateRows:
    """Rows of tables. Raises BusError when they are none; what is in a table is read later, and raises it then."""
    return LateRows(_read(_ROWS, packed))


def unpack_world(packed: bytes, rows: bytes) -> WorldDone:
    """Read a WorldDone, and its rows, which come beside it. Raises BusError when it is not one."""
    done: WorldDone = _read(_WORLD, packed)
    return msgspec.structs.replace(done, rows=unpack_rows(rows), fields=_columns(done.fields))


def unpack_notices(packed: bytes) -> list[Notice]:
    """Read what a shard tells another. Raises BusError when it is something else."""
    return _read(_NOTICES, packed)  # type: ignore[no-any-return]


def unpack_run(packed: bytes) -> RunDone:
    """Read a RunDone. Raises BusError when it is not one."""
    done: RunDone = _read(_RUN, packed)
    return msgspec.structs.replace(done, rows=_rows(done.rows))


def unpack_shard_state(packed: bytes) -> ShardState:
    """Read a shard's state. Raises BusError when it is not one."""
    return _read(_STATE, packed)  # type: ignore[no-any-return]


def unpack_export(packed: bytes) -> tuple[ShardState, list[Position]]:
    """Read a shard's state and positions in the journal. Raises BusError when it is neither."""
    return _read(_EXPORT, packed)  # type: ignore[no-any-return]


def unpack_piece(packed: bytes) -> Piece | None:
    """Read a piece of a checkpoint, or that there is none. Raises BusError when it is neither."""
    return _read(_PIECE, packed)  # type: ignore[no-any-return]


def unpack_positions(packed: bytes) -> list[Position]:
    """Read positions in the journal. Raises BusError when they are not positions."""
    return _read(_POSITIONS, packed)  # type: ignore[no-any-return]


def unpack_forms(packed: bytes) -> dict[str, EndpointForm]:
    """Read what is known of endpoints. Raises BusError when it is not that."""
    return _read(_FORMS, packed)  # type: ignore[no-any-return]


def unpack_part(packed: bytes) -> ShardPart:
    """Read what a shard is given of population and world. Raises BusError when it is not that."""
    return _read(_PART, packed)  # type: ignore[no-any-return]


def unpack_looks(packed: bytes) -> Looks:
    """Read looks. Raises BusError when they are not looks."""
    return _read(_LOOKS, packed)  # type: ignore[no-any-return]


def unpack_shown(packed: bytes) -> Shown:
    """Read what the world shows, as columns that cannot be written to. Raises BusError when it is not that."""
    given = _read(_SHOWN, packed)
    return {name: _read_array(one) if isinstance(one, dict) else one for name, one in given.items()}


def unpack_said(packed: bytes) -> list[Contribution]:
    """Read contributions to rounds. Raises BusError when they are none."""
    return _read(_SAID, packed)  # type: ignore[no-any-return]


def unpack_heard(packed: bytes) -> list[Heard]:
    """Read what was heard of rounds. Raises BusError when it is not that."""
    return _read(_HEARD, packed)  # type: ignore[no-any-return]


def unpack_news(packed: bytes) -> News:
    """Read the news for a shard. Raises BusError when it is not that."""
    return _read(_NEWS, packed)  # type: ignore[no-any-return]


def unpack_claims(packed: bytes) -> list[Claim]:
    """Read claims of asks. Raises BusError when they are none."""
    return _read(_CLAIMS, packed)  # type: ignore[no-any-return]


def unpack_identities(packed: bytes) -> list[tuple[int, int]]:
    """Read which asks a shard puts. Raises BusError when it is not that."""
    return _read(_IDENTITIES, packed)  # type: ignore[no-any-return]


def unpack_answers(packed: bytes) -> list[Answer]:
    """Read answers. Raises BusError when they are none."""
    return _read(_ANSWERS, packed)  # type: ignore[no-any-return]


def pack_envelope(envelope: Envelope) -> bytes:
    """What an envelope says of its parcels, which travel beside it."""
    return _encode((envelope.expected, envelope.attempt, envelope.edge, envelope.last))


def unpack_envelope(packed: bytes, parcels: list[Any]) -> Envelope:
    """The envelope with its parcels, opened. Raises BusError when it is not one."""
    return Envelope(parcels, *_read(_ENVELOPE, packed))


def pack_frames(frames: Sequence[Frame]) -> bytes:
    """Frames as one parcel to a shard; empty where there are none."""
    return _encode([frame.pack() for frame in frames]) if frames else b""


def unpack_frames(packed: bytes, frame_bytes: int) -> list[Frame]:
    """Read a parcel of frames. Raises BusError when it is not one."""
    return [unpack_frame(frame, frame_bytes) for frame in _read(_FRAMES, packed)]


def pack_by_shard(frames: Sequence[Frame], shards: int) -> list[bytes]:
    """A parcel for each of so many shards, with the frames that go there."""
    boxes: list[list[Frame]] = [[] for _ in range(shards)]
    for frame in frames:
        boxes[frame.destination].append(frame)
    return list(map(pack_frames, boxes))


def pack_parcel(reports: Reports, frames: list[Frame]) -> bytes:
    """A shard's parcel to the world: what its turns report and do."""
    packed = [frame.pack() for frame in frames]
    return _encode(
        (reports.shard, reports.attempt, reports.agents, reports.fields, reports.whole, packed, reports.learnt)
    )


def unpack_parcel(packed: bytes, frame_bytes: int) -> tuple[Reports, list[Frame]]:
    """Read a shard's parcel to the world. Raises BusError when it is not one."""
    shard, attempt, agents, fields, whole, frames, learnt = _read(_PARCEL, packed)
    reports = Reports(_read_array(agents), fields, shard, attempt, whole, learnt)
    return reports, [unpack_frame(frame, frame_bytes) for frame in frames]


_FRAMES: Final = msgspec.msgpack.Decoder(list[bytes])
_PARCEL: Final = msgspec.msgpack.Decoder(
    tuple[int, int, dict[str, Any], dict[str, dict[str, list[Any]]], dict[str, Whole], list[bytes], list[Learnt]],
    dec_hook=_array,
)


def _read(decoder: Any, packed: bytes) -> Any:
    try:
        return decoder.decode(packed)
    except (msgspec.DecodeError, ValueError) as error:
        raise BusError(f"{len(packed)} bytes from another process are not readable: {error}") from None


def split_parcels(done: TickDone) -> tuple[list[Frame], tuple[Reports, list[Frame]], TickDone]:
    """A tick's frames to shards, what goes to the world, and the tick without what travels in them."""
    frames = [one for one in done.frames if one.destination != WORLD]
    to_world = [one for one in done.frames if one.destination == WORLD]
    reports = Reports(done.agents, done.fields, done.shard, done.attempt, done.whole, done.learnt)
    return frames, (reports, to_world), msgspec.structs.replace(done, frames=[], fields={}, whole={}, learnt=[])
