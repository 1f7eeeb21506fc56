"""Checkpoints: what is saved is read, a save costs what changed, and what could not come back is refused."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.checkpoint_support import same

from populace.core.errors import StorageError
from populace.kernel import blocks as checkpoint_blocks
from populace.kernel.blocks import Rows
from populace.store.checkpoint import generations as generations_module
from populace.store.checkpoint.file import generations
from populace.store.checkpoint.generations import Checkpoints, latest, load

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(-5, 5), inner),
    max_leaves=8,
)

dtypes = (
    st_numpy.boolean_dtypes()
    | st_numpy.integer_dtypes(endianness="<")
    | st_numpy.unsigned_integer_dtypes(endianness="<")
    | st_numpy.floating_dtypes(endianness="<", sizes=(16, 32, 64))
    | st_numpy.complex_number_dtypes(endianness="<", sizes=(64, 128))
    | st_numpy.unicode_string_dtypes(endianness="<", max_len=5)
    | st_numpy.byte_string_dtypes(max_len=5)
)

arrays = st_numpy.arrays(dtypes, st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))

strings = st.lists(st.text(max_size=5), max_size=6).map(lambda texts: np.array(texts, dtype=object))


@settings(max_examples=80, deadline=None)
@given(blocks=st.dictionaries(st.text(max_size=8), plain | arrays | strings, max_size=5))
def test_what_is_saved_is_read(tmp_path_factory: pytest.TempPathFactory, blocks: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("c")
    saved = Checkpoints(folder, run="r").save(3, blocks)
    found = latest(folder, run="r")
    assert found is not None
    assert (found.run, found.tick, found.number, found.path, found.skipped) == ("r", 3, 1, saved.path, ())
    assert set(found.blocks) == set(blocks)
    for name, block in blocks.items():
        assert same(found.blocks[name], block), (block, found.blocks[name])
        if isinstance(block, np.ndarray):
            assert found.blocks[name].flags.writeable
    shutil.rmtree(folder)


def test_arrays_that_are_not_contiguous_and_shaped_strings_come_back_equal(tmp_path: Path) -> None:
    grid = np.arange(24.0).reshape(4, 6)
    names = np.array([["a", "b"], ["", "né"]], dtype=object)
    Checkpoints(tmp_path, run="r").save(0, {"t": grid.T, "step": grid[::2, ::3], "names": names})
    found = latest(tmp_path)
    assert found is not None
    assert np.array_equal(found.blocks["t"], grid.T)
    assert np.array_equal(found.blocks["step"], grid[::2, ::3])
    assert same(found.blocks["names"], names)


@pytest.mark.parametrize(
    "block",
    [
        (1, 2),
        [1, (2,)],
        {(1, 2): 3},
        np.float64(1.0),
        {"a": np.int64(1)},
        2**64,
        "\ud800",
        {1, 2},
        object(),
        np.array([1, None], dtype=object),
        np.array(["a", None], dtype=object),
        np.array(["\ud800"], dtype=object),
        np.array([1, 2], dtype=">i4"),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        bytes.fromhex,
        [b"x" * (checkpoint_blocks.PLAIN_BYTES + 1)],
    ],
    ids=lambda block: type(block).__name__,
)
def test_what_would_not_come_back_as_it_was_is_refused_by_name(tmp_path: Path, block: Any) -> None:
    store = Checkpoints(tmp_path, run="r")
    with pytest.raises(StorageError, match="block 'mood'"):
        store.save(0, {"fine": 1, "mood": block})
    assert list(tmp_path.iterdir()) == []
    store.save(0, {"fine": 1})


def test_nothing_saved_before_is_none(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    assert latest(tmp_path / "none") is None


class Store(RuleBasedStateMachine):
    """A history of saves against a plain model of the state, with restarts, pruning and a damaged file now and then."""

    @initialize(keep=st.integers(2, 4))
    def begin(self, keep: int) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.keep = keep
        self.rng = random.Random(keep)
        self.rows: dict[int, bytes] = {n: bytes([n % 251]) * (n % 40) for n in range(0, 3000, 7)}
        self.array = np.arange(50.0)
        self.text = "a"
        self.history: list[dict[str, Any]] = []
        self.store = Checkpoints(self.folder, run="r", keep=keep)
        self.delta: dict[int, bytes] = {}
        self.removed: set[int] = set()
        self.dirty = {"array", "text"}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(ids=st.sets(st.integers(-20, 3000), max_size=30), length=st.integers(0, 90), drop=st.booleans())
    def change_rows(self, ids: set[int], length: int, drop: bool) -> None:
        for row in ids:
            if drop:
                self.rows.pop(row, None)
                self.delta.pop(row, None)
                self.removed.add(row)
            else:
                self.rows[row] = self.delta[row] = self.rng.randbytes(length)
                self.removed.discard(row)

    @rule(back=st.booleans())
    def change_blocks(self, back: bool) -> None:
        self.text = "a" if back else self.text + "b"
        self.dirty.add("text")
        if not back:
            self.array = self.array + 1
            self.dirty.add("array")

    @rule()
    def restart(self) -> None:
        self.store = Checkpoints(self.folder, run="r", keep=self.keep)

    @rule(times=st.integers(1, 20), whole=st.booleans(), lazy=st.booleans())
    def save(self, times: int, whole: bool, lazy: bool) -> None:
        for _ in range(times):
            every = whole or self.store.whole
            blocks: dict[str, Any] = {"array": self.array, "text": self.text}
            unchanged = set() if every or lazy else {"array", "text"} - self.dirty
            if every:
                blocks["rows"] = Rows(dict(self.rows), whole=True)
            elif self.delta or self.removed or lazy:
                blocks["rows"] = Rows(self.delta, self.removed)
            else:
                unchanged.add("rows")
            for name in unchanged:
                blocks.pop(name, None)
            self.store.save(len(self.history), blocks, unchanged=unchanged)
            self.history.append({"array": self.array, "text": self.text, "rows": dict(sorted(self.rows.items()))})
            self.delta, self.removed, self.dirty = {}, set(), set()
            if times > 1:
                self.change_rows({self.rng.randrange(3000) for _ in range(4)}, 20, False)

    @invariant()
    def the_newest_generations_are_whole(self) -> None:
        if not getattr(self, "history", None):
            return
        for age, path in enumerate(list(generations(self.folder).values())[: min(self.keep, len(self.history))]):
            found = load(path)
            true = self.history[-1 - age]
            assert found.tick == len(self.history) - 1 - age
            assert set(found.blocks) == set(true)
            assert all(same(found.blocks[name], true[name]) for name in true)

    @rule(at=st.floats(0, 1, exclude_max=True), pick=st.floats(0, 1, exclude_max=True))
    def damage_to_one_file_costs_one_generation_at_most(self, at: float, pick: float) -> None:
        if len(self.history) < 2:
            return
        files = sorted(self.folder.iterdir())
        file = files[int(pick * len(files))]
        data = bytearray(file.read_bytes())
        data[int(at * len(data))] ^= 0x10
        good = file.read_bytes()
        file.write_bytes(data)
        found = latest(self.folder)
        file.write_bytes(good)
        assert found is not None
        assert len(self.history) - 2 <= found.tick == len(self.history) - 1 - len(found.skipped)
        assert all(str(self.folder) in why for why in found.skipped)
        true = self.history[found.tick]
        assert all(same(found.blocks[name], true[name]) for name in true)


TestStore = Store.TestCase

TestStore.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)


def test_another_run_is_named(tmp_path: Path) -> None:
    Checkpoints(tmp_path, run="r").save(0, {})
    with pytest.raises(StorageError, match="is of run r, not of other"):
        latest(tmp_path, run="other")


def read_amid_saves(folder: Path, patch: pytest.MonkeyPatch, before: str) -> Any:
    """What a reader finds whose first read of a file comes after two more saves than it knows of."""
    store = Checkpoints(folder, run="r")
    for tick in range(2):
        store.save(tick, {"all of it": [tick] * 500})
    read = getattr(generations_module, before)

    def late(*args: Any) -> Any:
        patch.undo()
        for tick in range(2, 4):
            store.save(tick, {"all of it": [tick] * 500})
        return read(*args)

    patch.setattr(generations_module, before, late)
    return latest(folder, run="r")


@pytest.mark.parametrize("before", ["read_contents", "read_entry"])
def test_who_reads_while_a_run_at_work_saves_and_deletes_looks_again(tmp_path, monkeypatch, before: str) -> None:
    found = read_amid_saves(tmp_path, monkeypatch, before)
    assert (found.tick, found.blocks, found.skipped) == (3, {"all of it": [3] * 500}, ())


@pytest.mark.parametrize("before", ["read_contents", "read_entry"])
def test_control_who_looks_once_finds_a_file_gone(tmp_path, monkeypatch, before: str) -> None:
    with monkeypatch.context() as once, monkeypatch.context() as patch:
        once.setattr(generations_module, "_LOOKS", 1)
        with pytest.raises(StorageError, match="No such file"):
            read_amid_saves(tmp_path, patch, before)


def test_a_save_refuses_what_it_cannot_know(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, run="r")
    assert store.whole
    for blocks, unchanged in (({}, ["world"]), ({"rows": Rows({1: b"x"})}, [])):
        with pytest.raises(StorageError, match="give"):
            store.save(0, blocks, unchanged=unchanged)
    store.save(0, {"world": 1, "rows": Rows({1: b"x"}, whole=True)})
    assert not store.whole
    with pytest.raises(ValueError, match="at once"):
        store.save(1, {"world": 1}, unchanged=["world"])
    with pytest.raises(ValueError, match="changed and removed"):
        Rows({1: b""}, [1])
    other = Checkpoints(tmp_path, run="r")
    other.save(1, {"world": 2})
    with pytest.raises(StorageError, match="another process"):
        store.save(1, {"world": 3}, unchanged=["rows"])


def test_cost_and_files_follow_activity(tmp_path: Path) -> None:
    rng = random.Random(7)
    rows = {n: rng.randbytes(50) for n in range(20_000)}
    store = Checkpoints(tmp_path, run="r")
    full = store.save(0, {"rows": Rows(rows, whole=True), "world": b"w" * 10_000}).written_bytes
    written, files = [], []
    for tick in range(1, 301):
        delta = {rng.randrange(20_000): rng.randbytes(50) for _ in range(20)}
        rows.update(delta)
        written.append(store.save(tick, {"rows": Rows(delta)}, unchanged=["world"]).written_bytes)
        files.append(len(list(tmp_path.iterdir())))
    assert sorted(written[1:])[150] < full / 100
    assert sum(written[1:]) < 300 * full / 60
    assert max(files) < 50
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3 * full
    found = latest(tmp_path)
    assert found is not None
    assert found.blocks["rows"] == rows


def test_a_file_that_is_mostly_dead_is_not_kept_for_a_small_block(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, run="r")
    for tick in range(8):
        small: dict[str, Any] = {} if tick else {"small": b"s" * 100}
        store.save(tick, {"world": np.full(10_000, tick), **small}, unchanged=["small"] if tick else [])
        assert len(list(tmp_path.iterdir())) <= 2
    found = latest(tmp_path)
    assert found is not None
    assert found.blocks["small"] == b"s" * 100
