"""Generations whose pieces several processes write: damaged, torn by a kill, full disks, folders that are another's."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.checkpoint_support import same
from support.damaging import corrupt
from support.full_disk import file_size_limit

from populace.core.errors import DiskFull, StorageError
from populace.kernel.blocks import Rows
from populace.store.checkpoint import file as checkpoint_file
from populace.store.checkpoint import reach
from populace.store.checkpoint.file import Author, Piece, generations, read_contents
from populace.store.checkpoint.generations import Checkpoints, check, latest
from populace.store.place import remove_own

SHARDS, ROWS = 3, 240
WORLD = Author(0, SHARDS)


class Hosts:
    """Shards and a world that write pieces of one folder, and the driver; `states` has what each tick's state was."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.driver, *self.hosts = (Checkpoints(folder, run="r") for _ in range(SHARDS + 2))
        self.rng = random.Random(5)
        self.rows: dict[int, bytes] = {}
        self.moods = np.arange(40_000, dtype=np.float64)
        self.states: dict[int, dict[str, Any]] = {}

    def pieces(self, tick: int) -> list[Piece]:
        whole, number = self.driver.whole, self.driver.next_number
        delta = {n: self.rng.randbytes(20) for n in (range(ROWS) if whole else self.rng.sample(range(ROWS), 5))}
        self.rows.update(delta)
        self.moods = self.moods.copy()
        self.moods[tick] = -1.0
        pieces = []
        for shard, host in enumerate(self.hosts[:SHARDS]):
            mine = {row: data for row, data in delta.items() if row % SHARDS == shard}
            rows = {row: data for row, data in self.rows.items() if row % SHARDS == shard} if whole else mine
            ids = np.arange(shard, len(self.moods), SHARDS, dtype=np.int32)
            blocks = {
                "agents": Rows(rows, whole=whole),
                "timers/tick": np.full(2, tick + shard),
                "timers/agent": np.array([shard, shard + SHARDS], np.int32),
                "columns/one/id": ids,
                "columns/one/mood": self.moods[ids],
            }
            pieces.append(host.write_piece(Author(0, shard), number, tick, blocks, whole=whole))
        world = {"world/parts/feed/seen": np.arange(500) + tick, "world/tick": tick}
        pieces.append(self.hosts[SHARDS].write_piece(WORLD, number, tick, world, whole=whole))
        return pieces

    def save(self, tick: int) -> None:
        self.driver.save(tick, {**_shard({}), "world": {}, "facts": [tick]}, pieces=self.pieces(tick))
        timers = sorted((tick + shard, agent) for shard in range(SHARDS) for agent in (shard, shard + SHARDS))
        self.states[tick] = {
            "agents": dict(sorted(self.rows.items())),
            "timers/tick": np.array([at for at, _ in timers]),
            "timers/agent": np.array([agent for _, agent in timers], np.int32),
            "columns/one/id": np.arange(len(self.moods), dtype=np.int32),
            "columns/one/mood": self.moods,
            "world/parts/feed/seen": np.arange(500) + tick,
            "world/tick": tick,
            "facts": [tick],
        }


def _shard(rows: dict[int, bytes]) -> dict[str, Any]:
    none = np.empty(0, np.int64)
    return {"agents": Rows(rows, whole=True), "timers/tick": none, "timers/agent": none.astype(np.int32)}


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    made = Hosts(tmp_path)
    for tick in range(8):
        made.save(tick)
    return made


def holds(folder: Path, states: dict[int, dict[str, Any]]) -> int:
    """The tick of the newest good generation, which is what it was."""
    found = latest(folder, run="r")
    assert found is not None
    assert same(dict(sorted(found.blocks.items())), dict(sorted(states[found.tick].items())))
    return found.tick


def test_pieces_are_one_state_and_what_did_not_change_is_not_written_again(hosts: Hosts) -> None:
    assert holds(hosts.folder, hosts.states) == 7
    newest = generations(hosts.folder)[8]
    contents = check(newest)
    assert [one.author for one in contents.pieces] == [*(Author(0, shard) for shard in range(SHARDS)), WORLD]
    assert all(one.length < 20_000 for one in contents.pieces), "columns of 100 kB, of which a row changed"
    assert contents.files == {path.name for path in hosts.folder.iterdir()} - _other_line(hosts)


def _other_line(hosts: Hosts) -> set[str]:
    other = generations(hosts.folder)[7]
    return {other.name, *read_contents(other).files}


def test_damages_fall_back_one_generation_and_nothing_false_is_read(hosts: Hosts) -> None:
    rng, files = random.Random(6), sorted(hosts.folder.iterdir())
    newest = generations(hosts.folder)[8]
    needed = {newest.name, *read_contents(newest).files}
    fell_back = 0
    for _ in range(150):
        file = rng.choice(files)
        data = file.read_bytes()
        while (changed := corrupt(rng, data)) == data:
            pass
        file.write_bytes(changed)
        tick = holds(hosts.folder, hosts.states)
        file.write_bytes(data)
        assert tick == 7 or file.name in needed
        assert tick == 6 or not file.name.startswith("g00000008")
        fell_back += tick == 6
    assert 30 < fell_back < 120
    assert holds(hosts.folder, hosts.states) == 7


