"""What Kubernetes starts again is the manifests' own command: killed and overlapping, it comes to one run."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import time
from pathlib import Path
from socket import gethostname
from string import Template
from typing import Any

import psutil
import pytest
import yaml
from aiohttp import web
from support.attempts import same_tables
from support.chaos import Command, Provider, options_of, run_here
from support.manifests import K8S
from support.running import SOCIETIES
from typer.testing import CliRunner

from populace.cli.app import app
from populace.core.errors import StorageError
from populace.store.manifest import read_manifest

SMALL = {
    "agents": 12, "ticks": 4, "endpoint__concurrency": 4, "endpoint__timeout_s": 300.0, "journal": "machine",
    "checkpoint__every_ticks": 1,
}  # fmt: skip
KILLED_AT = 25
"""The call at which an attempt dies: in tick 2 of 4."""


class Gate(Provider):
    """A provider that can be shut: calls wait outside, unseen and not billed, until it opens."""

    shut, waiting = False, 0

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.waiting += 1
        while self.shut:
            await asyncio.sleep(0.02)
        self.waiting -= 1
        return await super()._handle(request)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The run that all others must come to."""
    out = tmp_path_factory.mktemp("undisturbed")
    with Provider() as provider:
        whole = run_here(out, **options_of(provider, **SMALL))
        assert provider.calls == whole["calls_billed"] > 2 * KILLED_AT
        return whole, out


def words_of(kind: str, study: Path, out: Path) -> list[str]:
    """The command of a manifest after `populace`, with what the pod would put in for its variables."""
    if kind == "RayJob":
        (job,) = yaml.safe_load_all((K8S / "base/run/rayjob.yaml").read_text())
        said = Template(job["spec"]["entrypoint"]).substitute(SOCIETY=SOCIETIES, OUT=str(out))
        name, *words = shlex.split(said)
        assert name == "populace"
    else:
        (job,) = yaml.safe_load_all((K8S / "base/seeds/job.yaml").read_text())
        args = job["spec"]["template"]["spec"]["containers"][0]["args"]
        pod = {"$(SOCIETY)": SOCIETIES, "$(OUT)/seed-$(JOB_COMPLETION_INDEX)": str(out), "$(JOB_COMPLETION_INDEX)": "7"}
        words = []
        for word in args:
            for variable, value in pod.items():
                word = word.replace(variable, value)
            words += word.split("=", 1) if word.startswith("--") and not word.startswith("--set=") else [word]
    assert not [word for word in words if "$" in word], words
    assert words[words.index("--settings") + 1] == "/etc/populace/study.toml"
    assert words[words.index("--metrics-port") + 1] == "9464"
    words[words.index("--settings") + 1] = str(study)
    words[words.index("--metrics-port") + 1] = "0"  # pods have an address each, and attempts here share one
    return words


def study_of(provider: Provider) -> str:
    tables: dict[str, list[str]] = {"": ["seed = 7"]}
    for key, value in options_of(provider, **SMALL).items():
        table, _, name = f"{'' if '__' in key else '__'}{key}".rpartition("__")
        told = repr(value).replace("'", '"')
        tables.setdefault(table, []).append(f"{name} = {told}")
    return "\n".join(("" if not table else f"[{table}]\n") + "\n".join(lines) for table, lines in tables.items())


def tree_of(attempt: Command) -> list[int]:
    """The processes that end with a pod: those of the attempt, Ray's among them."""
    try:
        own = psutil.Process(attempt.process.pid)
        return [own.pid, *(child.pid for child in own.children(recursive=True))]
    except psutil.Error:
        return []


def judge(out: Path, provider: Provider, undisturbed: tuple[dict[str, Any], Path]) -> None:
    """One result, for the money of one: what may be paid for twice is what was in flight as an attempt died."""
    whole, folder = undisturbed
    manifest = read_manifest(out)
    assert manifest["status"] == "complete"
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert manifest["calls_billed"] == whole["calls_billed"]
    in_flight = sum(kill.slots for kill in provider.done)
    assert whole["calls_billed"] <= provider.calls <= whole["calls_billed"] + in_flight, "paid for once more"
    assert provider.far_from_a_kill() == []
    same_tables(out, folder)


@pytest.mark.parametrize(
    "kind", ["Job", pytest.param("RayJob", marks=[pytest.mark.chaos, pytest.mark.ray, pytest.mark.timeout(600)])]
)
def test_attempts_that_are_killed_and_that_overlap_come_to_one_run(tmp_path, undisturbed, kind):
    """The first is killed with all its processes; while the second is at work a third comes, and is refused."""
    out, study = tmp_path / "runs" / "control", tmp_path / "study.toml"
    with Gate([(KILLED_AT, "pod")]) as provider:
        study.write_text(study_of(provider))
        command = words_of(kind, study, out)
        first = Command(*command, cwd=tmp_path)
        provider.victims = lambda _: (tree_of(first), [])
        assert first.wait(300) == -9
        assert (out / "run.json").exists()
        assert not (out / "manifest.json").exists()
        provider.shut = True
        second = Command(*command, cwd=tmp_path)
        until_s = time.monotonic() + 200
        while not provider.waiting and second.process.poll() is None and time.monotonic() < until_s:
            time.sleep(0.02)
        assert provider.waiting, second.errors
        overlapping = CliRunner().invoke(app, command).exception
        assert isinstance(overlapping, StorageError), overlapping
        assert overlapping.exit_code == 6
        assert f"process {second.process.pid} on {gethostname()} is at work in it" in str(overlapping)
        provider.shut = False
        assert second.wait(300) == 0, second.errors
        judge(out, provider, undisturbed)
        assert read_manifest(out)["attempt"] == 1
        paid = provider.calls
        late = CliRunner().invoke(app, command)
        assert (late.exit_code, provider.calls) == (0, paid), late.output
        assert "this run is complete" in late.output
        if kind == "RayJob":
            return
        # One that begins anew, where it should go on, would be seen.
        shutil.rmtree(out)
        assert CliRunner().invoke(app, command).exit_code == 0
        with pytest.raises(AssertionError, match="paid for once more"):
            judge(out, provider, undisturbed)
