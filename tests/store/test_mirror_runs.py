"""Whole runs whose folder is in an object store: moto's S3 server, real processes, a real kill."""
# ruff: noqa: F811

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from support.command import ended
from support.mirrored import server  # noqa: F401 - a fixture
from support.misbehaving import Misbehaving
from support.paging import controlling, paged, token_of, until
from support.running import SOCIETIES, run_local
from support.s3_server import ENVIRONMENT, Gate, S3Server

from populace.store.journal.read import read_journal
from populace.store.manifest import read_manifest
from populace.store.remote.lease import OWNER
from populace.store.remote.mirror import SHOWN, Mirror, local_folder
from populace.store.tables.tables import read_table

pytest.importorskip("s3fs")
SECRET = ENVIRONMENT["AWS_SECRET_ACCESS_KEY"]


class Model(Misbehaving):
    """Answers by a request's content; the calls from the `holds`-th on wait until that is another number or None."""

    def __init__(self, holds: int | None = None) -> None:
        super().__init__()
        self.holds = holds
        self.came = 0
        self.waiting = 0

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of a run that asks it."""
        settings = {"endpoint.base_url": self.base_url, "model.name": "test-model", "limits.failed_turns": 1.0,
                    "checkpoint.every_ticks": 1}  # fmt: skip
        chosen = (word for name, value in settings.items() for word in ("--set", f"{name}={value}"))
        return ("--model", "openai", "--seed", "7", "--ticks", "12", *chosen)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        nth, self.came = self.came, self.came + 1
        self.waiting += 1
        while self.holds is not None and nth >= self.holds:
            await asyncio.sleep(0.01)
        self.waiting -= 1
        return await super()._handle(request)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    with Model() as model:
        asked = {"model__kind": "openai", "model__name": "test-model", "endpoint__base_url": model.base_url}
        run_local(out, ticks=12, **asked)
    return out


def within(undisturbed: Path, tick: int) -> int:
    """The number of a call in the midst of a tick."""
    before = [at for at, _, _ in answers_of(undisturbed / "journal")]
    assert before.count(tick) > 6
    return sum(at < tick for at in before) + 3


@pytest.fixture
def model() -> Iterator[Model]:
    with Model() as model:
        yield model


def environment(server: S3Server, tmp_path: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    kept["PYTHONHASHSEED"] = "0"
    return {**kept, **ENVIRONMENT, "AWS_ENDPOINT_URL_S3": server.url, "POPULACE_CACHE": str(tmp_path / "cache"), **more}


def populace(env: dict[str, str], cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return ended(*arguments, cwd=cwd, env=env)


def killed(env: dict[str, str], cwd: Path, ready: Callable[[], object], *arguments: str) -> None:
    """Begin a run and kill it with SIGKILL, with all its children, once it is ready; it must not end before."""
    command, said = [sys.executable, "-m", "populace.cli", *arguments], cwd / "said.log"
    with (
        said.open("wb") as errors,
        subprocess.Popen(command, cwd=cwd, env=env, stdout=errors, stderr=errors, start_new_session=True) as process,
    ):
        try:
            until(lambda: ready() or process.poll() is not None)
            assert process.poll() is None, said.read_text()
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def lost(monkeypatch: pytest.MonkeyPatch, env: dict[str, str], tmp_path: Path, remote: str) -> None:
    """The machine is lost, and somebody who knows that spares whoever goes on the wait for its lease."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    shutil.rmtree(tmp_path / "cache")
    Mirror(remote).store.delete([OWNER])


def fetched(monkeypatch: pytest.MonkeyPatch, env: dict[str, str], remote: str, folder: Path) -> Path:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    Mirror(remote, folder).pull()
    return folder


def same_tables(one: Path, two: Path) -> None:
    for name in ("agents", "messages", "outcomes", "failures"):
        assert read_table(one, name).equals(read_table(two, name)), name
    mine, other = (read_table(run, "asks").drop_columns(["latency_s"]) for run in (one, two))
    assert mine.equals(other)


