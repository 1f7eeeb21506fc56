"""Rows of tables that cross between processes are read when they are wanted, and are then what they were."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from populace.cluster.wire import LateRows, pack, pack_rows, unpack_rows, unpack_world
from populace.core.errors import BusError
from populace.core.records import Counts
from populace.core.table_columns import Coded, joined, repeated
from populace.kernel.reports import WorldDone

ROWS = {
    "actions": {"agent": np.array([3, 1], np.int32), "kind": ["a.b", "c.d"], "args": [b"\x80", b"\x81"]},
    "messages": {"tick_read": np.ma.masked_less(np.array([1, -1], np.int32), 0), "fate": ["delivered", "expired"]},
}


def test_rows_are_what_they_were():
    read = unpack_rows(pack_rows(ROWS))
    assert list(read) == list(ROWS)
    assert len(read) == 2
    assert "asks" not in read
    assert read["actions"]["agent"].tolist() == [3, 1]
    assert read["actions"]["agent"].dtype == np.int32
    assert (read["actions"]["kind"], read["actions"]["args"]) == (["a.b", "c.d"], [b"\x80", b"\x81"])
    assert read["messages"]["tick_read"].tolist() == [1, None]
    assert read["actions"] is read["actions"], "they are read once"


def test_columns_that_say_many_rows_at_once_cross_as_they_are():
    many = {
        "kind": Coded(["a.b", "c.d"], np.array([1, 0, 1], np.uint8)),
        "fate": repeated("applied", 3),
        "prompt": repeated((("user", "Why?"),), 3),
        "args": joined([b"\x80", b"", b"\x81"]),
    }
    read = unpack_rows(pack_rows({"actions": many}))["actions"]
    assert [type(column) for column in read.values()] == [type(column) for column in many.values()]
    assert (list(read["kind"]), list(read["fate"])) == (["c.d", "a.b", "c.d"], ["applied"] * 3)
    assert (list(read["args"]), list(read["prompt"])) == ([b"\x80", b"", b"\x81"], [[["user", "Why?"]]] * 3)
    assert len(pack_rows({"actions": {"fate": repeated("applied", 10_000)}})) < 100


def test_they_are_read_when_they_are_wanted():
    done = WorldDone(3, [], np.array([1], np.int32), {}, {"mean": 1.0}, Counts(), b"digest")
    packed = msgspec.msgpack.encode({"actions": b"\xc1", "turnover": msgspec.msgpack.encode({"what": ["born"]})})
    read = unpack_world(pack(done), packed)
    assert isinstance(read.rows, LateRows)
    assert (read.tick, read.outcomes) == (3, {"mean": 1.0})
    assert read.rows["turnover"] == {"what": ["born"]}
    with pytest.raises(BusError, match="not readable"):
        _ = read.rows["actions"]
    with pytest.raises(BusError):
        unpack_rows(b"\xc1")
