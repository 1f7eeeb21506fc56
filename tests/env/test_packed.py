"""Packed arguments: read as columns they are what they are one by one, or they are not read as columns."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.env import packed as module
from populace.env.acts import Acting, Singles
from populace.env.packed import PackedArgs

INTS = st.one_of(st.integers(-(2**63), 2**64 - 1), st.integers(-200, 300), st.sampled_from([2**at for at in range(64)]))
SAME = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-40, 300), min_size=1, max_size=8),
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=8),
    st.lists(st.booleans(), min_size=1, max_size=8),
)
ANY = st.one_of(
    INTS, st.floats(allow_nan=False), st.booleans(), st.none(), st.text(max_size=3), st.lists(INTS, max_size=2)
)
NAMES = st.lists(st.text(max_size=40), max_size=3, unique=True)


def of(maps: list[dict[str, Any]], before: bytes = b"\x01\xcf") -> PackedArgs:
    """As they stand in a frame: something before each, nothing in between."""
    body, starts, stops = b"", [], []
    for one in maps:
        body += before
        starts.append(len(body))
        body += msgpack.packb(one)
        stops.append(len(body))
    return PackedArgs(body, np.array(starts, np.int64), np.array(stops, np.int64))


def wanted(maps: list[dict[str, Any]]) -> dict[str, np.ndarray] | None:
    """The slow way: columns where all have the same short names in one order, and one kind of number under each."""
    names = list(maps[0]) if maps else []
    if not maps or any(list(one) != names for one in maps) or any(len(name.encode()) > 31 for name in names):
        return None
    columns = {name: [one[name] for one in maps] for name in names}
    for values in columns.values():
        kinds = set(map(type, values))
        if len(kinds) > 1 or not kinds <= {int, float, bool} or (int in kinds and max(values) >= 2**63):
            return None
    kinds = {int: np.int64, float: np.float64, bool: np.bool_}
    return {name: np.array(values, kinds[type(values[0])]) for name, values in columns.items()}


def check(maps: list[dict[str, Any]]) -> None:
    args, places = of(maps), np.arange(len(maps))[::-1]
    assert args.args(places) == maps[::-1]
    assert args.packed(places) == [msgpack.packb(one) for one in maps[::-1]]
    read, slow = args.columns(places), wanted(maps[::-1])
    assert (read is None) == (slow is None)
    if read is not None and slow is not None:
        assert list(read) == list(slow)
        for name, values in slow.items():
            assert read[name].dtype == values.dtype
            assert read[name].tolist() == values.tolist()


@given(st.data(), NAMES)
def test_alike_arguments_are_read_as_columns(data: Any, names: list[str]) -> None:
    rows = data.draw(st.integers(1, 8))
    columns = {name: (data.draw(SAME) * 8)[:rows] for name in names}
    check([{name: values[row] for name, values in columns.items()} for row in range(rows)])


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "c" * 32]), ANY, max_size=3), max_size=5))
def test_others_are_not(maps: list[dict[str, Any]]) -> None:
    check(maps)


@pytest.mark.parametrize("maps", [
    [{"a": 1}, {"a": 2, "b": 1}], [{"a": 1}, {"b": 1}], [{"a": 1}, {"a": True}], [{"a": 1}, {"a": 1.0}],
    [{"a": 2**63}], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], [{"a": None}], [{"a": "1"}], [{}, {"a": 1}],
])  # fmt: skip
def test_what_is_not_alike(maps: list[dict[str, Any]]) -> None:
    check(maps)
    assert of(maps).columns(np.arange(len(maps))) is None


def test_control_what_is_read_with_another_sign_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SIGNED", {})
    with pytest.raises(AssertionError):
        check([{"a": -1000}])


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_map_that_ends_too_soon_is_none(cut: int) -> None:
    whole = of([{"a": 1000}, {"a": 1001}])
    short = PackedArgs(whole.body[:-cut], whole.starts, np.minimum(whole.stops, len(whole.body) - cut))
    assert short.columns(np.arange(2)) is None


def test_a_batch_of_packed_arguments_says_what_a_batch_of_dictionaries_does() -> None:
    maps = [{"post": at, "sure": at % 2 == 0} for at in range(100)]
    agents, zero = np.arange(100, dtype=np.int32), np.zeros(100, np.int32)
    one, other = (
        Acting(Singles(agents, zero, ["feed.like"], zero, args), []).batch(np.arange(100)) for args in (of(maps), maps)
    )
    assert one.in_columns() == {"post", "sure"}
    assert other.in_columns() is None
    for name in ("post", "sure"):
        assert one.column(name).tolist() == other.column(name).tolist()
        assert one.column(name).dtype == other.column(name).dtype
    assert one.args == other.args == maps
    for batch in (one, other):
        with pytest.raises(KeyError):
            batch.column("none")
