"""The world's state is in the trace: one hash for the same run in any life, and what a changed part does is named."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from msgspec.structs import replace
from support.attempts import go
from support.command import populace
from support.worldly import __file__ as worldly

from populace.cli.diff import diff
from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import WorldDiverged
from populace.core.trace import WorldHashes, WorldTrace
from populace.env.feed.posts import Posts
from populace.runs.courses import fork_course, recorded_traces, replay_course, resume_course
from populace.runs.diff import diff_runs
from populace.runs.diff_text import print_diff
from populace.runs.replay import Replayed, replay_run
from populace.store.folder import read_run_file, write_run_file
from populace.store.manifest import read_manifest

TICKS = 8
SOURCE = Path(worldly).read_text(encoding="utf-8")
CHANGES = {
    "board": ("EXTRA_LIKE_IN_TICK = None", "EXTRA_LIKE_IN_TICK = 3"),
    "fund": ("RATE * args", "(RATE if tick < 3 else 0.2) * args"),
}


def hashes_of(manifest: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(manifest[key] for key in ("trace_hashes", "world_hash", "world_hashes", "world_parts"))


@pytest.fixture(scope="module")
def scenario(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("scenario") / "mine.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, scenario) -> Path:
    out = tmp_path_factory.mktemp("recorded") / "run"
    go(out, scenario=str(scenario))
    return out


@pytest.fixture
def replay_with(tmp_path, scenario, recorded):
    """Replay the recorded run with the scenario's file changed."""

    def replay(old: str, new: str, shards: int = 1) -> Replayed:
        assert SOURCE.count(old) == 1
        scenario.write_text(SOURCE.replace(old, new), encoding="utf-8")
        try:
            return replay_run(replay_course(recorded, shards=shards), recorded, tmp_path / "again")
        finally:
            scenario.write_text(SOURCE, encoding="utf-8")

    return replay


def test_the_manifest_has_a_hash_of_the_world_for_every_tick_and_of_every_part(recorded):
    manifest = read_manifest(recorded)
    assert len(set(manifest["world_hashes"])) == TICKS
    assert manifest["world_hash"] == manifest["world_hashes"][-1]
    assert sorted(manifest["world_parts"]) == ["board", "clock", "columns", "fund", "network"]
    for name, digests in manifest["world_parts"].items():
        assert len(digests) == TICKS
        assert len(set(digests)) == (1 if name == "clock" else TICKS)


@pytest.mark.parametrize("shards", [2, 5])
def test_any_number_of_shards_gives_the_same(tmp_path, scenario, recorded, shards):
    assert hashes_of(go(tmp_path, scenario=str(scenario), shards=shards)) == hashes_of(read_manifest(recorded))


@pytest.mark.parametrize("shards", [1, 3])
def test_a_run_that_is_stopped_and_gone_on_with_gives_the_same(tmp_path, scenario, recorded, shards):
    assert go(tmp_path, scenario=str(scenario), stop_at=3, checkpoint__every_ticks=2) is None
    assert go(tmp_path, stop_at=6, going=resume_course(tmp_path, shards=shards)) is None
    assert len(recorded_traces(tmp_path)[1].hashes) == 6
    assert hashes_of(go(tmp_path, going=resume_course(tmp_path))) == hashes_of(read_manifest(recorded))


@pytest.mark.parametrize("at_tick", [0, 4])
def test_a_fork_gives_the_same(tmp_path, recorded, at_tick):
    assert hashes_of(go(tmp_path, going=fork_course(recorded, at_tick))) == hashes_of(read_manifest(recorded))


@pytest.mark.parametrize("at_tick", [3, 4])
def test_a_lever_at_a_tick_is_not_in_the_worlds_hash_of_the_tick_before(tmp_path, recorded, at_tick):
    going = fork_course(recorded, at_tick, levers=["change={group='all', fields={coins=5}}"])
    forked, whole = go(tmp_path, going=going), read_manifest(recorded)
    assert forked["world_hashes"][:at_tick] == whole["world_hashes"][:at_tick]
    assert forked["world_hashes"][at_tick] != whole["world_hashes"][at_tick]


