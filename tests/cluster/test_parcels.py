"""Frames cross between processes as one parcel for each shard, and are then what they were."""

from __future__ import annotations

import numpy as np
import pytest

from populace.cluster.wire import pack_by_shard, pack_frames, unpack_frames
from populace.core.errors import BusError
from populace.kernel.bus import Frame, Outgoing, route

SHARDS, FRAME_BYTES = 3, 64


def frames_of(sent: list[tuple[int, int, bytes]]) -> list[Frame]:
    sender, receiver, bodies = zip(*sent, strict=True)
    nth = np.arange(len(sent), dtype=np.int32)
    out = Outgoing(4, np.array(sender, np.int32), np.array(receiver, np.int32), nth, list(bodies))
    return route(out, source=1, shards=SHARDS, attempt=2, frame_bytes=FRAME_BYTES)


def plain(frame: Frame) -> tuple[object, ...]:
    columns = (frame.sender.tolist(), frame.receiver.tolist(), frame.nth.tolist(), frame.bodies())
    return frame.tick, frame.attempt, frame.source, frame.destination, *columns


def test_each_shard_is_given_its_own_frames_all_of_them_as_they_were():
    frames = frames_of([(1, to, bytes([160 + to]) * 40) for to in (0, 3, 6, 2, 5, 9)])
    assert [one.destination for one in frames].count(0) > 1, "several frames go to one shard"
    parcels = pack_by_shard(frames, SHARDS)
    assert len(parcels) == SHARDS
    assert parcels[1] == b"", "nothing goes there"
    for shard in (0, 2):
        read = unpack_frames(parcels[shard], 10 * FRAME_BYTES)
        assert list(map(plain, read)) == [plain(one) for one in frames if one.destination == shard]


def test_what_is_no_parcel_is_told():
    packed = pack_frames(frames_of([(1, 0, b"\xa1a")]))
    with pytest.raises(BusError, match="not readable"):
        unpack_frames(packed[:-1], 10 * FRAME_BYTES)
    with pytest.raises(BusError, match="at most 8 are read"):
        unpack_frames(packed, 8)
