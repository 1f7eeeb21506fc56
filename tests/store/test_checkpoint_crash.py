"""A checkpoint whose process or disk ends in the middle: what `save` returned for outlives it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.checkpoint_support import same
from support.full_disk import file_size_limit, small_disk

from populace.core.errors import DiskFull
from populace.store.checkpoint import file as checkpoint_file
from populace.store.checkpoint.generations import Checkpoints, latest


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
from populace.store.checkpoint.generations import Checkpoints
from populace.kernel.blocks import Rows

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
