"""The image, built and run by Docker as pods run it: nobody's id, no network, nothing written but to volumes.

`pytest -m chaos tests/k8s/test_image.py`: minutes, and about 1.5 GB. Where there is no daemon, or no base of the image
to be had, the tests are skipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import pytest
import yaml
from support.attempts import same_tables
from support.manifests import K8S

from populace.core.errors import Interrupted, StorageError
from populace.experiments.loading import find_experiment
from populace.runs.run import run_society
from populace.settings import load_settings
from populace.store.manifest import read_manifest

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800), pytest.mark.xdist_group("image")]
NAME = "populace-under-test"
RUN = ("run", "polarization", "--agents", "24", "--ticks", "8", "--seed", "7")
LOOK: Final = "id -u; ls /src; ls /wheels; python -m pip; find / -xdev -writable -type d -not -path '/dev*' 2>&-"
SLOW = ("--set", "model.latency.median_s=1.0")
"""Ticks of some seconds, so that a signal comes in the middle of one."""


def docker(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def image() -> str:
    if shutil.which("docker") is None or docker("info", check=False).returncode:
        pytest.skip("needs Docker and its daemon")
    file = K8S / "Dockerfile"
    for base in {line.split()[1] for line in file.read_text().splitlines() if line.startswith("FROM ")}:
        if docker("image", "inspect", base, check=False).returncode and docker("pull", base, check=False).returncode:
            pytest.skip(f"the image {base} is not here, and no registry gives it")
    # The build's own network may have no bridge: packages come by the host's.
    docker("build", "--network", "host", "-f", str(file), "-t", NAME, str(K8S.parent))
    return NAME


class Pod:
    """A container as strict as the manifests' pods; `runs` is its volume. Ended and removed at the end."""

    def __init__(self, runs: Path, *words: str, etc: Path | None = None) -> None:
        strict = ("--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
        mounts = ("--tmpfs", "/tmp:rw,mode=1777", "--volume", f"{runs}:/runs")
        mounts += () if etc is None else ("--volume", f"{etc}:/etc/populace:ro")
        env = ("--env", "HOME=/tmp", "--env", "POPULACE_CACHE=/tmp/cache")
        self.id = docker("run", "--detach", *strict, *mounts, *env, NAME, *words).stdout.strip()

    def wait(self) -> int:
        """Its exit code."""
        return int(docker("wait", self.id).stdout)

    def logs(self) -> str:
        done = docker("logs", self.id)
        return done.stdout + done.stderr

    def signal(self, name: str) -> None:
        docker("kill", "--signal", name, self.id)

    def until(self, sign: str) -> None:
        """Wait until its logs have this."""
        until_s = time.monotonic() + 300
        while not re.search(sign, self.logs()):
            running = docker("inspect", "--format", "{{.State.Running}}", self.id).stdout.strip()
            assert (running, time.monotonic() < until_s) == ("true", True), self.logs()
            time.sleep(0.1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        docker("rm", "--force", "--volumes", self.id)


@pytest.fixture
def runs(tmp_path) -> Path:
    """A volume that the image's user may write to."""
    folder = tmp_path / "runs"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 1000, 1000)
    else:
        folder.chmod(0o777)
    return folder


@pytest.fixture(scope="module", params=["scripted", "rules"])
def here(request, tmp_path_factory) -> Iterator[tuple[str, dict[str, Any], Path]]:
    """The run as this machine's Python makes it."""
    out = tmp_path_factory.mktemp("here") / "run"
    settings = load_settings(None, [("agents", 24), ("ticks", 8), ("seed", 7), ("model.kind", request.param)])
    return request.param, run_society("polarization", settings, out), out


def same(out: Path, whole: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The manifest of a run that is the one this machine made."""
    manifest = read_manifest(out)
    assert manifest["status"] == "complete"
    assert manifest["trace_hashes"] == whole["trace_hashes"]
    assert manifest["calls_billed"] == whole["calls_billed"]
    same_tables(out, folder)
    return manifest


def test_the_image_is_nobodys_and_holds_what_it_needs_alone(image):
    (found,) = json.loads(docker("image", "inspect", image).stdout)
    assert (found["Config"]["User"], found["Config"]["Entrypoint"]) == ("1000:1000", ["populace"])
    print(f"{found['Size'] / 1e6:,.0f} MB")
    inside = docker("run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", LOOK, check=False)
    who, *writable = inside.stdout.split()
    assert who == "1000"
    assert inside.stderr.count("No such file or directory") == 2, "what it was built from stays behind"
    assert "No module named pip" in inside.stderr
    assert [one for one in writable if not one.startswith(("/tmp", "/var/tmp", "/run/lock"))] == []


def test_nothing_can_be_written_but_to_volumes(image, runs):
    """The control of the tests below: the pod is as strict as it is said to be."""
    with Pod(runs, *RUN, "--model", "rules", "--out", "/opt/run") as pod:
        assert pod.wait() == StorageError.exit_code
        assert "/opt/run" in pod.logs()


def test_it_makes_the_run_that_is_made_here_and_leaves_a_complete_one_alone(image, runs, here):
    kind, whole, folder = here
    words = (*RUN, "--model", kind, "--out", "/runs/run", "--or-resume")
    with Pod(runs, *words) as pod:
        assert pod.wait() == 0, pod.logs()
    assert same(runs / "run", whole, folder)["attempt"] == 0
    with Pod(runs, *words) as pod:
        assert pod.wait() == 0
        assert "this run is complete" in pod.logs()


@pytest.mark.parametrize("here", ["scripted"], indirect=True)
def test_terminated_and_killed_it_goes_on_to_the_same_run(image, runs, here):
    """SIGTERM to the first in the middle of a tick, SIGKILL to the second, while which a third is refused."""
    kind, whole, folder = here
    words = (*RUN, "--model", kind, *SLOW, "--out", "/runs/run", "--or-resume")
    with Pod(runs, *words) as first:
        first.until('"event":"tick"')
        first.signal("TERM")
        began_s = time.monotonic()
        assert first.wait() == Interrupted.exit_code, first.logs()
        print(f"ended {time.monotonic() - began_s:.1f} s after SIGTERM")
    assert read_manifest(runs / "run")["status"] == "interrupted"
    with Pod(runs, *words) as second:
        second.until('"event":"tick"')
        docker("pause", second.id)
        with Pod(runs, *words) as overlapping:
            assert overlapping.wait() == StorageError.exit_code, overlapping.logs()
            assert "is at work in it" in overlapping.logs()
        docker("unpause", second.id)
        second.signal("KILL")
        assert second.wait() == 137
    with Pod(runs, *words) as third:
        assert third.wait() == 0, third.logs()
    assert same(runs / "run", whole, folder)["attempt"] == 2


def test_an_experiment_that_was_killed_goes_on_in_the_next_pod(image, runs, tmp_path):
    """The Job's command, its file mounted as a ConfigMap's; what comes of it is what comes of it here."""
    (job,) = yaml.safe_load_all((K8S / "base/experiment/job.yaml").read_text())
    file = K8S / "overlays/experiment-pvc/my_experiment.py"
    values = {"$(EXPERIMENT)": "/etc/populace/my_experiment.py", "$(OUT)": "/runs/study", "$(JOBS)": "2"}
    words = job["spec"]["template"]["spec"]["containers"][0]["args"]
    for name, value in values.items():
        words = [word.replace(name, value) for word in words]
    words += ["--model", "rules", "--replicates", "1"]
    mount = tmp_path / "etc"
    (mount / "..2026_01").mkdir(parents=True)
    shutil.copy(file, mount / "..2026_01" / file.name)
    (mount / "..data").symlink_to("..2026_01")
    (mount / file.name).symlink_to(f"..data/{file.name}")
    with Pod(runs, *words, etc=mount) as first:
        until_s = time.monotonic() + 300
        while not (runs / "study" / "control-000" / "run.json").exists():
            assert time.monotonic() < until_s, first.logs()
            time.sleep(0.1)
        first.signal("KILL")
        assert first.wait() == 137
    with Pod(runs, *words, etc=mount) as second:
        assert second.wait() == 0, second.logs()
        assert "complete, 2 of 2 runs" in second.logs()
    find_experiment(str(file)).run(tmp_path / "here", model="rules", replicates=1, jobs=1, quiet=True)
    for run in ("control-000", "silenced-000"):
        there, here = read_manifest(runs / "study" / run), read_manifest(tmp_path / "here" / run)
        assert there["trace_hashes"] == here["trace_hashes"]