@pytest.mark.parametrize("case", ["missing", "another's", "of another generation", "control"])
def test_a_generation_without_one_of_its_pieces_is_not_there(hosts: Hosts, case: str, monkeypatch) -> None:
    pieces = read_contents(generations(hosts.folder)[8]).pieces
    path = hosts.folder / pieces[1].file
    if case == "missing":
        path.unlink()
    elif case == "another's":
        path.write_bytes((hosts.folder / pieces[0].file).read_bytes())
    else:
        # One that is good by itself and not what the generation names: as an attempt that is over would leave it.
        late = Checkpoints(hosts.folder, run="r")
        late.write_piece(pieces[1].author, 8, 7, _shard({1: b"false"}), whole=True)
    if case == "control":
        read = checkpoint_file.read_contents
        monkeypatch.setattr(checkpoint_file, "read_contents", lambda path, _=None: read(path))
        with pytest.raises(AssertionError):
            holds(hosts.folder, hosts.states)
        return
    assert holds(hosts.folder, hosts.states) == 6
    found = latest(hosts.folder, run="r")
    assert found is not None
    assert path.name in found.skipped[0]


def test_a_piece_that_is_not_here_as_reported_makes_no_generation(hosts: Hosts) -> None:
    pieces = hosts.pieces(8)
    (hosts.folder / pieces[2].file).unlink()
    with pytest.raises(StorageError, match="s0002"):
        hosts.driver.save(8, {"facts": [8]}, pieces=pieces)
    assert hosts.driver.whole
    assert holds(hosts.folder, hosts.states) == 7
    hosts.save(9)
    assert holds(hosts.folder, hosts.states) == 9


def test_a_full_disk_at_one_host_leaves_what_was_and_the_next_save_is_whole(hosts: Hosts) -> None:
    with file_size_limit(300), pytest.raises(DiskFull):
        hosts.pieces(8)
    assert not list(hosts.folder.glob("*.part"))
    assert holds(hosts.folder, hosts.states) == 7
    hosts.driver._forget()  # what the run's store does
    hosts.save(8)
    assert holds(hosts.folder, hosts.states) == 8
    hosts.save(9)
    hosts.save(10)
    assert holds(hosts.folder, hosts.states) == 10
    assert {path.name for path in hosts.folder.iterdir()} == {
        name for number in (10, 11) for path in [generations(hosts.folder)[number]]
        for name in (path.name, *read_contents(path).files)
    }, "nothing is left of the save that failed"  # fmt: skip


@pytest.mark.parametrize("nth", range(1, 16, 2))
def test_a_host_killed_at_any_moment_of_its_piece_leaves_the_generation_before(hosts: Hosts, nth: int) -> None:
    """A process that is killed at its nth write, sync or rename: the others' pieces are there, its own may be."""
    child = os.fork()
    if not child:  # pragma: no cover
        calls = 0

        def dying(real: Any) -> Any:
            def call(*args: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == nth:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args)

            return call

        os.write, os.fsync, Path.rename = dying(os.write), dying(os.fsync), dying(Path.rename)  # type: ignore[method-assign]
        hosts.pieces(8)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) == (nth < 16)
    assert holds(hosts.folder, hosts.states) == 7
    again = Hosts(hosts.folder)  # the next attempt
    for tick in (8, 9):
        again.save(tick)
        assert holds(hosts.folder, again.states) == tick
    assert not list(hosts.folder.glob("*.part")), "what was torn is gone"


def test_a_folder_is_reached_by_who_finds_what_was_left_there(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    probe = reach.ask(here)
    assert reach.answer(probe, 0)
    assert reach.answered(probe, 0)
    assert not reach.answered(probe, 1), "nobody answered for it"
    # The same path on another machine, where there is a folder too.
    here.rename(there)
    assert not reach.answer(probe, 2)
    here.mkdir()
    (here / probe.name).write_bytes(b"a guess")
    assert not reach.answer(probe, 2)
    (here / f"{probe.name}-2").write_bytes(b"a guess")
    assert not reach.answered(probe, 2)
    reach.withdraw(probe)
    assert not list(here.iterdir())
    # What a killed driver left goes with the checkpoints.
    Checkpoints(there, run="r").write_piece(Author(0, 1), 1, 0, {"x": 1}, whole=True)
    assert len(list(there.iterdir())) == 3
    remove_own(there)
    assert not there.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_can_only_be_read_is_not_reached(tmp_path: Path) -> None:
    probe = reach.ask(tmp_path)
    tmp_path.chmod(0o500)
    assert not reach.answer(probe, 0)
    tmp_path.chmod(0o700)
