"""Several hosts on one machine: network namespaces on a bridge, a Ray node in each, all seeing the same files.

Needs root, iproute2 and network namespaces. A host is cut off by taking its link down, and killed with all of its
processes. Processes are ended by their pids: another Ray of this machine is left alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

PORT = 6379
SEEN_LOST = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 4,
}
"""How soon Ray's head takes a host that says nothing for lost: after about ten seconds here."""


def why_not() -> str:
    """Why there can be no hosts here; empty where there can."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "several hosts need root and iproute2"
    name = f"try{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"no network namespaces: {tried.stderr.strip()}"
    bridge = [*_in(name), "ip", "link", "add", "br0", "type", "bridge"]
    bridged = subprocess.run(bridge, capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "del", name], check=True)
    return f"no bridge: {bridged.stderr.strip()}" if bridged.returncode else ""


def _in(namespace: str) -> list[str]:
    return ["ip", "netns", "exec", namespace]


class Hosts:
    """`head` is the first host; `join` adds one. Addresses are 10.77.0.1 and on, within namespaces of this process."""

    def __init__(self, **env: str) -> None:
        self.env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **env}
        self.env.pop("RAY_ADDRESS", None)
        self._name = f"pop{os.getpid()}"
        self._scratch = Path(tempfile.mkdtemp(prefix="hosts", dir="/tmp"))
        self._made: list[str] = []
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        self._hub = f"{self._name}hub"
        self._call("ip", "netns", "add", self._hub)
        self._made.append(self._hub)
        self._call(*_in(self._hub), "ip", "link", "add", "br0", "type", "bridge")
        self._call(*_in(self._hub), "ip", "link", "set", "br0", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._made:
            self._end(name)
        for running in self._running:
            running.wait(240)
            if running.stdout is not None:
                running.stdout.close()
        for name in self._made:
            self._call("ip", "netns", "del", name)
        shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def address(self) -> str:
        """The RAY_ADDRESS of these hosts."""
        return f"10.77.0.1:{PORT}"

    def add(self) -> int:
        """A host with an address and no Ray; its number."""
        number = len(self._made) - 1
        name, ends = f"{self._name}h{number}", (f"a{number}", f"b{number}")
        self._call("ip", "netns", "add", name)
        self._made.append(name)
        self._call("ip", "link", "add", ends[0], "netns", self._hub, "type", "veth", "peer", ends[1], "netns", name)
        self._call(*_in(self._hub), "ip", "link", "set", ends[0], "master", "br0", "up")
        self._call(*_in(name), "ip", "address", "add", f"10.77.0.{number + 1}/24", "dev", ends[1])
        for link in ("lo", ends[1]):
            self._call(*_in(name), "ip", "link", "set", link, "up")
        return number

    def start(self, number: int, cpus: int = 1, over: tuple[Path, Path] | None = None, **env: str) -> str:
        """Start the host's Ray node, the head's on host 0; what `ray start` said. Raises RuntimeError.

        `over` is a folder that this host alone sees in another's place.
        """
        ray = [str(Path(sys.executable).with_name("ray")), "start", "--node-ip-address", f"10.77.0.{number + 1}"]
        ray += ["--num-cpus", str(cpus), "--disable-usage-stats", "--object-store-memory", str(100 * 2**20)]
        if number == 0:
            config = "{" + ", ".join(f'"{key}": {value}' for key, value in SEEN_LOST.items()) + "}"
            ray += ["--head", "--port", str(PORT), "--include-dashboard=false", "--system-config", config]
            ray += ["--temp-dir", str(self._scratch / "r0")]
        else:
            ray += ["--address", self.address]
            ray += ["--temp-dir", str(self._scratch / f"r{number}")]
        if over is not None:
            ray = ["sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', str(over[0]), str(over[1]), *ray]
        return self._call(*_in(self._name_of(number)), *ray, **env)

    def command(self, number: int, *args: str, cwd: Path, **env: str) -> subprocess.Popen[str]:
        """A command on a host, with the hosts' RAY_ADDRESS; its errors go to `cwd`/errors.log."""
        there = {**self.env, "RAY_ADDRESS": self.address, **env}
        with (cwd / "errors.log").open("a") as errors:
            running = subprocess.Popen(
                [*_in(self._name_of(number)), *args],
                cwd=cwd, env=there, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        self._running.append(running)
        return running

    def cut(self, number: int) -> None:
        """Take the host's link down: what runs there goes on, and hears nobody."""
        self._call(*_in(self._hub), "ip", "link", "set", f"a{number}", "down")

    def drain(self, number: int) -> None:
        """Tell Ray that the host is to go, as whoever takes it away does."""
        asking = (
            "import ray, sys; ray.init(_node_ip_address='10.77.0.1', log_to_driver=False); there = [one['NodeID'] "
            "for one in ray.nodes() if one['Alive'] and one['NodeManagerAddress'] == sys.argv[1]]; print(there[0])"
        )
        head = [*_in(self._name_of(0))]
        told = self._call(*head, sys.executable, "-c", asking, f"10.77.0.{number + 1}", RAY_ADDRESS=self.address)
        ray = [str(Path(sys.executable).with_name("ray")), "drain-node", "--address", self.address]
        ray += ["--node-id", told.split()[-1], "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "a test"]
        self._call(*head, *ray, "--deadline-remaining-seconds", "120")

    def kill(self, number: int) -> None:
        """SIGKILL to all of the host's processes."""
        self._end(self._name_of(number))

    def signal(self, number: int, sent: signal.Signals) -> None:
        """A signal to all of the host's processes."""
        for pid in self._pids(self._name_of(number)):
            os.kill(pid, sent)

    def _name_of(self, number: int) -> str:
        return self._made[number + 1]

    def _pids(self, name: str) -> Sequence[int]:
        return [int(pid) for pid in self._call("ip", "netns", "pids", name).split()]

    def _end(self, name: str) -> None:
        for _ in range(50):
            pids = self._pids(name)
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            if not pids:
                return
            time.sleep(0.05)

    def _call(self, *args: str, **env: str) -> str:
        done = subprocess.run(args, capture_output=True, text=True, check=False, env={**self.env, **env})
        if done.returncode:
            raise RuntimeError(f"{' '.join(args)}: {done.stdout}{done.stderr}")
        return done.stdout
