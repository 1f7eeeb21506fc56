"""The wheel of a fresh clone, unpacked elsewhere: it holds what a run needs, and runs outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def done(*command: str, cwd: Path, **env: str) -> str:
    run = subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=240, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no clone without a repository")
def test_the_wheel_of_a_fresh_clone_runs_outside_it(tmp_path):
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    done("git", "clone", "-q", "--depth", "1", f"file://{ROOT}", "clone", cwd=tmp_path)
    done(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "dist", "./clone", cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("populace-*.whl")
    done(*pip, "install", "-q", "--no-deps", "--target", "site", str(wheel), cwd=tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    where = {"PYTHONPATH": str(tmp_path / "site"), "PYTHONHASHSEED": "0"}
    python = (sys.executable, "-c", "import populace.cli; print(populace.cli.__file__)")
    assert done(*python, cwd=outside, **where).startswith(str(tmp_path / "site"))
    populace = (sys.executable, "-m", "populace.cli")
    done(*populace, "new", "mine.py", cwd=outside, **where)
    done(*populace, "run", "mine.py", "--model", "scripted", cwd=outside, **where)
    done(*populace, "run", "polarization", "--model", "scripted", "--ticks", "1", cwd=outside, **where)
    assert sorted(path.name for path in (outside / "runs").iterdir()) == ["mine-1", "polarization-1"]
