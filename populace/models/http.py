"""HTTP to a model's endpoint: the only module that imports aiohttp.

One session a process. Redirects are off, answers are read up to 4 MiB (after decompression), the connector is as
large as the concurrency, so that no call waits for a connection while its deadline runs. Names that resolve to
link-local or metadata addresses are not connected to, and before a connection is used its peer's address is checked.

A request differs from the one before in its body, so it is written to a connection of the session's connector as it
is, and aiohttp's parser reads the answer: `ClientSession.request`, which makes all of a request anew, costs more than
all else that a decision does. What is rare goes that way: a proxy, GET.

HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the environment hold, read once when the session opens; what is on this machine
is never asked through a proxy. A proxy resolves names for itself, so a name is resolved here as well where it can be.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import socket
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import aiohttp
import aiohttp.abc
import aiohttp.client_proto
import aiohttp.connector
import aiohttp.http
import yarl

from populace.models.endings import Fatal, Fault, Late, Rejected
from populace.models.keys import is_loopback
from populace.models.safety import Secret, check_base_url, host_of, refusal_of_address

MAX_BODY_BYTES: Final = 4 * 2**20

_KEEP_ALIVE_S: Final = 30.0
_AT_HAND_S: Final = 1.0
"""How long a connection stays at hand at least: longer than it takes from one tick's calls to the next one's."""
_LINE_BYTES: Final = 65536
_RESOLVE_S: Final = 3.0
"""How long to wait for a name that a proxy will resolve anyway."""
_AUTHORITY: Final = (
    "If an authority of your own issued the certificate, put that authority's certificate (PEM) into a file and name "
    "the file in the environment variable SSL_CERT_FILE"
)


class Reply(NamedTuple):
    """What a server sent back. Header names are matched whatever their case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Answer(NamedTuple):
    """An answer whose body is to be read; then it is at its `end`, or `drop`ped with its connection."""

    status: int
    headers: Mapping[str, str]
    content: aiohttp.StreamReader
    end: Callable[[], object]
    drop: Callable[[], object]


class _Prepared(NamedTuple):
    """A request that can be posted again and again: what the connector goes by, and all before the body's length."""

    request: aiohttp.ClientRequest
    head: bytes


_PARSER: Final[dict[str, Any]] = {"read_until_eof": True, "auto_decompress": True, "max_line_size": _LINE_BYTES}
_HEAD: Final = re.compile(rb"[^\r\n\0]+(?:\r\n[^\r\n\0]+)*")


