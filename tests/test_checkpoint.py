from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from full_disk import file_size_limit, small_disk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from populace.cluster import checkpoint_blocks, checkpoint_file
from populace.cluster.checkpoint import Checkpoints, check, latest, load
from populace.cluster.checkpoint_blocks import Rows
from populace.cluster.checkpoint_file import generations
from populace.core.errors import CheckpointDamaged, DiskFull, StorageError


def same(one: Any, two: Any) -> bool:
    """Equal in value and in type, all the way down; NaNs are equal by their bytes."""
    if type(one) is not type(two):
        return False
    if isinstance(one, np.ndarray):
        if one.dtype != two.dtype or one.shape != two.shape:
            return False
        return one.tolist() == two.tolist() if one.dtype == object else one.tobytes() == two.tobytes()
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two) or repr(one) == repr(two) == "nan"


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


def make_history(folder: Path) -> dict[int, dict[str, Any]]:
    """Twelve saves, the later ones with reference to files of the earlier ones: what each tick's state was."""
    rng = random.Random(5)
    store = Checkpoints(folder, run="r")
    rows = {n: rng.randbytes(20) for n in range(300)}
    world = np.arange(200, dtype=np.int32)
    states = {}
    store.save(0, {"rows": Rows(rows, whole=True), "world": world, "plain": {"tick": 0}, "raw": b"raw"})
    states[0] = {"rows": dict(rows), "world": world, "plain": {"tick": 0}, "raw": b"raw"}
    for tick in range(1, 12):
        delta = {rng.randrange(300): rng.randbytes(20) for _ in range(3)}
        rows.update(delta)
        store.save(tick, {"rows": Rows(delta), "plain": {"tick": tick}}, unchanged=["world", "raw"])
        states[tick] = {"rows": dict(rows), "world": world, "plain": {"tick": tick}, "raw": b"raw"}
    return states


def corrupt(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    kind = rng.randrange(4)
    if kind <= 1:
        for _ in range(1 + 7 * kind):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        at = rng.randrange(len(data))
        changed[at : at + rng.randrange(1, 64)] = rng.randbytes(rng.randrange(64))
    else:
        del changed[rng.randrange(len(data)) :]
    return bytes(changed)


def test_a_thousand_damages_fall_back_one_generation_and_nothing_false_is_read(tmp_path: Path) -> None:
    states = make_history(tmp_path)
    files = sorted(tmp_path.iterdir())
    assert len(files) > 4, "the newest generations refer to older files"
    newest = generations(tmp_path)[12]
    mine = {part.file for entry in checkpoint_file.read_manifest(newest).blocks.values() for part in entry.parts}
    rng = random.Random(6)
    fell_back = 0
    for _ in range(1000):
        file = rng.choice(files)
        data = file.read_bytes()
        while (changed := corrupt(rng, data)) == data:
            pass
        file.write_bytes(changed)
        found = latest(tmp_path, run="r")
        with pytest.raises(CheckpointDamaged, match=str(file)):
            check(file) if file == newest or file.name not in mine else read_all(file)
        file.write_bytes(data)
        assert found is not None
        fell_back += found.tick == 10
        assert found.tick == 11 - len(found.skipped) >= 10
        assert file == newest or file.name in mine or found.tick == 11
        assert all(same(found.blocks[name], block) for name, block in states[found.tick].items())
    assert fell_back > 300
    assert latest(tmp_path).tick == 11  # type: ignore[union-attr]


def read_all(file: Path) -> None:
    """Check every byte of a file as the generation that it was, whatever became of those that it refers to."""
    manifest = checkpoint_file.read_manifest(file)
    for entry in manifest.blocks.values():
        for part in entry.parts:
            if part.file == file.name:
                checkpoint_file.read_part(file.parent, part)


def test_without_the_checksum_damage_would_be_read_as_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Checkpoints(tmp_path, run="r").save(0, {"world": np.zeros(2000)})
    file = next(tmp_path.iterdir())
    data = bytearray(file.read_bytes())
    data[5000] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointDamaged):
        load(file)
    manifest = checkpoint_file.read_manifest(file)
    constant = manifest.blocks["world"].parts[0].digest
    seal = data[-16:]
    monkeypatch.setattr(checkpoint_file, "digest", lambda part: constant if len(part) == 16000 else bytes(seal))
    assert load(file).blocks["world"].any()