def test_killed_and_the_machine_lost_it_goes_on_from_the_store(
    server: S3Server, model: Model, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, remote = environment(server, tmp_path), "s3://bucket/runs/killed"
    model.holds = within(undisturbed, 6)

    def ready() -> bool:
        saved = [int(name[-15:-11]) for name in server.puts("/bucket/runs/killed/checkpoints/")]
        return model.waiting > 0 and max(saved, default=0) >= 2

    killed(env, tmp_path, ready, "run", SOCIETIES, *model.arguments, "--shards", "2", "--out", remote)
    model.holds = None
    lost(monkeypatch, env, tmp_path, remote)
    done = populace(env, tmp_path, "resume", remote)
    assert done.returncode == 0, done.stderr
    assert remote in done.stdout
    copy = fetched(monkeypatch, env, remote, tmp_path / "copy")
    manifest, whole = read_manifest(copy), read_manifest(undisturbed)
    assert manifest["status"] == "complete"
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert manifest["began_at_tick"] >= 2
    assert manifest["attempt"] == 1
    same_tables(copy, undisturbed)
    left = {path.relative_to(copy).parts[0] for path in copy.rglob("*") if path.is_file()}
    assert left == {"run.json", "manifest.json", "progress.jsonl", "journal"} | {
        path.name for path in undisturbed.glob("*.parquet")
    }
    for path in copy.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes()
    assert SECRET not in done.stdout + done.stderr

    again = populace(env, tmp_path, "run", SOCIETIES, *model.arguments, "--out", remote)
    assert again.returncode == 2
    assert f"populace resume {remote}" in again.stderr
    shutil.rmtree(tmp_path / "cache")
    replayed = populace(env, tmp_path, "replay", remote, "--shards", "3")
    assert replayed.returncode == 0, replayed.stderr
    assert "every trace hash agrees" in replayed.stdout


def answers_of(folder: Path, attempt: int = 0) -> set[tuple[int, int, int]]:
    """By whom and when the answers on record in a journal were asked for, that were paid for in an attempt."""
    found = read_journal(folder) if folder.exists() else ()
    return {(one.answer.tick, one.answer.agent, one.answer.nth) for one in found if one.attempt == attempt}


@pytest.mark.parametrize("every_s", [0.1, 1e6], ids=["often", "never"])
def test_a_lost_machine_loses_the_answers_since_the_last_upload(
    server: S3Server, model: Model, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch, every_s: float
) -> None:
    """No checkpoint was saved. The control uploads no answers in between: all are lost, and paid for twice."""
    env, remote = environment(server, tmp_path), f"s3://bucket/runs/answers-{every_s:.0f}"
    rare = ("--set", "checkpoint.every_ticks=1000", "--set", f"remote.upload_every_s={every_s}")
    model.holds = within(undisturbed, 3)

    def uploaded() -> set[tuple[int, int, int]]:
        return answers_of(fetched(monkeypatch, env, remote, tmp_path / "seen") / "journal")

    def ready() -> bool:
        return model.waiting > 0 and (every_s > 1.0 or bool(uploaded()))

    killed(env, tmp_path, ready, "run", SOCIETIES, *model.arguments, *rare, "--shards", "2", "--out", remote)
    model.holds = None
    (staged,) = (tmp_path / "cache" / "runs").glob("*/journal")
    given, there = answers_of(staged), answers_of(fetched(monkeypatch, env, remote, tmp_path / "first") / "journal")
    assert there <= given
    lost(monkeypatch, env, tmp_path, remote)
    if every_s > 1.0:
        assert given
        assert not there
        return
    assert there
    done = populace(env, tmp_path, "resume", remote)
    assert done.returncode == 0, done.stderr
    copy = fetched(monkeypatch, env, remote, tmp_path / "copy")
    manifest, whole = read_manifest(copy), read_manifest(undisturbed)
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert manifest["began_at_tick"] == 0
    same_tables(copy, undisturbed)
    asked, again = answers_of(undisturbed / "journal"), answers_of(copy / "journal", 1)
    assert again == asked - there, "what had been uploaded is not paid for again, and all else is asked"
    assert again & given == given - there


def test_a_fork_of_a_run_in_the_store_pays_for_nothing_it_inherits(
    server: S3Server, model: Model, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, remote, fork = environment(server, tmp_path), "s3://bucket/runs/parent", "s3://bucket/runs/fork"
    done = populace(env, tmp_path, "run", SOCIETIES, *model.arguments, "--out", remote)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path / "cache")
    done = populace(env, tmp_path, "fork", remote, "--at-tick", "6", "--out", fork)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path / "cache")
    manifest = read_manifest(fetched(monkeypatch, env, fork, tmp_path / "copy"))
    assert manifest["trace_hash"] == read_manifest(undisturbed)["trace_hash"]
    assert manifest["calls_billed"] == 0
    assert manifest["parent"]["folder"] == remote


