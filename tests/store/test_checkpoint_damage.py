"""A damaged checkpoint: it costs one generation at most, and nothing false is read as good."""

from __future__ import annotations

import errno
import random
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from support.checkpoint_support import make_history, same
from support.damaging import corrupt
from support.reading import read_all

from populace.core.errors import CheckpointDamaged
from populace.kernel import blocks as checkpoint_blocks
from populace.store.checkpoint import file as checkpoint_file
from populace.store.checkpoint.file import generations
from populace.store.checkpoint.generations import Checkpoints, check, latest, load


def test_a_thousand_damages_fall_back_one_generation_and_nothing_false_is_read(tmp_path: Path) -> None:
    states = make_history(tmp_path)
    files = sorted(tmp_path.iterdir())
    assert len(files) > 4, "the newest generations refer to older files"
    newest = generations(tmp_path)[12]
    mine = {part.file for entry in checkpoint_file.read_contents(newest).blocks.values() for part in entry.parts}
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


def test_without_the_checksum_damage_would_be_read_as_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Checkpoints(tmp_path, run="r").save(0, {"world": np.zeros(2000)})
    file = next(tmp_path.iterdir())
    data = bytearray(file.read_bytes())
    data[5000] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointDamaged):
        load(file)
    contents = checkpoint_file.read_contents(file)
    constant = contents.blocks["world"].parts[0].digest
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
        contents = checkpoint_file.read_contents(newest)
        (tmp_path / contents.blocks["world"].parts[0].file).unlink()
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


def test_claims_of_a_table_of_contents_are_bounded_before_memory_is_taken(tmp_path: Path) -> None:
    """A table of contents with a checksum that fits may still claim anything: each claim is tested against the file."""
    Checkpoints(tmp_path, run="r").save(0, {"world": np.zeros(10)})
    path = next(tmp_path.iterdir())
    true = checkpoint_file.read_contents(path)
    entry = true.blocks["world"]
    (part,) = entry.parts
    shape = checkpoint_blocks.Shape
    for new_shape, new_part in [
        (shape("array", "<f8", (2**50,)), part),
        (shape("array", "<f8", (-1, -10)), part),
        (shape("array", "|O8", (10,)), part),
        (shape("array", "<M8[s]", (10,)), part),
        (shape("array", "<f8", (2**33,)), checkpoint_file.Extent(part.file, part.offset, 2**36, part.digest)),
        (shape("bytes"), checkpoint_file.Extent(part.file, part.offset, 2**45, part.digest)),
        (shape("bytes"), checkpoint_file.Extent("../" + part.file, part.offset, part.length, part.digest)),
        (shape("rows"), part),
        (shape("strings", "", (3,)), part),
    ]:
        claim = checkpoint_file.BlockEntry(new_shape, (new_part,))
        writer = checkpoint_file.GenerationWriter(tmp_path, 7, 0)
        writer.part(np.zeros(10).tobytes())
        writer.finish(checkpoint_file.Contents("r", 0, 7, {"world": entry, "claim": claim}))
        writer.close()
        with pytest.raises(CheckpointDamaged):
            load(writer.path)
    with pytest.raises(ValueError, match="too many"):
        checkpoint_blocks.room_for(shape("plain"), checkpoint_blocks.PLAIN_BYTES + 1)
    with pytest.raises(ValueError, match="extension"):
        checkpoint_blocks.decode_block(shape("plain"), bytearray(msgpack.packb(msgpack.ExtType(5, b"x"))))


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