def test_every_damage_to_every_generation_is_told_when_none_is_good(tmp_path: Path) -> None:
    make_history(tmp_path)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointDamaged, match="replayed from its journal") as error:
        latest(tmp_path)
    assert all(str(file) in str(error.value) for file in tmp_path.iterdir())


@pytest.mark.parametrize("case", ["swapped", "renamed", "missing", "empty"])
def test_files_that_are_swapped_renamed_missing_or_empty_are_damage(tmp_path: Path, case: str) -> None:
    make_history(tmp_path)
    newest, before = list(generations(tmp_path).values())[:2]
    if case == "swapped":
        one, two = newest.read_bytes(), before.read_bytes()
        newest.write_bytes(two)
        before.write_bytes(one)
        with pytest.raises(CheckpointDamaged, match="under another's name"):
            load(newest)
        with pytest.raises(CheckpointDamaged, match="under another's name"):
            load(before)
        return
    if case == "renamed":
        newest.rename(newest.with_name(checkpoint_file.file_name(99, 11)))
    elif case == "missing":
        manifest = checkpoint_file.read_manifest(newest)
        (tmp_path / manifest.blocks["world"].parts[0].file).unlink()
    else:
        newest.write_bytes(b"")
    found = latest(tmp_path)
    assert found is not None
    assert (found.tick, len(found.skipped)) == (10, 1)


def test_a_disk_that_fails_to_read_counts_as_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_history(tmp_path)
    newest = generations(tmp_path)[12]
    real = Path.open

    def failing(self: Path, *args: Any, **options: Any) -> Any:
        if self == newest:
            raise OSError(errno.EIO, "Input/output error")
        return real(self, *args, **options)

    monkeypatch.setattr(Path, "open", failing)
    found = latest(tmp_path)
    assert found is not None
    assert found.tick == 10
    assert "Input/output error" in found.skipped[0]


def test_another_run_is_named(tmp_path: Path) -> None:
    Checkpoints(tmp_path, run="r").save(0, {})
    with pytest.raises(StorageError, match="is of run r, not of other"):
        latest(tmp_path, run="other")


def test_claims_of_a_manifest_are_bounded_before_memory_is_taken(tmp_path: Path) -> None:
    """A manifest with a checksum that fits may still claim anything: each claim is tested against the file."""
    Checkpoints(tmp_path, run="r").save(0, {"world": np.zeros(10)})
    path = next(tmp_path.iterdir())
    true = checkpoint_file.read_manifest(path)
    entry = true.blocks["world"]
    (part,) = entry.parts
    shape = checkpoint_blocks.Shape
    for new_shape, new_part in [
        (shape("array", "<f8", (2**50,)), part),
        (shape("array", "<f8", (-1, -10)), part),
        (shape("array", "|O8", (10,)), part),
        (shape("array", "<M8[s]", (10,)), part),
        (shape("array", "<f8", (2**33,)), checkpoint_file.Part(part.file, part.offset, 2**36, part.digest)),
        (shape("bytes"), checkpoint_file.Part(part.file, part.offset, 2**45, part.digest)),
        (shape("bytes"), checkpoint_file.Part("../" + part.file, part.offset, part.length, part.digest)),
        (shape("rows"), part),
        (shape("strings", "", (3,)), part),
    ]:
        claim = checkpoint_file.Entry(new_shape, (new_part,))
        writer = checkpoint_file.GenerationWriter(tmp_path, 7, 0)
        writer.part(np.zeros(10).tobytes())
        writer.finish(checkpoint_file.Manifest("r", 0, 7, {"world": entry, "claim": claim}))
        writer.close()
        with pytest.raises(CheckpointDamaged):
            load(writer.path)
    with pytest.raises(ValueError, match="too many"):
        checkpoint_blocks.room_for(shape("plain"), checkpoint_blocks.PLAIN_BYTES + 1)
    with pytest.raises(ValueError, match="extension"):
        checkpoint_blocks.decode_block(shape("plain"), bytearray(msgpack.packb(msgpack.ExtType(5, b"x"))))


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


def test_a_save_that_meets_damage_fails_and_a_whole_one_mends_it(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, run="r")
    first = store.save(0, {"world": np.zeros(100)}).path
    data = bytearray(first.read_bytes())
    data[100] ^= 1
    first.write_bytes(data)
    with pytest.raises(CheckpointDamaged):
        store.save(1, {}, unchanged=["world"])
    assert store.whole
    for tick in (1, 2):
        store.save(tick, {"world": np.zeros(100)})
    assert len(list(tmp_path.iterdir())) == 2
    assert [load(path).tick for path in generations(tmp_path).values()] == [2, 1]