def test_a_replay_agrees(recorded, tmp_path):
    replayed = replay_run(replay_course(recorded, shards=2), recorded, tmp_path)
    assert replayed.diverged is None
    assert replayed.ticks == TICKS
    assert "every trace hash agrees" in replayed.text()


@pytest.mark.parametrize("part", CHANGES)
def test_a_replay_names_a_part_that_does_something_else_and_from_which_tick(replay_with, part):
    replayed = replay_with(*CHANGES[part], shards=2)
    diverged = replayed.diverged
    assert isinstance(diverged, WorldDiverged)
    assert (diverged.tick, diverged.parts, diverged.exit_code) == (3, (part,), 9)
    assert (replayed.ticks, replayed.recorded) == (TICKS, TICKS), "the trace itself is the same"
    said = replayed.text()
    assert "every trace hash agrees" in said
    assert f"the world's state differs from the one on record from tick 3 on in part '{part}'" in said
    assert "Nothing that agents did or were asked differs" in said


def test_control_what_no_digest_is_told_of_no_replay_finds(replay_with, recorded, tmp_path, monkeypatch):
    """A like that the posts' digests do not hear of goes unseen, here and in the test above."""

    def like_unheard(posts: Posts, liked: Any, agents: Any) -> Any:
        with monkeypatch.context() as deaf:
            deaf.setattr(posts, "_digests", None)
            return like_each(posts, liked, agents)

    like_each = Posts.like_each
    monkeypatch.setattr(Posts, "like_each", like_unheard)
    monkeypatch.setattr(Posts, "digest", lambda _self: bytes(16))
    once = go(tmp_path / "once", scenario=str(Path(worldly)))
    changed = tmp_path / "changed.py"
    changed.write_text(SOURCE.replace(*CHANGES["board"]), encoding="utf-8")
    assert hashes_of(go(tmp_path / "twice", scenario=str(changed))) == hashes_of(once)


def test_where_the_trace_differs_later_both_are_told_and_the_worlds_comes_first(replay_with):
    old, new = "        self.coins += lot.integer(3)\n", "        self.coins += lot.integer(3) + (ctx.tick == 5)\n"
    source = SOURCE.replace(*CHANGES["board"])
    assert source.count(old) == 1
    replayed = replay_with(SOURCE, source.replace(old, new))
    assert replayed.diverged is not None
    assert not isinstance(replayed.diverged, WorldDiverged)
    assert replayed.diverged.tick == 5
    assert "from tick 3 on in part 'board'" in replayed.why.splitlines()[0]
    assert "first difference: " in replayed.why


def test_diff_names_a_difference_in_the_world_alone(tmp_path, recorded):
    changed = tmp_path / "changed.py"
    changed.write_text(SOURCE.replace(*CHANGES["board"]), encoding="utf-8")
    go(tmp_path / "run", scenario=str(changed))
    diff = diff_runs(recorded, tmp_path / "run")
    assert (diff.parted_at, diff.world_parted_at, diff.world_parts, diff.identical) == (None, 3, ["board"], False)
    shown = io.StringIO()
    print_diff(diff, shown)
    assert "What agents did is identical in the 8 ticks." in shown.getvalue()
    assert "The world's state differs from the end of tick 3 on, in part board." in shown.getvalue()
    assert diff_runs(recorded, recorded).identical


def test_the_command_line_ends_with_9_where_the_world_alone_differs(tmp_path, scenario, recorded):
    run = tmp_path / "run"
    shutil.copytree(recorded, run)
    file = read_run_file(run)
    changed = tmp_path / "changed.py"
    changed.write_text(SOURCE.replace(*CHANGES["fund"]), encoding="utf-8")
    (run / "run.json").write_text((run / "run.json").read_text().replace(file.origin, str(changed)))
    done = populace("replay", str(run), "--trust", cwd=tmp_path)
    assert done.returncode == 9, done.stderr
    assert "from tick 3 on in part 'fund'" in done.stdout
    shown = populace("diff", str(run), str(recorded), cwd=tmp_path)
    assert (shown.returncode, "identical in the 8 ticks" in shown.stdout) == (0, True)


