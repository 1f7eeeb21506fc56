"""Large arrays in checkpoints: what changed is written, what was saved is read, to the bit and in either line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.checkpoint_support import same

from populace.core.errors import CheckpointDamaged
from populace.kernel import patches
from populace.kernel.patches import apply_patch, changed_rows, encode_patch
from populace.store.checkpoint import frozen, generations
from populace.store.checkpoint.file import digest
from populace.store.checkpoint.generations import Checkpoints, latest, load

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), max_size=5)),
        st.tuples(st.just("append"), st.integers(1, 4)),
        st.tuples(st.just("remove"), st.lists(st.integers(0, 60), min_size=1, max_size=3)),
        st.tuples(st.just("retype"), st.sampled_from(["<f8", "<i4", "|b1", "|u1"])),
        st.tuples(st.just("again"), st.just(0)),
        st.tuples(st.just("freeze"), st.just(0)),
    ),
    min_size=3, max_size=14,
)  # fmt: skip
VALUES = [0.0, -0.0, np.nan, 1.5, 7.0]


def stepped(array: np.ndarray[Any, Any], step: tuple[str, Any]) -> np.ndarray[Any, Any]:
    what, given_ = step
    if what == "append":
        return np.concatenate((array, np.ones((given_, *array.shape[1:]), array.dtype)))
    if what == "remove":
        return np.delete(array, [one for one in given_ if one < len(array)][: len(array) - 1], axis=0)
    if what == "retype":
        return np.nan_to_num(array).astype(given_)
    if what == "freeze":
        array = array.copy()
        array.flags.writeable = False
        return array
    array = array.copy()
    for at, value in given_ or ():
        if at < len(array) and (array.dtype.kind == "f" or VALUES[value] == VALUES[value]):
            array[at] = VALUES[value]
    return array


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, wide=st.booleans())
def test_every_generation_gives_back_what_was_saved(tmp_path_factory, steps, wide) -> None:
    folder = tmp_path_factory.mktemp("history")
    array = np.arange(40.0).reshape(20, 2) if wide else np.arange(40.0)
    history: list[np.ndarray[Any, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "PATCHED_BYTES", 0)
        store = Checkpoints(folder, run="r")
        for tick, step in enumerate(steps):
            array = stepped(array, step)
            saved = store.save(tick, {"a": array})
            history.append(array.copy())
            for path in folder.iterdir():
                found = load(path)
                assert same(found.blocks["a"], history[found.tick])
            assert latest(folder).tick == tick  # type: ignore[union-attr]
            saved.path.touch()


def test_one_row_in_a_hundred_is_a_twentieth_of_the_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    columns = {f"c{at}": rng.random(100_000) for at in range(3)}
    store = Checkpoints(tmp_path, run="r")
    whole = [store.save(tick, columns).written_bytes for tick in range(2)]
    written = []
    for tick in range(2, 12):
        rows = rng.choice(100_000, 1_000, replace=False)
        columns = {name: column.copy() for name, column in columns.items()}
        columns["c0"][rows] += 1.0
        written.append(store.save(tick, columns).written_bytes)
    assert max(written) < min(whole) / 50, "of three columns one, and of it what two saves changed"
    assert same(latest(tmp_path).blocks, columns)  # type: ignore[union-attr]
    assert store.save(12, columns).written_bytes < 20_000
    assert store.save(13, columns).written_bytes < 2_000, "nothing changed since this line's last"


def test_what_did_not_change_is_digested_once_for_both_lines(tmp_path: Path, monkeypatch) -> None:
    digested: list[int] = []

    def counted(data: Any) -> bytes:
        digested.append(len(data))
        return digest(data)

    monkeypatch.setattr(generations, "digest", counted)
    store = Checkpoints(tmp_path, run="r")
    still, moving = np.arange(20_000.0), np.zeros(30_000)
    for tick in range(2):
        moving = moving.copy()
        moving[tick] = 1.0
        store.save(tick, {"still": still, "moving": moving})
    assert digested.count(still.nbytes) == 1
    assert digested.count(moving.nbytes) == 2
    for number, path in generations.generations(tmp_path).items():
        blocks = load(path).blocks
        assert same(blocks["still"], still)
        assert blocks["moving"].sum() == number


def test_what_outgrows_its_base_is_written_anew(tmp_path: Path) -> None:
    array = np.zeros(20_000)
    store = Checkpoints(tmp_path, run="r")
    parts = []
    for tick in range(30):
        array = array.copy()
        array[tick * 600 : (tick + 1) * 600] = tick
        saved = store.save(tick, {"a": array})
        parts.append(len(generations.check(saved.path).blocks["a"].parts))
    assert max(parts) > 5
    assert parts.count(1) >= 4
    assert same(latest(tmp_path).blocks["a"], array)  # type: ignore[union-attr]


def test_a_damaged_change_costs_one_generation(tmp_path: Path) -> None:
    array = np.zeros(20_000)
    store = Checkpoints(tmp_path, run="r")
    for tick in range(6):
        array = array.copy()
        array[tick] = 1.0
        saved = store.save(tick, {"a": array})
    entry = generations.check(saved.path).blocks["a"]
    last = entry.parts[-1]
    data = bytearray((tmp_path / last.file).read_bytes())
    data[last.offset + 20] ^= 1
    (tmp_path / last.file).write_bytes(data)
    found = latest(tmp_path)
    assert found is not None
    assert found.tick == 4
    assert found.blocks["a"].sum() == 5
    with pytest.raises(CheckpointDamaged):
        load(saved.path)


@pytest.mark.parametrize("lost", ["added rows", "bits"])
def test_control_rows_that_are_not_found_are_lost(tmp_path: Path, monkeypatch, lost) -> None:
    real = changed_rows

    def careless(was: Any, now: Any) -> Any:
        rows = real(was, now)
        if rows is None:
            return None
        if lost == "bits":
            return np.flatnonzero(was != now[: len(was)]).astype(np.uint32)
        return rows[rows < len(was)]

    monkeypatch.setattr(frozen, "changed_rows", careless)
    store = Checkpoints(tmp_path, run="r")
    array = np.zeros(20_000)
    for tick in range(4):
        array = np.append(array, 1.0) if lost == "added rows" else array.copy()
        array[tick] = -0.0
        store.save(tick, {"a": array})
    assert not same(latest(tmp_path).blocks["a"], array)  # type: ignore[union-attr]


def test_a_patch_of_another_array_is_refused() -> None:
    data = encode_patch(np.arange(10.0), np.array([3, 9], np.uint32))
    array = np.zeros(12)
    apply_patch(array, data)
    assert array.tolist() == [0, 0, 0, 3, 0, 0, 0, 0, 0, 9, 0, 0]
    for wrong in (data[:-1], b"", data[:8] + b"\xff" * 8 + data[16:], data[:16] + b"\x0b" + data[17:]):
        with pytest.raises(ValueError, match=r"are no change of|a change of row"):
            apply_patch(np.zeros(12), wrong)
    with pytest.raises(ValueError, match="are no change of"):
        apply_patch(np.zeros(9), data)
    assert patches.patch_bytes(array, 2) == len(data)


def test_an_array_that_nobody_can_change_is_not_copied_and_a_view_of_another_is(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, run="r")
    own = np.arange(100_000.0)
    own.flags.writeable = False
    base = np.arange(100_000.0)
    view = base[:]
    view.flags.writeable = False
    assert patches.is_frozen(own)
    assert not patches.is_frozen(view)
    for tick in range(3):
        store.save(tick, {"own": own, "view": view})
        base[tick] = -1.0
        found = latest(tmp_path)
        assert found is not None
        assert same(found.blocks["view"][:tick], np.full(tick, -1.0))


def test_control_a_view_that_is_taken_for_its_own_array_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patches, "is_frozen", lambda array: not array.flags.writeable)
    monkeypatch.setattr(frozen, "is_frozen", lambda array: not array.flags.writeable)
    with pytest.raises(AssertionError):
        test_an_array_that_nobody_can_change_is_not_copied_and_a_view_of_another_is(tmp_path)


def test_what_was_frozen_is_saved_whatever_becomes_of_it_and_takes_no_further_memory(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, run="r")
    live = {
        "large": np.zeros(20_000),
        "small": np.zeros(20),
        "texts": np.array(["a", "b"], dtype=object),
        "plain": {"seen": [1]},
    }
    held = []
    for tick in range(5):
        live["large"][tick] = live["small"][tick] = tick  # type: ignore[index]
        was = {
            name: np.array(block) if isinstance(block, np.ndarray) else {"seen": [1]} for name, block in live.items()
        }
        taken = store.freeze(live)
        live["large"][:] = -1.0  # type: ignore[index]
        live["small"][:] = -1.0  # type: ignore[index]
        live["texts"][0] = "c"  # type: ignore[index]
        live["plain"]["seen"].append(2)  # type: ignore[index, union-attr, call-overload]
        store.save(tick, taken)
        assert same(latest(tmp_path).blocks, was)  # type: ignore[union-attr]
        held.append(taken["large"].held)  # type: ignore[union-attr]
        live = {**was, "plain": {"seen": [1]}}
    assert all(one is held[0] for one in held), "one copy, brought up to date"


def test_after_what_was_frozen_and_not_saved_the_next_is_whole(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, run="r")
    array = np.zeros(20_000)
    for tick in range(3):
        store.save(tick, {"a": array})
    assert not store.whole
    array[0] = 1.0
    store.freeze({"a": array})
    assert store.whole
    array[1] = 1.0
    saved = store.save(3, store.freeze({"a": array}))
    assert saved.written_bytes > array.nbytes
    assert same(load(saved.path).blocks["a"], array)


@pytest.mark.parametrize("taken", [False, True])
def test_an_array_that_is_small_in_between_is_saved_whole_once_it_is_large_again(tmp_path: Path, taken: bool) -> None:
    store, large = Checkpoints(tmp_path, run="r"), np.arange(20_000.0)
    for tick, array in enumerate([large, large, large, large[:4_000] + 1.0, large, large, large]):
        blocks = {"a": array.copy()}
        store.save(tick, store.freeze(blocks) if taken else blocks)
        assert same(latest(tmp_path).blocks["a"], array), tick  # type: ignore[union-attr]