def test_a_store_that_is_away_for_a_while_ends_no_run(
    server: S3Server, model: Model, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(server.port)
    env, remote = environment(server, tmp_path, AWS_ENDPOINT_URL_S3=gate.url), "s3://bucket/runs/away"
    model.holds = within(undisturbed, 3)
    command = [sys.executable, "-m", "populace.cli", "run", SOCIETIES, *model.arguments, "--out", remote]
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        notes = []
        for line in process.stderr:
            event = json.loads(line) if line.startswith("{") else {"event": "text", "text": line}
            if event["event"] == "tick" and event["tick"] == 2:
                gate.cut()
                model.holds = None
            if event["event"] == "note":
                notes.append(event["text"])
                if "tried again" in event["text"]:
                    gate.open()
    assert process.returncode == 0, notes
    assert any("tried again" in note for note in notes)
    gate.cut()
    env["AWS_ENDPOINT_URL_S3"] = server.url
    copy = fetched(monkeypatch, env, remote, tmp_path / "copy")
    assert read_manifest(copy)["trace_hash"] == read_manifest(undisturbed)["trace_hash"]
    same_tables(copy, undisturbed)


def test_a_store_that_takes_nothing_ends_a_run_before_it_asks(server: S3Server, model: Model, tmp_path: Path) -> None:
    env = environment(server, tmp_path)
    done = populace(env, tmp_path, "run", SOCIETIES, *model.arguments, "--out", "s3://nobucket/run")
    assert done.returncode == 6, done.stderr
    assert "s3://nobucket/run: cannot be listed" in done.stderr
    done = populace(env, tmp_path, "run", SOCIETIES, *model.arguments, "--out", f"s3://me:{SECRET}@bucket/run")
    assert done.returncode == 2
    assert SECRET not in done.stderr
    done = populace(env, tmp_path, "resume", "s3://bucket/runs/never")
    assert done.returncode == 2
    assert "run.json: there is no such file" in done.stderr
    assert model.came == 0


ON_RAY = """
import os
import sys

import ray

mine = os.environ["POPULACE_CACHE"]
os.environ["POPULACE_CACHE"] = mine + "-of-shards"
ray.init("local", include_dashboard=False, log_to_driver=False, configure_logging=False, num_cpus=4)
os.environ["POPULACE_CACHE"] = mine
import populace.cli

populace.cli.main()
"""


@pytest.mark.ray
def test_shards_upload_their_own_journals(
    server: S3Server, model: Model, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's processes have another cache than the driver, as if they were on another machine; both are lost."""
    pytest.importorskip("ray")
    env, remote = environment(server, tmp_path, PYTHONHASHSEED="0"), "s3://bucket/runs/ray"
    on_ray = ("--shards", "2", "--transport", "ray")
    model.holds = within(undisturbed, 6)
    command = [sys.executable, "-c", ON_RAY, "run", SOCIETIES, *model.arguments, *on_ray, "--out", remote]
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            event = json.loads(line) if line.startswith("{") else {"event": line}
            if event["event"] == "tick" and event["tick"] >= 5:
                process.send_signal(signal.SIGINT)
                break
        _, said = process.communicate(timeout=240)
    assert process.returncode == 130, said
    model.holds = None
    shards = tmp_path / "cache-of-shards"
    assert not list((tmp_path / "cache").rglob("*.journal"))
    there = {path.name: path.read_bytes() for path in shards.rglob("*.journal")}
    assert {name[:5] for name in there} == {"s0000", "s0001"}
    copy = fetched(monkeypatch, env, remote, tmp_path / "first")
    assert {path.name: path.read_bytes() for path in (copy / "journal").iterdir()} == there
    shutil.rmtree(shards)
    shutil.rmtree(tmp_path / "cache")
    command = [sys.executable, "-c", ON_RAY, "resume", remote]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    copy = fetched(monkeypatch, env, remote, tmp_path / "copy")
    manifest = read_manifest(copy)
    assert manifest["trace_hashes"] == read_manifest(undisturbed)["trace_hashes"]
    assert manifest["began_at_tick"] >= 2
    same_tables(copy, undisturbed)
    assert {path.name[:11] for path in (copy / "journal").iterdir()} == {
        f"s000{shard}-a000{attempt}" for shard in range(2) for attempt in range(2)
    }


def test_the_page_pauses_and_ends_a_run_whose_folder_is_in_the_store(
    server: S3Server, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Path
) -> None:
    """On the machine where it runs, by its address: it is asked in the folder here, and nothing of that goes up."""
    remote, env = "s3://bucket/controlled", environment(server, tmp_path)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    model.holds = within(undisturbed, 3)
    command = [sys.executable, "-m", "populace.cli", "run", SOCIETIES, *model.arguments, "--out", remote]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as run:
        try:
            assert run.stderr is not None
            assert b'"begin"' in run.stderr.readline()
            folder = local_folder(remote, SHOWN)
            with paged(folder, controlling) as page:
                token = token_of(page)
                assert page.get("overview")["status"] == "at work"
                assert until(lambda: page.get("overview")["tick"])
                assert page.act("wish", token, wish="pause")[0] == 200
                model.holds = None
                assert until(lambda: page.get("overview")["paused_at"] is not None)
                at = page.get("overview")["paused_at"]
                assert at > 0
                assert "control.json" not in Mirror(remote).store.list()
                assert page.act("wish", token, wish="stop")[0] == 200
                run.stderr.read()
                assert run.wait(240) == 130
        finally:
            run.kill()
    fetched = Mirror(remote, tmp_path / "fetched")
    fetched.pull()
    manifest = read_manifest(fetched.local)
    assert [(one["wish"], one["tick"]) for one in manifest["controlled"]] == [("pause", at), ("stop", at)]
    assert manifest["trace_hashes"] == read_manifest(undisturbed)["trace_hashes"][:at]
    shown = populace(env, tmp_path, "watch", remote, "--plain")
    assert "interrupted" in shown.stdout + shown.stderr
