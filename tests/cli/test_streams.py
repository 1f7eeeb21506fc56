"""Streams that nobody reads, or that are not there: a command does its work and says so by its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import Begun
from support.running import SOCIETIES

from populace.cli.streams import Forgiving
from populace.store.manifest import read_manifest

RUN = ["run", SOCIETIES, "--model", "scripted", "--ticks", "2", "--out", "a"]


@pytest.mark.parametrize("gone", ["stdout", "stderr"])
def test_a_reader_that_goes_away_ends_nothing(tmp_path: Path, gone: str) -> None:
    read, write = os.pipe()
    os.close(read)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, gone: write}
    with Begun(*RUN, cwd=tmp_path, **quiet) as process:
        os.close(write)
        assert process.wait(240) == 0
    assert read_manifest(tmp_path / "a")["status"] == "complete"


@pytest.mark.parametrize("closed", [1, 2])
def test_a_stream_that_is_closed_ends_nothing(tmp_path: Path, closed: int) -> None:
    line = " ".join([sys.executable, "-m", "populace.cli", *RUN])
    done = subprocess.run(f"{line} {closed}>&-", shell=True, cwd=tmp_path, timeout=60, check=False, capture_output=True)
    assert done.returncode == 0
    assert read_manifest(tmp_path / "a")["status"] == "complete"


def test_control_a_plain_stream_raises_where_nobody_reads() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        stream.write("x")
        with pytest.raises(BrokenPipeError):
            stream.flush()
        forgiving = Forgiving(stream)
        forgiving.write("y")
        forgiving.flush()
        forgiving.flush()


def test_a_run_marked_invalid_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    """The script gives no answer to any ask."""
    source = Path(SOCIETIES).read_text(encoding="utf-8")
    worse = "society = dataclasses.replace(society, scripted=lambda ask, draw: Abstained('schema'))"
    wrong = f"{source}\nimport dataclasses\nfrom populace import Abstained\n{worse}\n"
    (tmp_path / "wrong.py").write_text(wrong, encoding="utf-8")
    run = ["run", "wrong.py", "--model", "scripted", "--ticks", "2", "--out", "a", "--set", "limits.failed_turns=1"]
    quiet = subprocess.DEVNULL
    with Begun(*run, cwd=tmp_path, stdout=quiet, stderr=quiet) as process:
        code = process.wait(240)
    manifest = read_manifest(tmp_path / "a")
    assert manifest["status"] == "complete"
    assert manifest["valid"] is False
    assert code == 10
