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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

_AT_ONCE = ("PYTHON", "MPL", "LD_")
"""How variables begin that are read before a program is: with others than this process has, a command begins anew."""


def populace(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it in a folder, with these variables set. The order of sets is fixed, which saves it a second beginning."""
    return ended(*args, cwd=cwd, env={**os.environ, "PYTHONHASHSEED": "0", **env})


def ended(*args: str, cwd: Path, env: Mapping[str, str], timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
    """Run it with these variables alone, to its end, in a process that has its imports (`support.warm`)."""
    if _begins_anew(env):
        command = [sys.executable, "-m", "populace.cli", *args]
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = Begun(*args, cwd=cwd, env=env, stdout=out.fileno(), stderr=errors.fileno())
        try:
            code = process.wait(timeout_s)
        except BaseException:
            process.kill()
            raise
        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(["populace", *args], code, out.read(), errors.read())


def _begins_anew(env: Mapping[str, str]) -> bool:
    here = {**os.environ, "PYTHONHASHSEED": "0"}
    return any(env.get(name) != here.get(name) for name in {*env, *here} if name.startswith(_AT_ONCE))


class Begun:
    """A command that has begun, in a process that has its imports: as much of `subprocess.Popen` as tests use.

    `env` are its variables, this process's where there are none. With `session` it leads a process group.
    """

    def __init__(
        self,
        *args: str,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        text: bool = True,
        session: bool = False,
    ) -> None:
        variables = {"PYTHONHASHSEED": "0", **(os.environ if env is None else env)}
        assert not _begins_anew(variables), "a variable that is read before a program is"
        self.returncode: int | None = None
        self.stdout, its_out = _stream(stdout, text)
        self.stderr, its_errors = _stream(stderr, text)
        ask = {"args": args, "cwd": str(cwd), "env": variables, "session": session}
        nothing = os.open(os.devnull, os.O_RDONLY)
        self._told, its = socket.socketpair()
        self._said = b""
        with its:
            socket.send_fds(_warm(), [b"+"], [its.fileno(), nothing, its_out, its_errors])
        os.close(nothing)
        for handle, asked in ((its_out, stdout), (its_errors, stderr)):
            if handle != asked:
                os.close(handle)
        self._told.sendall(json.dumps(ask).encode() + b"\n")
        self.pid = int(self._line(240))

    def _line(self, timeout_s: float | None) -> str:
        self._told.settimeout(timeout_s)
        while b"\n" not in self._said:
            more = self._told.recv(64)
            if not more:
                raise ConnectionError("the server of commands has ended")
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended. Raises TimeoutError."""
        if self.returncode is None:
            self.returncode = int(self._line(timeout))
            self._told.close()
        return self.returncode

    def poll(self) -> int | None:
        """Its exit code; None while it is at work."""
        try:
            return self.wait(0)
        except BlockingIOError:
            return None

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[Any, Any]:
        """All that is left of what it says, and its errors. Raises TimeoutError."""
        with ThreadPoolExecutor(2) as both:
            out, errors = (both.submit(_read_out, stream) for stream in (self.stdout, self.stderr))
            try:
                self.wait(timeout)
            except TimeoutError:
                self.kill()
                raise
            return out.result(), errors.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()


def _stream(asked: int, text: bool) -> tuple[Any, int]:
    """What is read of a stream, None where it is no pipe, and the handle for the command."""
    if asked == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_WRONLY)
    if asked != subprocess.PIPE:
        return None, asked
    read, write = os.pipe()
    return os.fdopen(read, "r" if text else "rb"), write


def _read_out(stream: Any) -> Any:
    if stream is None or stream.closed:
        return None
    with stream:
        return stream.read()


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