class Http:
    """Posts JSON to one base URL, and says what came back as a `Reply` or as the fault that it was.

    `connections` is how many calls may be open at once; `timeout_s` is the deadline of a call, from when it is
    posted to the last byte of its answer. Raises SettingsError, naming `setting`, for a base URL that may
    not be called.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: Secret | None,
        connections: int,
        timeout_s: float,
        setting: str = "endpoint.base_url",
    ) -> None:
        self.base_url = check_base_url(base_url, setting)
        self._key = key
        self._connections = connections
        self._timeout_s = timeout_s
        self._urls: dict[str, yarl.URL] = {}
        self._prepared: dict[str, _Prepared | None] = {}
        self._session: aiohttp.ClientSession | None = None
        self._connector: aiohttp.TCPConnector | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=None)
        self._proxied = False
        self._refused = ""
        self._deadlines = _Deadlines(timeout_s)
        self._at_hand: list[aiohttp.connector.Connection] = []
        """Connections whose answer is read, for the calls that follow: the connector looks after those that lie idle
        for longer, and taking one from it costs a tick's first calls a seventh of their time."""
        self._idle = 0
        """How many of them nobody has taken since the timer rang."""
        self._letting_go: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Make the session; nothing is sent."""
        self._loop = asyncio.get_running_loop()
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "populace"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.reveal()}"
        proxy = proxy_for(self.base_url)
        resolver = _Resolver(aiohttp.ThreadedResolver())
        if proxy is not None:
            self._refused = await _refused_behind_proxy(resolver, host_of(self.base_url))
        self._proxied = proxy is not None
        self._connector = _Connector(limit=self._connections, keepalive_timeout=_KEEP_ALIVE_S, resolver=resolver)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            headers=headers,
            proxy=proxy,
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=_LINE_BYTES,
        )

    async def close(self) -> None:
        """Close the session and its connections."""
        self._deadlines.close()
        self._give_back(len(self._at_hand))
        if self._session is not None:
            await self._session.close()
            self._session = self._connector = None
            self._prepared.clear()

    def scrub(self, text: str) -> str:
        """`text` without the key, should a server have echoed it."""
        return text if self._key is None else self._key.scrub(text)

    def _scrub_body(self, content: bytes) -> bytes:
        """An answer without the key: what a server says ends up in tables."""
        return content if self._key is None else self._key.scrub_bytes(content)

    def post(self, path: str, body: bytes) -> Awaitable[Reply | Fault | Late | Rejected | Fatal]:
        """Post `body` to `path` (which begins with a slash) and read the answer."""
        return self._request("POST", path, body)

    def get(self, path: str) -> Awaitable[Reply | Fault | Late | Rejected | Fatal]:
        """Get `path`."""
        return self._request("GET", path, None)

    async def transfer(
        self, method: str, path: str, body: bytes | None, content_type: str, *, most_bytes: int = MAX_BODY_BYTES
    ) -> Reply | Fault | Late | Rejected | Fatal:
        """Send or fetch what may be long; what comes is read up to `most_bytes`.

        What is sent has a deadline that grows with its length; in what comes no pause may be as long as `timeout_s`.
        """
        assert self._session is not None, "open() comes first"
        url = yarl.URL(self.base_url + path)
        if self._refused:
            return Fatal("address", self._refused)
        self._give_back(len(self._at_hand))
        total_s = None if body is None else self._timeout_s + len(body) / _SLOWEST_BYTES_PER_S
        timeout = aiohttp.ClientTimeout(
            total=total_s, sock_connect=self._timeout_s, sock_read=total_s or self._timeout_s
        )
        headers = {"Content-Type": content_type} if content_type else None
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                if 300 <= response.status < 400:
                    return Rejected(f"{url} answered with a redirect, which is not followed", status=response.status)
                parts, size = [], 0
                async for part in response.content.iter_any():
                    parts.append(part)
                    size += len(part)
                    if size > most_bytes:
                        return Rejected(f"the answer is larger than {most_bytes} bytes")
                return Reply(response.status, response.headers, self._scrub_body(b"".join(parts)))
        except (aiohttp.ClientError, OSError, ValueError) as error:  # a timeout is an OSError
            if (refused := _refusal_in(error)) is not None:
                return Fatal("address", str(refused))
            if isinstance(error, aiohttp.ClientConnectorCertificateError):
                return Fatal("certificate", f"{error.certificate_error}. {_AUTHORITY}")
            return Fault(self.scrub(f"{type(error).__name__}: {error}"), billed=True)

    async def _request(self, method: str, path: str, body: bytes | None) -> Reply | Fault | Late | Rejected | Fatal:
        assert self._session is not None, "open() comes first"
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = yarl.URL(self.base_url + path)
        if self._refused:
            return Fatal("address", self._refused)
        begun = False
        assert self._loop is not None
        task = self._deadlines.begin(self._loop)
        try:
            prepared = None if body is None else self._prepared_for(path, url)
            if prepared is None or body is None:
                answer = await self._by_session(self._session, method, url, body)
            else:
                answer = await self._write(prepared, body)
            try:
                begun = answer.status < 300
                if 300 <= answer.status < 400:
                    to = self.scrub(answer.headers.get("Location", "nowhere"))[:200]
                    answer.end()
                    return Rejected(
                        f"{url} answered with a redirect ({answer.status} to {to}), which is not followed",
                        status=answer.status,
                    )
                content = await _read(answer)
            except BaseException:
                answer.drop()
                raise
            if content is None:
                answer.drop()
                return Rejected(f"the answer is larger than {MAX_BODY_BYTES} bytes", billed=begun)
            answer.end()
            return Reply(answer.status, answer.headers, self._scrub_body(content))
        except asyncio.CancelledError:
            if self._deadlines.passed(task):
                return Late(f"no whole answer within {self._timeout_s:g} s")
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if (refused := _refusal_in(error)) is not None:
                return Fatal("address", str(refused))
            if isinstance(error, aiohttp.ClientConnectorCertificateError):
                return Fatal("certificate", f"{error.certificate_error}. {_AUTHORITY}")
            return Fault(self.scrub(f"{type(error).__name__}: {error}"), billed=begun)
        finally:
            self._deadlines.end(task)

    async def _by_session(
        self, session: aiohttp.ClientSession, method: str, url: yarl.URL, body: bytes | None
    ) -> _Answer:
        self._give_back(len(self._at_hand))
        response = await session.request(method, url, data=body, allow_redirects=False)
        return _Answer(response.status, response.headers, response.content, response.release, response.close)

    def _prepared_for(self, path: str, url: yarl.URL) -> _Prepared | None:
        """What is the same of all requests to a path; None where the session has to make each."""
        if path not in self._prepared:
            self._prepared[path] = None if self._proxied else _prepare(url, self._session)
        return self._prepared[path]

    async def _write(self, prepared: _Prepared, body: bytes) -> _Answer:
        """Post a prepared request, and read until the answer's body begins. Raises as `ClientSession.request` does."""
        assert self._connector is not None
        assert self._loop is not None
        loop, (request, head) = self._loop, prepared
        connection = self._take_at_hand() or await self._connector.connect(request, [], self._timeout)
        try:
            protocol, transport = _open_ends(connection)
            protocol.set_response_params(**_PARSER)
            transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != 101:
                message, content = await protocol.read()
        except aiohttp.http.HttpProcessingError as error:
            connection.close()
            raise aiohttp.ClientResponseError(
                request.request_info, (), status=error.code, message=error.message, headers=error.headers
            ) from error
        except BaseException:
            connection.close()
            raise

        def end() -> None:
            if protocol.should_close or transport.get_write_buffer_size():  # it had an answer before it had all
                connection.close()
                return
            self._at_hand.append(connection)
            if self._letting_go is None:
                self._letting_go = loop.call_later(_AT_HAND_S, self._let_go)

        return _Answer(message.code, message.headers, content, end, connection.close)

    def _take_at_hand(self) -> aiohttp.connector.Connection | None:
        """A connection at hand that still stands, and on which nothing has come that was not asked for."""
        while self._at_hand:
            connection = self._at_hand.pop()
            self._idle = min(self._idle, len(self._at_hand))
            protocol = connection.protocol
            if protocol is not None and protocol.is_connected() and not protocol.should_close:
                return connection
            connection.close()
        return None

    def _let_go(self) -> None:
        """Give back to the connector what was at hand since the timer rang last, and look again when it rings next."""
        assert self._loop is not None
        self._give_back(self._idle)
        self._idle = len(self._at_hand)
        self._letting_go = self._loop.call_later(_AT_HAND_S, self._let_go) if self._idle else None

    def _give_back(self, first: int) -> None:
        """Give back to the connector the first of what is at hand; with the last of it the timer ends."""
        for connection in self._at_hand[:first]:
            connection.release()
        del self._at_hand[:first]
        self._idle = max(0, self._idle - first)
        if not self._at_hand and self._letting_go is not None:
            self._letting_go.cancel()
            self._letting_go = None


