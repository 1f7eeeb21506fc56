"""Reaches a Ray: the one that RAY_ADDRESS names, or one that is started here; and what must be there for any call."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from typing import Any, Final

import psutil
import ray
from ray._private import auto_init_hook

from populace.cluster.liveness import aside
from populace.core.errors import SettingsError, TransportError
from populace.store.register import ON_RAY

_IN_REPLIES_BYTES: Final = 4 * 2**20
"""Up to how many bytes what an actor gives travels in its reply, and not by way of Ray's object store, where everything
is on one machine: its store costs as much as the copies of some megabytes."""


async def join_ray(patience_s: float) -> list[psutil.Process] | None:
    """Connect this process to a Ray, and give the processes that were begun with one; None where it has one already.

    Raises TransportError.
    """
    if ray.is_initialized():
        return None
    others = set(psutil.Process().children(recursive=True))
    try:
        await aside(connect, patience_s=patience_s, stays=True)
    except TimeoutError as error:
        raise _unanswered(patience_s) from error
    _take_signals_back()
    if "RAY_ADDRESS" in os.environ:
        return []
    return [one for one in psutil.Process().children(recursive=True) if one not in others]


def connect() -> None:
    """Join the Ray that RAY_ADDRESS names, from any of its nodes, or start one.

    Raises TransportError, which says what stands in the way.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # A call that gives several values fails with each of them, and one of these is looked at.
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    # What is under way as a run ends, in a thread that nobody waits for, fails where there is no Ray any more. Else the
    # call would start another, which ends with that thread, and a minute later takes this process along.
    auto_init_hook.enable_auto_connect = False
    quietly: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address := os.environ.get("RAY_ADDRESS"):
        _join(address, quietly)
        return
    try:
        # Without "local" Ray would join any other that runs on this machine.
        ray.init(
            "local",
            include_dashboard=False,
            _system_config={"max_direct_call_object_size": _IN_REPLIES_BYTES},
            **quietly,
        )
    except Exception as error:
        raise TransportError(
            f"cannot start a Ray on this machine: {error}. Run `populace doctor`, or use --transport local."
        ) from error


def end_processes(processes: list[psutil.Process]) -> None:
    """End what is left of a Ray that was started here: parts of it outlive others, and the exit waits for them."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    processes.clear()


def _unanswered(patience_s: float) -> TransportError:
    """What to raise where `connect` has come to nothing in this time: Ray has limits of its own, and longer ones."""
    address = os.environ.get("RAY_ADDRESS")
    what = f"RAY_ADDRESS={address} was not joined" if address else "no Ray could be started on this machine"
    return TransportError(
        f"{what} within {patience_s:g} s, and Ray says nothing: most often a machine has too much to do, or a node of "
        "the cluster does not answer. Try again, run `populace doctor`, or use --transport local."
    )


def refuse_alone(share_limits: str) -> None:
    """Raise SettingsError where a run that has started a Ray is to share its limits with the others on that Ray."""
    if share_limits == ON_RAY and "RAY_ADDRESS" not in os.environ:
        raise SettingsError(
            "endpoint.share_limits = 'ray' shares limits among the runs on one Ray cluster, and this run has started a "
            "Ray for itself: set RAY_ADDRESS, or name a folder or an s3:// address."
        )


def _join(address: str, quietly: dict[str, Any]) -> None:
    try:
        _knock(address)
    except OSError as error:
        raise TransportError(
            f"cannot reach RAY_ADDRESS={address}: {error}. Nothing listens there: see that the cluster runs and that "
            "its port is open from here, or use --transport local."
        ) from error
    try:
        ray.init(**quietly, **_own_address(address))
    except Exception as error:
        tokens = (
            "Something listens there, and does not take this driver: most often RAY_AUTH_MODE and RAY_AUTH_TOKEN (or "
            "RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token), which must be the same for head, workers and driver."
            if isinstance(error, ConnectionError)
            else "Run `populace doctor`, or use --transport local."
        )
        raise TransportError(f"cannot join RAY_ADDRESS={address}: {str(error).rstrip('.')}. {tokens}") from error


def _own_address(address: str) -> dict[str, str]:
    """The address of this machine as the head sees it, by which Ray finds the node here; else it asks the internet."""
    host = _host(address)
    if not host or address.startswith("ray://"):
        return {}
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect((host, 9))  # no packet is sent
        own = str(asked.getsockname()[0])
    return {} if own.startswith("127.") or own == "::1" else {"_node_ip_address": own}


def _host(address: str) -> str:
    """The host of an address such as `10.0.0.1:6379`; '' where it names none."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return host.strip("[]") if port.isdigit() else ""


def ports() -> dict[str, tuple[str, int]]:
    """What must be there for any call: Ray's control service, and its part on this machine."""
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    ports = {"Ray's control service": (host, int(port))}
    for node in ray.nodes():
        if node["NodeID"] == context.get_node_id():
            ports["Ray's raylet on this machine"] = (node["NodeManagerAddress"], node["NodeManagerPort"])
    return {name: at for name, at in ports.items() if _listens_now(*at)}


def _listens_now(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5.0).close()
    except OSError:  # behind a Ray client it may not be reached from here
        return False
    return True


def _take_signals_back() -> None:
    """Ray's core puts a handler of its own in the place of the process's, which ends it with a stack trace."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if (handler := signal.getsignal(number)) is not None:
                signal.signal(number, handler)
                signal.siginterrupt(number, False)


def _knock(address: str) -> None:
    """Raise OSError at once where nothing listens; Ray itself would try for minutes."""
    if host := _host(address):
        port = int(address.rpartition(":")[2])
        socket.create_connection((host, port), timeout=5.0).close()
