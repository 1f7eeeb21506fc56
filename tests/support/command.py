"""Runs the command line as a person would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def populace(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it in a folder, with these variables set. The order of sets is fixed, which saves it a second beginning."""
    env = {"PYTHONHASHSEED": "0", **env}
    command = [sys.executable, "-m", "populace.cli", *args]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=240, check=False
    )
