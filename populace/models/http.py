"""HTTP to a model's endpoint: the only module that imports aiohttp.

One session a process. Redirects are off, answers are read up to 4 MiB (after decompression), the connector is as
large as the concurrency, so that no call waits for a connection while its deadline runs, and names that resolve to
link-local or metadata addresses are not connected to.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Mapping
from typing import Any, Final, NamedTuple

import aiohttp
import aiohttp.abc
import yarl

from populace.models.endings import Fault, Late, Rejected
from populace.models.safety import Secret, check_base_url, refusal_of_address

MAX_BODY_BYTES: Final = 4 * 2**20

_KEEP_ALIVE_S: Final = 30.0


class Reply(NamedTuple):
    """What a server sent back. Header names are matched whatever their case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """Posts JSON to one base URL, and says what came back as a `Reply` or as the fault that it was.

    `connections` is how many calls may be open at once; `timeout_s` is the deadline of a call, from when it is
    posted to the last byte of its answer. Raises SettingsError, naming `setting`, for a base URL that may
    not be called.
    """

    def __init__(
        self, base_url: str, *, key: Secret | None, connections: int, timeout_s: float, setting: str = "model.base_url"
    ) -> None:
        self.base_url = check_base_url(base_url, setting)
        self._key = key
        self._connections = connections
        self._timeout_s = timeout_s
        self._urls: dict[str, yarl.URL] = {}
        self._session: aiohttp.ClientSession | None = None
        self._deadlines = _Deadlines(timeout_s)

    async def open(self) -> None:
        """Make the session; nothing is sent."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "populace"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.reveal()}"
        connector = aiohttp.TCPConnector(
            limit=self._connections, keepalive_timeout=_KEEP_ALIVE_S, resolver=_Resolver(aiohttp.ThreadedResolver())
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=65536,
        )

    async def close(self) -> None:
        """Close the session and its connections."""
        self._deadlines.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def scrub(self, text: str) -> str:
        """`text` without the key, should a server have echoed it."""
        return text if self._key is None else self._key.scrub(text)

    def _scrub_body(self, content: bytes) -> bytes:
        """An answer without the key: what a server says ends up in tables."""
        return content if self._key is None else self._key.scrub_bytes(content)

    def post(self, path: str, body: bytes) -> Awaitable[Reply | Fault | Late | Rejected]:
        """Post `body` to `path` (which begins with a slash) and read the answer."""
        return self._request("POST", path, body)

    def get(self, path: str) -> Awaitable[Reply | Fault | Late | Rejected]:
        """Get `path`."""
        return self._request("GET", path, None)

    async def _request(self, method: str, path: str, body: bytes | None) -> Reply | Fault | Late | Rejected:
        assert self._session is not None, "open() comes first"
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = yarl.URL(self.base_url + path)
        begun = False
        task = self._deadlines.begin()
        try:
            response = await self._session.request(method, url, data=body, allow_redirects=False)
            try:
                begun = response.status < 300
                if 300 <= response.status < 400:
                    return Rejected(f"{url} answered with a redirect ({response.status}), which is not followed")
                content = await _read(response)
            except BaseException:
                response.close()
                raise
            if content is None:
                response.close()
                return Rejected(f"the answer is larger than {MAX_BODY_BYTES} bytes", billed=begun)
            response.release()
            return Reply(response.status, response.headers, self._scrub_body(content))
        except asyncio.CancelledError:
            if self._deadlines.passed(task):
                return Late(f"no whole answer within {self._timeout_s:g} s")
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Fault(self.scrub(f"{type(error).__name__}: {error}"), billed=begun)
        finally:
            self._deadlines.end(task)


class _Deadlines:
    """Cancels tasks whose call takes too long. One timer for all of them: calls end in the order they began in."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._due_s: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> asyncio.Task[Any]:
        """The running task's call begins."""
        task = asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        self._due_s[task] = due_s = loop.time() + self._timeout_s
        if self._timer is None:
            self._timer = loop.call_at(due_s, self._sweep, loop)
        return task

    def end(self, task: asyncio.Task[Any]) -> None:
        """Its call has ended."""
        del self._due_s[task]
        self._late.discard(task)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def passed(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task was cancelled because its time was over, and for no other reason."""
        return task in self._late and task.uncancel() == 0

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        self._timer = None
        for task, due_s in self._due_s.items():
            if due_s > now_s:
                self._timer = loop.call_at(due_s, self._sweep, loop)
                return
            if task not in self._late:
                self._late.add(task)
                task.cancel()


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """The body, or None when it is too large. Most bodies come in one piece."""
    length = response.content_length
    if length is not None and length > MAX_BODY_BYTES:
        return None
    content = response.content
    data = await content.readany()
    if content.at_eof():
        return data if len(data) <= MAX_BODY_BYTES else None
    parts = [data]
    size = len(data)
    while size <= MAX_BODY_BYTES:
        data = await content.readany()
        if not data:
            return b"".join(parts)
        parts.append(data)
        size += len(data)
    return None


class _Resolver(aiohttp.abc.AbstractResolver):
    """Resolves names and refuses those that lead to addresses where no model is."""

    def __init__(self, inner: aiohttp.abc.AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for result in found:
            if (reason := refusal_of_address(result["host"].partition("%")[0])) is not None:
                raise OSError(f"{host} leads to an address that is refused: {reason}")
        return found

    async def close(self) -> None:
        await self._inner.close()
