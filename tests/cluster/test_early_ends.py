"""Runs that end early by a signal or by a full disk, and go on once they can."""

from __future__ import annotations

import shutil
import signal
import time

import pytest
from support.attempts import go, same_tables
from support.chaos import Command, Provider, name_of, options_of, resume_here, run_here
from support.full_disk import small_disk
from support.misbehaving import HANG, Misbehaving
from support.running import SOCIETIES

from populace.core.errors import DiskFull
from populace.runs.courses import resume_course
from populace.store.checkpoint.generations import latest
from populace.store.manifest import read_manifest

GONE_S = 60.0
ANSWERED, IN_FLIGHT = 115, 8
"""Calls before the provider hangs, amid a tick; and how many may be open at once."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The run that all others must come to."""
    out = tmp_path_factory.mktemp("undisturbed")
    with Provider() as provider:
        return run_here(out, **options_of(provider)), out


class Stuck(Provider):
    """Answers so many calls, and from then on no call in 120 s or more."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.plan = lambda seen: HANG if seen.nth >= calls else self._act_on(seen)


@pytest.mark.parametrize("transport", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_sigterm_while_calls_hang_ends_a_run_soon_and_it_goes_on(tmp_path, request, undisturbed, transport):
    whole, folder = undisturbed
    env = {}
    if transport == "ray":
        ray = request.getfixturevalue("ray_cluster")
        env["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    out = tmp_path / "run"
    args = ["run", SOCIETIES, "--out", str(out), "--seed", "7", "--transport", transport]
    with Stuck(ANSWERED) as provider:
        options = {**options_of(provider), "limits__failed_turns": 1.0, "endpoint__timeout_s": 120.0}
        for key, value in options.items():
            args += ["--set", f"{key.replace('__', '.')}={value}"]
        command = Command(*args, cwd=tmp_path, **env)
        # How many of the calls that may be open at once there are to make depends on which asks were answered before.
        deadline_s, calls, since_s = time.monotonic() + 120, 0, time.monotonic()
        while time.monotonic() < deadline_s and (calls <= ANSWERED or time.monotonic() < since_s + 2.0):
            time.sleep(0.05)
            if provider.calls != calls:
                calls, since_s = provider.calls, time.monotonic()
        if not ANSWERED < provider.calls <= ANSWERED + IN_FLIGHT:
            command.process.kill()
            command.wait(GONE_S)
            pytest.fail(f"{provider.calls} calls were made, and those after {ANSWERED} were to hang")
        command.process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        code = command.wait(GONE_S)
        assert time.monotonic() - began_s < GONE_S
    assert code == 130, command.errors
    manifest = read_manifest(out)
    assert manifest["status"] == "interrupted"
    assert manifest["trace_hashes"] == whole["trace_hashes"][: manifest["ticks"]]
    hung = {name_of(seen) for seen in provider.seen[ANSWERED:]}
    answered = {name_of(seen) for seen in provider.seen[:ANSWERED]}
    with Provider() as healthy:
        resumed = resume_here(out, endpoint__base_url=healthy.base_url)
        asked = {name_of(seen) for seen in healthy.seen}
    assert not asked & answered, "an answer that was there was paid for once more"
    assert hung <= asked
    assert len(asked) == len(healthy.seen) == whole["calls_billed"] - ANSWERED
    assert resumed["trace_hashes"] == whole["trace_hashes"]
    same_tables(out, folder)


@pytest.mark.parametrize("room_bytes", [4_000, 24_000, 60_000, 90_000, 120_000])
def test_a_full_disk_ends_a_run_and_it_goes_on_once_there_is_space(tmp_path, undisturbed, room_bytes):
    """The disk fills up at a record, a checkpoint, a table's part or at the end: there is a ballast to remove."""
    whole, folder = undisturbed
    with small_disk(1_000_000) as disk, Provider() as provider:
        out, ballast = disk / "run", disk / "ballast"
        ballast.write_bytes(bytes((1_000_000 - room_bytes) // 4096 * 4096))
        with pytest.raises(DiskFull, match="space") as ended:
            run_here(out, **options_of(provider))
        assert ended.value.exit_code == 7
        assert "resume" in str(ended.value)
        assert not list(out.rglob("*.part")), "nothing half written is left"
        if (out / "manifest.json").exists():
            assert read_manifest(out)["status"] == "failed"
        saved = latest(out / "checkpoints") if (out / "checkpoints").exists() else None
        assert saved is None or saved.skipped == (), "what has its name is whole"
        ballast.unlink()
        if not (out / "run.json").exists():
            assert provider.calls == 0
            return
        began = resume_here(out, endpoint__base_url=provider.base_url)
        assert began["began_at_tick"] == (0 if saved is None else saved.tick)
        assert len(provider.twice()) <= IN_FLIGHT, "more was paid for once more than could not be put on record"
        assert began["trace_hashes"] == whole["trace_hashes"]
        same_tables(out, folder)


def test_a_full_disk_by_the_command_line(tmp_path):
    """Exit code 7 and a message with the next step, twice; then there is space."""
    with small_disk(1_000_000) as disk, Misbehaving() as server:
        (disk / "ballast").write_bytes(bytes(900_000))
        args = ["run", "polarization", "--out", str(disk / "run"), "--agents", "60", "--ticks", "4"]
        place = {"model.kind": "openai", "model.name": "test-model", "endpoint.base_url": server.base_url}
        for key, value in place.items():
            args += ["--set", f"{key}={value}"]
        command = Command(*args, "--set", "checkpoint.every_ticks=1", cwd=tmp_path)
        assert command.wait() == 7, command.errors
        assert "free some space" in "".join(command.errors).lower()
        assert Command("resume", str(disk / "run"), cwd=tmp_path).wait() == 7
        (disk / "ballast").unlink()
        command = Command("resume", str(disk / "run"), cwd=tmp_path)
        assert command.wait() == 0, command.errors
        shutil.copytree(disk / "run", tmp_path / "copy")
    assert read_manifest(tmp_path / "copy")["status"] == "complete"


def test_control_a_journal_that_hides_a_full_disk_loses_answers(tmp_path, undisturbed, monkeypatch):
    """What could not be put on record is paid for again, and the test of it notices."""
    from populace.store.journal.recording import Recording

    monkeypatch.setattr(Recording, "_put_down", lambda _self, _records, answers, deliver: deliver(answers))
    with Provider() as provider:
        options = options_of(provider, checkpoint__every_ticks=4)
        assert go(tmp_path, stop_at=3, **options) is None
        monkeypatch.undo()
        shutil.rmtree(tmp_path / "checkpoints")  # the interrupt saved the last whole tick, which hides what is lost
        go(tmp_path, going=resume_course(tmp_path))
        assert len(provider.twice()) > IN_FLIGHT
