"""Forks that begin where their parent kept its state: what they would have been had they recomputed it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.attempts import asked, go, same_tables
from support.command import populace

from populace.core.errors import Diverged, StorageError
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.runs.replay import replay_run
from populace.store import folder as folder_module
from populace.store import graft
from populace.store.checkpoint.file import TEMPORARY, file_name
from populace.store.journal.index import JournalIndex
from populace.store.kept import KEPT, kept_ticks
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table

assert asked  # a fixture

AT = 5
LEVERS = (
    "at=5, until=6, set={society.reach=30, world.feed.show=3}",
    'at=5, name="note", send={to={share=0.2}, body={n=1}}',
    'at=5, until=7, name="wall", block={sender={where={mood={min=0.5}}}}',
    'at=5, name="calm", change={group={share=0.5}, fields={mood=0, memory=["none"]}}',
    'name="hush", when={agents={mood={min=0.6}}}, at=5, lasts=2, again=2, block={sender="matching"}',
)
OF_THE_ATTEMPT = {"wall_s", "peak_rss_mb", "run", "attempt", "began_at_tick", "journal"}


@pytest.fixture(scope="module")
def parent(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("parent")
    go(out, checkpoint__kept_at=[2, 4, 6])
    return out


def forked(parent: Path, out: Path, at_tick: int = AT, *, recomputed: bool = False, **options: Any) -> dict[str, Any]:
    """A fork with levers of every kind; `recomputed` from tick 0."""
    going = fork_course(parent, at_tick, (), LEVERS if at_tick == AT else (), **options)
    if recomputed:
        going = msgspec.structs.replace(going, course=msgspec.structs.replace(going.course, graft=None))
    return go(out, going=going)


def figures(manifest: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in manifest.items() if key not in OF_THE_ATTEMPT}


@pytest.fixture(scope="module")
def recomputed(parent, tmp_path_factory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("recomputed")
    return forked(parent, out, recomputed=True), out


def same(one: Path, other: Path) -> None:
    same_tables(one, other)
    for name in ("levers", "rounds"):
        assert read_table(one, name).equals(read_table(other, name)), name


@pytest.mark.parametrize("shards", [1, 3])
def test_a_fork_from_a_kept_state_is_the_fork_that_recomputes_it(parent, recomputed, tmp_path, shards):
    manifest = forked(parent, tmp_path, shards=shards)
    expected, folder = recomputed
    assert (manifest["began_at_tick"], expected["began_at_tick"]) == (4, 0)
    assert manifest["asks"]["replayed"] > 0
    ours, theirs = figures(manifest), figures(expected)
    if shards == 1:
        assert ours == theirs
    assert all(ours[key] == theirs[key] for key in ("trace_hashes", "world_hashes", "asks", "saved", "calls_billed"))
    same(tmp_path, folder)


def test_only_what_diverged_is_asked(parent, tmp_path, asked):
    manifest = forked(parent, tmp_path / "fork")
    assert {tick for _, tick, _ in asked} <= set(range(AT, manifest["ticks"]))
    ours = list(asked)
    asked.clear()
    forked(parent, tmp_path / "recomputed", recomputed=True)
    assert sorted(ours) == sorted(asked)
    assert ours


def test_it_stands_alone_and_can_be_replayed_and_forked(parent, tmp_path):
    manifest = forked(parent, tmp_path / "fork")
    replayed = replay_run(replay_course(tmp_path / "fork"), tmp_path / "fork", tmp_path / "again")
    assert replayed.diverged is None
    again = forked(tmp_path / "fork", tmp_path / "of_fork", 3)
    assert again["trace_hash"] == manifest["trace_hash"]
    assert again["calls_billed"] == 0


@pytest.mark.parametrize("stop_at", [5, 6])
def test_it_is_gone_on_with_to_the_same_end(parent, recomputed, tmp_path, stop_at):
    assert go(tmp_path, going=fork_course(parent, AT, (), LEVERS), stop_at=stop_at) is None
    manifest = go(tmp_path, going=resume_course(tmp_path))
    assert manifest["trace_hashes"] == recomputed[0]["trace_hashes"]
    same(tmp_path, recomputed[1])


def test_killed_before_the_state_is_in_its_folder_it_begins_at_tick_0(parent, recomputed, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(graft, "to_blocks", kill)
        with pytest.raises(Killed):
            forked(parent, tmp_path)
    (tmp_path / "manifest.json").unlink(missing_ok=True)
    manifest = go(tmp_path, going=resume_course(tmp_path))
    assert manifest["began_at_tick"] == 0
    assert manifest["trace_hashes"] == recomputed[0]["trace_hashes"]
    same_tables(tmp_path, recomputed[1])


def test_a_state_that_is_damaged_is_recomputed_and_said(tmp_path, recomputed):
    go(tmp_path / "parent", checkpoint__kept_at=[4])
    (file,) = kept_ticks(tmp_path / "parent")[4].iterdir()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    manifest = forked(tmp_path / "parent", tmp_path / "fork")
    assert manifest["began_at_tick"] == 0
    assert manifest["trace_hashes"] == recomputed[0]["trace_hashes"]


def test_a_state_that_a_killed_run_had_saved_and_not_kept_yet_is_kept_as_it_goes_on(tmp_path, monkeypatch, recomputed):
    def killed(folder: Path, run: str, tick: int, blocks: Any) -> int:
        place = folder / KEPT / f"t{tick:08}"
        place.mkdir(parents=True)
        (place / f"{file_name(1, tick)}{TEMPORARY}").write_bytes(b"torn")
        raise StorageError("killed")

    out = tmp_path / "parent"
    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "keep", killed)
        with pytest.raises(StorageError, match="killed"):
            go(out, checkpoint__kept_at=[4])
    assert go(out, going=resume_course(out))["began_at_tick"] == 4
    (file,) = kept_ticks(out)[4].iterdir()
    assert file.name == file_name(1, 4)
    manifest = forked(out, tmp_path / "fork")
    assert manifest["began_at_tick"] == 4
    assert manifest["trace_hashes"] == recomputed[0]["trace_hashes"]
    same_tables(tmp_path / "fork", recomputed[1])


def test_a_state_of_other_tables_or_of_the_same_tick_is_not_used(parent):
    assert fork_course(parent, AT).course.graft.tick == 4
    assert fork_course(parent, 4).course.graft.tick == 2  # its levers read the world as tick 3 ends
    assert fork_course(parent, 2).course.graft is None
    assert fork_course(parent, AT, [("record.messages", False)]).course.graft is None


def test_levers_in_place_of_the_parents(tmp_path, recomputed, parent):
    """An arm with other levers forks from an arm with some."""
    manifest = forked(parent, tmp_path / "one")
    other = fork_course(tmp_path / "one", AT, (), ["at=5, set={society.reach=3}"], anew=True)
    assert [lever.set for lever in other.settings.levers] == [{"society.reach": 3}]
    from_parent = go(tmp_path / "two", going=fork_course(parent, AT, (), ["at=5, set={society.reach=3}"]))
    from_other = go(tmp_path / "three", going=other)
    assert from_parent["trace_hashes"] == from_other["trace_hashes"] != manifest["trace_hashes"]


def test_the_command_keeps_and_begins_there(tmp_path):
    base = ("polarization", "--model", "scripted", "--agents", "10", "--ticks", "4", "--seed", "3")
    done = populace("run", *base, "--set", "checkpoint.kept_at=[2]", "--out", "kept", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = populace("fork", "kept", "--at-tick", "3", "--lever", "block={sender=[1]}", "--out", "fork", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(tmp_path / "fork")
    assert (manifest["began_at_tick"], manifest["parent"]["at_tick"]) == (2, 3)


def lose_answers(patch) -> None:
    patch.setattr(JournalIndex, "before", lambda *_: iter(()))


def lose_rows(patch) -> None:
    take = graft._take_rows
    patch.setattr(graft, "_take_rows", lambda parent, out, name, rows, tick: take(parent, out, name, rows - 1, tick))


def lose_agents(patch) -> None:
    to_blocks = graft.to_blocks
    patch.setattr(graft, "to_blocks", lambda state: to_blocks(msgspec.structs.replace(state, agents={})))


def keep_costs(patch) -> None:
    patch.setattr(graft, "_replayed", lambda total, *_: total)


@pytest.mark.parametrize("broken", [lose_answers, lose_rows, lose_agents, keep_costs])
def test_control_what_is_lost_on_the_way_is_seen(parent, recomputed, tmp_path, broken):
    with pytest.MonkeyPatch.context() as patch:
        broken(patch)
        try:
            manifest = forked(parent, tmp_path)
        except Diverged:
            return
    expected, _ = recomputed
    answers = replay_course(tmp_path)
    replayed = replay_run(answers, tmp_path, tmp_path / "again")
    assert figures(manifest) != figures(expected) or replayed.diverged is not None or manifest["began_at_tick"] == 0
