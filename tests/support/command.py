"""Runs the command line as a person would."""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_AT_ONCE = ("PYTHON", "MPL", "LD_")
"""How variables begin that are read before a program is: with others than this process has, a command begins anew."""


def populace(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it in a folder, with these variables set. The order of sets is fixed, which saves it a second beginning."""
    return ended(*args, cwd=cwd, env={**os.environ, "PYTHONHASHSEED": "0", **env})


def ended(*args: str, cwd: Path, env: Mapping[str, str], timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
    """Run it with these variables alone, to its end, in a process that has its imports (`support.warm`)."""
    here = {**os.environ, "PYTHONHASHSEED": "0"}
    if any(env.get(name) != here.get(name) for name in {*env, *here} if name.startswith(_AT_ONCE)):
        command = [sys.executable, "-m", "populace.cli", *args]
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    with (
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as errors,
        Path(os.devnull).open() as nothing,
    ):
        mine, its = socket.socketpair()
        with mine, mine.makefile("r") as told:
            with its:
                handles = [its.fileno(), nothing.fileno(), out.fileno(), errors.fileno()]
                socket.send_fds(_warm(), [b"+"], handles)
            mine.settimeout(timeout_s)
            mine.sendall(json.dumps({"args": args, "cwd": str(cwd), "env": dict(env)}).encode() + b"\n")
            pid = int(told.readline())
            try:
                code = int(told.readline())
            except BaseException:
                os.kill(pid, signal.SIGKILL)
                raise
        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(["populace", *args], code, out.read(), errors.read())


@functools.cache
def _warm() -> socket.socket:
    """The socket of this process's server of commands, which ends with it."""
    mine, its = socket.socketpair()
    warm = str(Path(__file__).with_name("warm.py"))
    with its:
        server = subprocess.Popen([sys.executable, warm], stdin=its, env={**os.environ, "PYTHONHASHSEED": "0"})

    def end() -> None:
        mine.close()
        server.wait()

    atexit.register(end)
    return mine
