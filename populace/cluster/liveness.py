"""Whether what a run stands on is still there: the processes of a cluster that every call goes through. A shell.

A call to a lost process of a cluster may wait for ever, or end the process that waits. So they are looked at from
outside: a port on which nobody listens any more belongs to a process that has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
import psutil

from populace.core.errors import TransportError

T = TypeVar("T")

EVERY_S: Final = 2.0
MISSED: Final = 5
"""How often in a row nobody may listen before a process counts as ended."""
_KNOCK_S: Final = 3.0


class Liveness:
    """Knocks at the ports of processes, each named by what it is; `down` says why once one of them has ended."""

    def __init__(self, ports: Mapping[str, tuple[str, int]], every_s: float = EVERY_S) -> None:
        self.down: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ports = ports
        self._every_s = every_s
        self._task = asyncio.create_task(self._watch(), name="populace liveness")

    async def unless_down(self, waiting: asyncio.Future[T]) -> T:
        """What is waited for. Raises TransportError where what it stands on has ended meanwhile."""
        await asyncio.wait((waiting, self.down), return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        raise TransportError(self.down.result())

    async def close(self) -> None:
        """Stop knocking."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _watch(self) -> None:
        missed = dict.fromkeys(self._ports, 0)
        while not self.down.done():
            for name, (host, port) in self._ports.items():
                missed[name] = 0 if await _listens(host, port) else missed[name] + 1
                if missed[name] >= MISSED and not self.down.done():
                    self.down.set_result(
                        f"{name} at {host}:{port} has ended: nobody listens there any more. The run's folder has what "
                        "was saved: see that Ray runs, and resume the run."
                    )
            await asyncio.sleep(self._every_s)


class Owner(msgspec.Struct, frozen=True):
    """A process that others work for: its machine, by Ray's name of it, its id, and when it began."""

    machine: str
    pid: int
    began_s: float

    def lives(self) -> bool:
        """Whether it is there still; asked on its machine."""
        try:
            process = psutil.Process(self.pid)
            return bool(process.create_time() == self.began_s and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


def own_process(machine: str) -> Owner:
    """The process that asks, as an owner of others."""
    process = psutil.Process()
    return Owner(machine, process.pid, process.create_time())


def end_with(
    owner: Owner, machine: str, end: Callable[[], object] = lambda: os._exit(1), every_s: float = EVERY_S
) -> None:
    """Have this process, on `machine`, end as its owner does, however that ended, by SIGKILL too.

    Where the system does not tell of its end it is looked for every so often. Nothing is watched where the owner cannot
    be seen from here: on another machine, or in a container of its own.
    """
    if machine != owner.machine:
        return
    descriptor = _opened(owner.pid)
    if not owner.lives():  # asked once it is open: of a process that took its id since there is nothing to hear
        if descriptor is not None:
            os.close(descriptor)
        return

    def watch() -> None:
        if descriptor is None:
            _look_until_gone(owner.pid, every_s)
        else:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll()
        end()

    threading.Thread(target=watch, name="populace owner", daemon=True).start()


def _opened(pid: int) -> int | None:
    """A descriptor that can be read once a process has ended; None where the system gives none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, an old one, or a container that forbids it
        return None


def _look_until_gone(pid: int, every_s: float) -> None:
    # When a process began is told anew once the machine's clock is set, so it is not looked at again.
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(every_s)


async def _listens(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_KNOCK_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def aside(function: Callable[..., T], *args: Any, patience_s: float, stays: bool = False) -> T:
    """What a call gives that may block for ever, in a thread that nobody waits for at the end. Raises TimeoutError.

    With `stays` the thread lives as long as the process: children may end with the thread that began them.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(value: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def work() -> None:
        value, failed = None, None
        try:
            value = function(*args)
        except Exception as error:  # noqa: BLE001  # it is raised where the call is waited for
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, value, failed)
        if stays:
            threading.Event().wait()

    threading.Thread(target=work, name="populace aside", daemon=True).start()
    async with asyncio.timeout(patience_s):
        return await future