def test_a_damaged_generation_of_a_former_process_does_not_push_out_a_good_one(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, run="r")
    store.save(0, {"world": 0})
    newest = store.save(1, {"world": 1}).path
    newest.write_bytes(newest.read_bytes()[:-1])
    store = Checkpoints(tmp_path, run="r")
    store.save(1, {"world": 1})
    third = generations(tmp_path)[3]
    third.write_bytes(b"")
    found = latest(tmp_path)
    assert found is not None
    assert (found.tick, len(found.skipped)) == (0, 1)


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


def test_a_full_disk_leaves_the_checkpoint_before_and_no_partial_file() -> None:
    with small_disk(512 * 1024) as disk:
        folder = disk / "c"
        store = Checkpoints(folder, run="r")
        state = {"world": np.arange(20_000)}
        store.save(0, state)
        store.save(1, {}, unchanged=["world"])
        before = sorted(folder.iterdir())
        with pytest.raises(DiskFull, match="free some space") as full:
            store.save(2, {"world": np.arange(40_000)})
        assert full.value.exit_code == 7
        assert store.whole
        assert sorted(folder.iterdir()) == before
        found = latest(folder)
        assert found is not None
        assert (found.tick, found.skipped) == (1, ())
        assert same(found.blocks["world"], state["world"])
        store.save(2, {"world": np.arange(15_000)})
        assert latest(folder).tick == 2  # type: ignore[union-attr]


@pytest.mark.parametrize("limit", [0, 4, 100, 4000, 8200])
def test_a_quota_on_the_files_size_is_a_full_disk(tmp_path: Path, limit: int) -> None:
    store = Checkpoints(tmp_path, run="r")
    store.save(0, {"world": np.arange(1000)})
    with file_size_limit(limit), pytest.raises(DiskFull):
        store.save(1, {"world": np.arange(1, 1025)})
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint_file.file_name(1, 0)]
    store.save(1, {"world": np.arange(5)})
    assert latest(tmp_path).tick == 1  # type: ignore[union-attr]


WRITER = """
import os, sys
from pathlib import Path
from populace.cluster.checkpoint import Checkpoints
from populace.cluster.checkpoint_blocks import Rows

folder, stop_at = Path(sys.argv[1]), int(sys.argv[2])
calls = 0

def stall(name, real):
    def call(*args, **options):
        global calls
        calls += 1
        if calls == stop_at:
            print("stalled", flush=True)
            sys.stdin.read()
        return real(*args, **options)
    return call

os.write, os.fsync = stall("write", os.write), stall("fsync", os.fsync)
Path.rename, Path.unlink = stall("rename", Path.rename), stall("unlink", Path.unlink)
store = Checkpoints(folder, run="r")
store.save(0, {"rows": Rows({n: b"0" * 100 for n in range(2000)}, whole=True), "tick": 0})
print(0, flush=True)
for tick in range(1, 40):
    store.save(tick, {"rows": Rows({tick: str(tick).encode()}), "tick": tick})
    print(tick, flush=True)
"""


@pytest.mark.parametrize("stop_at", [2, 9, 16, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 120])
def test_what_save_returned_for_outlives_a_kill_at_any_step(tmp_path: Path, stop_at: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), str(stop_at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        done = -1
        for line in child.stdout:
            if line == "stalled\n":
                break
            done = int(line)
        else:
            raise AssertionError("the writer was never stalled")
        child.kill()
    found = latest(tmp_path)
    if done < 0:
        assert found is None or found.tick == 0
        return
    assert found is not None
    assert found.skipped == ()
    assert found.tick in (done, done + 1)
    assert found.blocks["tick"] == found.tick
    assert found.blocks["rows"] == {n: str(n).encode() if 1 <= n <= found.tick else b"0" * 100 for n in range(2000)}
    resumed = Checkpoints(tmp_path, run="r")
    for tick in range(3):
        resumed.save(found.tick + tick, {"tick": tick})
    assert len(list(tmp_path.iterdir())) == 2, "what the killed process left is cleared away"


def test_a_generation_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(descriptor: int) -> None:
        steps.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        real_fsync(descriptor)

    def rename(self: Path, target: Path) -> Path:
        steps.append(f"rename {self.name}")
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    path = Checkpoints(tmp_path, run="r").save(0, {"world": 1}).path
    aside = path.name + checkpoint_file.TEMPORARY
    assert steps == [f"sync {aside}", f"rename {aside}", f"sync {tmp_path.name}"]