def test_a_fork_tells_of_a_world_that_is_another_than_its_parents_and_goes_on(tmp_path, recorded):
    """As where a sum came out otherwise on another machine: the first chain is not broken by it."""
    going = fork_course(recorded, 5)
    other = WorldHashes(["0" * 32, *going.course.expected_world.hashes[1:]], going.course.expected_world.parts)
    going = replace(going, course=replace(going.course, expected_world=other))
    notes: list[str] = []

    class Hearing:
        def begin(self, *_: object) -> None: ...
        def pulse(self, _: object) -> None: ...
        def tick(self, _: object) -> None: ...
        def end(self, *_: object) -> None: ...
        def note(self, text: str) -> None:
            notes.append(text)

    coordinator = Coordinator(going.origin, going.settings, LocalTransport(), tmp_path, [Hearing()], going.course)
    assert asyncio.run(coordinator.run())["status"] == "complete"
    assert [note for note in notes if "the world's state differs from the one on record from tick 0 on" in note]


def test_a_run_of_version_1_has_no_hash_of_the_world_in_any_life(tmp_path, scenario, recorded):
    run = tmp_path / "run"
    assert go(run, scenario=str(scenario), stop_at=3, checkpoint__every_ticks=2) is None
    write_run_file(run, replace(read_run_file(run), trace_version=1))
    shutil.rmtree(run / "checkpoints")
    old = go(run, going=resume_course(run))
    assert (old["world_hash"], old["world_hashes"], old["world_parts"]) == (None, [], {})
    assert replay_run(replay_course(run), run, tmp_path / "again").diverged is None
    diff = diff_runs(run, recorded)
    assert diff.world_parted_at is None
    assert any("A left no hashes of the world's state" in note for note in diff.notes)


def test_the_chain_covers_ticks_parts_and_names():
    digests = {"a": bytes(16), "b": bytes(range(16))}
    hashes = {
        WorldTrace().commit(0, digests), WorldTrace().commit(1, digests), WorldTrace().commit(0, {"a": bytes(16)}),
        WorldTrace().commit(0, {"a": digests["b"], "b": digests["a"]}), WorldTrace().commit(0, {"c": bytes(16)}),
    }  # fmt: skip
    assert len(hashes) == 5
    whole, first = WorldTrace(), WorldTrace()
    for tick in range(4):
        whole.commit(tick, digests)
    first.commit(0, digests)
    first.commit(1, dict(reversed(digests.items())))
    again = WorldTrace(first.record)
    again.commit(2, digests)
    again.commit(3, {**digests, "b": bytes(16)})
    assert again.record.difference(whole.record) == (3, ["b"])
    assert first.record.difference(whole.record) is None
    assert len(first.record.hashes) == 2, "going on from a record leaves it as it was"


def test_a_diff_tells_by_its_exit_code_that_the_world_alone_differs(recorded, tmp_path, capsys):
    """Control: a run is the same as itself; without the option a difference is what was asked for, not a failure."""
    shutil.copytree(recorded, tmp_path / "run")
    manifest = tmp_path / "run" / "manifest.json"
    about = json.loads(manifest.read_text())
    about["world_hashes"][3:] = ["0" * 32] * len(about["world_hashes"][3:])
    manifest.write_text(json.dumps(about))
    diff(str(tmp_path / "run"), str(recorded))
    diff(str(recorded), str(recorded), exit_code=True)
    capsys.readouterr()
    with pytest.raises(typer.Exit) as ended:
        diff(str(tmp_path / "run"), str(recorded), exit_code=True)
    assert ended.value.exit_code == 9
    assert "The world's state differs from the end of tick 3 on" in capsys.readouterr().out
