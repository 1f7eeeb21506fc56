"""A run is paused, gone on with and ended by a file in its folder: it is the run that nobody asked anything of."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest
from support.attempts import go, same_tables
from support.running import SOCIETIES, settings_of

from populace.cluster.coordinator import Coordinator
from populace.cluster.local import LocalTransport
from populace.core.errors import Interrupted
from populace.data.societies import find_society
from populace.runs.courses import recorded_hashes, resume_course
from populace.store.control import CONTROL, Watch, controlled, forget, want, wanted
from populace.store.manifest import read_manifest

TICKS, AT = 6, 3


class Asking:
    """Asks it of the run as tick `AT` ends; where that is to pause, looks at it then, and asks it to go on."""

    def __init__(self, folder, wish, then="go") -> None:
        self.folder, self.wish, self.then = folder, wish, then
        self.notes: list[str] = []
        self.ticks: list[int] = []
        self.on_record: int | None = None
        self.coordinator: Coordinator | None = None

    def begin(self, *_: object) -> None: ...
    def end(self, *_: object) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)
        if text.startswith("paused"):
            self.on_record = len(recorded_hashes(self.folder))
            self.ticks.append(-1)
            if self.then == "signal":
                self.coordinator.stop()
            else:
                want(self.folder, self.then)

    def pulse(self, _: object) -> None: ...

    def tick(self, report) -> None:
        self.ticks.append(report.tick)
        if report.tick == AT and self.wish is not None:
            want(self.folder, self.wish)


def play(folder, wish, then="go", **options):
    asking = Asking(folder, wish, then)
    settings = settings_of(**{"ticks": TICKS, "checkpoint__every_s": 3600.0, **options})
    coordinator = asking.coordinator = Coordinator(
        find_society(SOCIETIES), settings, LocalTransport(), folder, [asking]
    )
    try:
        asyncio.run(coordinator.run())
    except Interrupted as error:
        return asking, str(error)
    return asking, None


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    play(folder, None)
    return folder


@pytest.mark.parametrize("shards", [1, 2])
def test_a_run_that_was_paused_is_the_run_that_was_not(tmp_path, undisturbed, shards):
    asking, error = play(tmp_path / "run", "pause", shards=shards)
    assert error is None
    assert asking.ticks.index(-1) == asking.ticks.index(AT) + 1, "it was paused at that edge and no other"
    assert asking.on_record == AT, "what is committed was saved before it waited"
    manifest, plain = read_manifest(tmp_path / "run"), read_manifest(undisturbed)
    for key in ("trace_hashes", "world_hashes", "turns", "asks", "messages", "calls_billed"):
        assert manifest[key] == plain[key], key
    same_tables(tmp_path / "run", undisturbed)
    assert [(one["wish"], one["tick"]) for one in manifest["controlled"]] == [("pause", AT), ("go", AT)]
    assert "controlled" not in plain
    assert wanted(tmp_path / "run") is None, "of a run that has ended nothing is asked"


def test_control_another_seed_is_another_run(tmp_path, undisturbed):
    play(tmp_path / "run", "pause", seed=8)
    assert read_manifest(tmp_path / "run")["trace_hashes"] != read_manifest(undisturbed)["trace_hashes"]


def test_a_run_that_was_asked_to_end_is_gone_on_with(tmp_path, undisturbed):
    asking, error = play(tmp_path / "run", "stop")
    assert f"before tick {AT}" in error
    stopped = read_manifest(tmp_path / "run")
    assert (stopped["status"], stopped["ticks"], asking.ticks[-1]) == ("interrupted", AT, AT)
    assert stopped["controlled"][0]["wish"] == "stop"
    manifest = go(tmp_path / "run", going=resume_course(tmp_path / "run"))
    plain = read_manifest(undisturbed)
    for key in ("trace_hashes", "world_hashes", "turns", "calls_billed"):
        assert manifest[key] == plain[key], key
    assert [one["wish"] for one in manifest["controlled"]] == ["stop"]


def test_a_run_that_is_paused_may_be_asked_to_end_or_get_a_signal(tmp_path):
    _, error = play(tmp_path / "asked", "pause", "stop")
    assert f"before tick {AT}" in error
    asking, error = play(tmp_path / "signalled", "pause", "signal")
    assert "interrupted" in error
    for name in ("asked", "signalled"):
        assert read_manifest(tmp_path / name)["ticks"] == AT
        assert len(recorded_hashes(tmp_path / name)) == AT
    assert asking.ticks[-1] in (-1, AT), "no tick was opened"


def test_what_was_asked_of_a_life_that_is_over_is_void(tmp_path):
    """A run that was killed while it was paused would else wait for ever when it is resumed."""
    go(tmp_path / "run", stop_at=2)
    want(tmp_path / "run", "pause")
    manifest = go(tmp_path / "run", going=resume_course(tmp_path / "run"))
    assert manifest["status"] == "complete"
    assert "controlled" not in manifest


def test_control_a_run_that_does_not_look_is_neither_paused_nor_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(Watch, "new", lambda self: None)
    asking, error = play(tmp_path / "run", "stop")
    assert error is None
    assert not [note for note in asking.notes if CONTROL in note]
    assert controlled(tmp_path / "run") == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"wish": "delete"}', b'"stop"', b"\xff", b"[" * 100_000])
def test_what_is_no_wish_is_named_and_the_run_goes_on(tmp_path, content):
    (tmp_path / CONTROL).write_bytes(content)
    watch = Watch(tmp_path)
    said = watch.new()
    assert isinstance(said, str)
    assert "pause, go or stop" in said
    assert watch.new() is None, "it is said once"
    want(tmp_path, "stop")
    assert watch.new().wish == "stop"
    forget(tmp_path)
    forget(tmp_path)
    assert wanted(tmp_path) is None


def test_a_script_may_write_the_file_too(tmp_path):
    (tmp_path / CONTROL).write_text(json.dumps({"wish": "pause", "by": "me"}))
    assert Watch(tmp_path).new().wish == "pause"
    assert msgspec.json.decode((tmp_path / CONTROL).read_bytes())["by"] == "me"
