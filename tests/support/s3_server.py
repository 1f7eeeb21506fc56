"""A real S3 server (moto's) in a process of its own, a way to it that can be cut, and what it was asked."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

_REQUEST = re.compile(r'"(?:\x1b\[\d+m)*(GET|PUT|HEAD|POST|DELETE) (/\S*) HTTP')
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test-access-key",
    "AWS_SECRET_ACCESS_KEY": "test-very-secret-key-0123456789",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class S3Server:
    """Started at once; `url` is where it listens on the loopback."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with log.open("wb") as sink:
            self._process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)
        until = time.monotonic() + 240
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/moto-api/", timeout=60):
                    return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(log.read_text()) from None
                time.sleep(0.1)

    def make_bucket(self, name: str) -> None:
        request = urllib.request.Request(f"{self.url}/{name}", data=b"", method="PUT")
        urllib.request.urlopen(request, timeout=60).close()

    def demand_rights(self, *, after: int) -> None:
        """From so many requests on, refuse those without a user's key."""
        request = urllib.request.Request(
            f"{self.url}/moto-api/reset-auth", str(after).encode(), {"Content-Type": "text/plain"}, method="POST"
        )
        urllib.request.urlopen(request, timeout=60).close()

    def requests(self) -> list[tuple[str, str]]:
        """Method and path of each request so far."""
        return _REQUEST.findall(self._log.read_text(errors="replace"))

    def puts(self, under: str = "") -> list[str]:
        """The names put below '/bucket/folder/', in order."""
        return [path[len(under) :] for method, path in self.requests() if method == "PUT" and path.startswith(under)]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(240)


class Gate:
    """A way to a server that can be cut and opened again: connections are refused, those that are open end."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._live: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = 0
        self.open()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        assert self._listener is not None
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            live, self._live = self._live, []
        for one in live:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                here, _ = listener.accept()
                there = socket.create_connection(("127.0.0.1", self._to), timeout=30)
            except OSError:
                return
            with self._lock:
                self._live += [here, there]
            for one, other in ((here, there), (there, here)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(2**16):
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