def _open_ends(connection: aiohttp.connector.Connection) -> tuple[aiohttp.client_proto.ResponseHandler, Any]:
    """A connection's protocol and transport. Raises ClientConnectionResetError where it is closed."""
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None or transport.is_closing():
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")
    return protocol, transport


def _prepare(url: yarl.URL, session: aiohttp.ClientSession | None) -> _Prepared | None:
    """A request as the session would make it, but for its body; None where this aiohttp can't be used so."""
    known = inspect.signature(aiohttp.client_proto.ResponseHandler.set_response_params).parameters
    if session is None or not known.keys() >= _PARSER.keys():
        return None
    request = aiohttp.ClientRequest("POST", url, headers=session.headers, loop=asyncio.get_running_loop())
    lines = [f"POST {url.raw_path_qs} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items() if name.lower() != "content-length"]
    head = "\r\n".join(lines).encode()
    if not _HEAD.fullmatch(head):
        return None  # a line break in a header: the session says so
    return _Prepared(request, head + b"\r\nContent-Length: ")


class _Deadlines:
    """Cancels tasks whose call takes too long. One timer for all of them: calls end in the order they began in."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._due_s: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any]:
        """The running task's call begins."""
        task = asyncio.current_task(loop)
        assert task is not None
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


async def _read(answer: _Answer) -> bytes | None:
    """The body, or None when it is too large. Most bodies come in one piece."""
    length = answer.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > MAX_BODY_BYTES:
        return None
    content = answer.content
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


class _Refused(OSError):
    """A connection would lead to an address where no model is."""


def _refusal_in(error: BaseException | None) -> _Refused | None:
    """The refusal that an error of the client comes from."""
    while error is not None and not isinstance(error, _Refused):
        error = error.__cause__
    return error


def proxy_for(base_url: str) -> str | None:
    """The proxy that the environment names for this address, or None: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY.

    What is on this machine has none.
    """
    if is_loopback(base_url) or urllib.request.proxy_bypass(host_of(base_url)):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(yarl.URL(base_url).scheme) or proxies.get("all")


async def _refused_behind_proxy(resolver: _Resolver, host: str) -> str:
    """Why a proxy is not asked for this host, or ''. A name that only the proxy can resolve passes."""
    try:
        async with asyncio.timeout(_RESOLVE_S):
            await resolver.resolve(host)
    except _Refused as error:
        return str(error)
    except OSError:  # a timeout is one
        return ""
    return ""


class _Connector(aiohttp.TCPConnector):
    """Checks the peer of each connection before anything is sent through it."""

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - aiohttp's signature
        connection = await super().connect(req, traces, timeout)
        transport = connection.transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        if peer and (reason := _refusal_of_peer(peer[0])) is not None:
            connection.close()
            raise _Refused(f"{req.url.host} is served from an address that is refused: {reason}")
        return connection


@lru_cache(maxsize=1024)
def _refusal_of_peer(address: str) -> str | None:
    return refusal_of_address(address)


class _Resolver(aiohttp.abc.AbstractResolver):
    """Resolves names and refuses those that lead to addresses where no model is."""

    def __init__(self, inner: aiohttp.abc.AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for result in found:
            if (reason := refusal_of_address(result["host"])) is not None:
                raise _Refused(f"{host} leads to an address that is refused: {reason}")
        return found

    async def close(self) -> None:
        await self._inner.close()


_SLOWEST_BYTES_PER_S: Final = 100_000.0
"""How slow the way up may be for a long body to arrive before its deadline."""
