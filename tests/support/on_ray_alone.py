"""`populace` on a Ray of its own whose processes have another cache than the driver, as if on another machine.

Run as a program with the arguments of the command line; `begin` does so in a process group of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

_SAID: Final = "said.log"


def begin(*arguments: str, cwd: Path) -> subprocess.Popen[bytes]:
    """Begin a command of populace on a Ray of its own; its cache is POPULACE_CACHE, its shards' `cache_of_shards`."""
    command = [sys.executable, str(Path(__file__)), *arguments]
    with (cwd / _SAID).open("wb") as errors:  # a pipe would be held open by what the driver leaves behind
        return subprocess.Popen(command, cwd=cwd, start_new_session=True, stdout=subprocess.DEVNULL, stderr=errors)


def said(cwd: Path) -> str:
    """What the command that was begun last has said of errors and of its progress."""
    return (cwd / _SAID).read_text(encoding="utf-8", errors="replace")


def cache_of_shards(cache: str) -> str:
    """The cache of the processes of Ray, where this is the driver's."""
    return cache + "-of-shards"


def end_those_with(cache: str) -> None:
    """The machine is lost: have all processes end that have this cache, the driver's, or that of its shards."""
    wanted, deadline = f"POPULACE_CACHE={cache}".encode(), time.monotonic() + 120.0
    while found := [pid for pid, values in _environments() if any(one.startswith(wanted) for one in values)]:
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def _environments() -> list[tuple[int, list[bytes]]]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            values = path.read_bytes().split(b"\0")
            ended = (path.parent / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if not ended and int(path.parent.name) != os.getpid():
            found.append((int(path.parent.name), values))
    return found


def main() -> None:
    """Start Ray and run the command."""
    import ray

    mine = os.environ["POPULACE_CACHE"]
    os.environ["POPULACE_CACHE"] = cache_of_shards(mine)
    ray.init("local", include_dashboard=False, log_to_driver=False, configure_logging=False, num_cpus=4)
    os.environ["POPULACE_CACHE"] = mine
    import populace.cli

    populace.cli.main()


if __name__ == "__main__":
    main()
