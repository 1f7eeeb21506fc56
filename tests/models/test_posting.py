"""Requests that are written to a connection as they are: what servers see and what comes of it is as by the session."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from populace.models import http as http_module
from populace.models.endings import Fault, Late, Rejected
from populace.models.http import Http, Reply
from populace.models.safety import Secret

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
SQUEEZED = gzip.compress(b'{"a": 1}')
BIG = b"x" * 2**25
"""More than the buffers of two sockets hold."""


class Server:
    """Notes each request as it came, and writes an answer; None closes the connection. It reads `whole` requests only
    where it is told to, else it answers at the end of the head and reads no further."""

    def __init__(self, answer: bytes | None, *, whole: bool = True) -> None:
        self.answer, self.whole = answer, whole
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                if self.whole:
                    length = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if b"-Length:" in line))
                    self.bodies.append(await reader.readexactly(length))
                if self.answer is None:
                    return
                writer.write(self.answer)
                if not self.whole:
                    await self.ended.wait()
                    return
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[str]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    finally:
        server.ended.set()
        listening.close()


@asynccontextmanager
async def open_http(url: str, **more: Any) -> AsyncIterator[Http]:
    http = Http(url, key=Secret("sk-of-the-test"), connections=4, **{"timeout_s": 30.0, **more})
    await http.open()
    try:
        yield http
    finally:
        await http.close()


async def posted(make: Callable[[], Server], *bodies: bytes, **more: Any) -> tuple[list[Any], Server]:
    server = make()
    async with serving(server) as url, open_http(url, **more) as http:
        return [await http.post("/chat/completions", body) for body in bodies], server


def either_way(patch: pytest.MonkeyPatch, make: Callable[[], Server], *bodies: bytes) -> list[tuple[list[Any], Server]]:
    """What comes of posts that are written as they are, and of those that the session makes."""
    found = [asyncio.run(posted(make, *bodies))]
    patch.setattr(http_module, "_prepare", lambda url, session: None)
    return [*found, asyncio.run(posted(make, *bodies))]


def seen(server: Server) -> list[tuple[bytes, list[bytes], bytes]]:
    """First line, headers but for the port, and body of each request."""
    requests = []
    for head, body in zip(server.heads, server.bodies, strict=True):
        first, *headers = head.strip().split(b"\r\n")
        requests.append((first, sorted(one for one in headers if not one.startswith(b"Host: 127.0.0.1:")), body))
        assert len(headers) == len(requests[-1][1]) + 1
    return requests


def test_servers_see_the_same_requests(monkeypatch):
    (ours, one), (session, other) = either_way(monkeypatch, lambda: Server(OK), b'{"n":1}', b"", b'{"n":"\xc3\xa4"}')
    assert seen(one) == seen(other)
    assert len(seen(one)) == 3
    assert b"Authorization: Bearer sk-of-the-test" in seen(one)[0][1]
    assert (one.connections, other.connections) == (1, 1)
    assert ours == session
    assert ours[0].body == b"{}"


def test_control_a_header_that_is_left_out_is_seen(monkeypatch):
    right = http_module._prepare

    def without_accept(url, session):
        made = right(url, session)
        lines = [line for line in made.head.split(b"\r\n") if not line.startswith(b"Accept: ")]
        return made._replace(head=b"\r\n".join(lines))

    monkeypatch.setattr(http_module, "_prepare", without_accept)
    with pytest.raises(AssertionError):
        test_servers_see_the_same_requests(monkeypatch)


ANSWERS: dict[str, tuple[bytes | None, type]] = {
    "told to go on": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, Reply),
    "in chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{} \r\n2\r\n  \r\n0\r\n\r\n", Reply),
    "squeezed": (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
                 % (len(SQUEEZED), SQUEEZED), Reply),
    "empty": (b"HTTP/1.1 204 No Content\r\n\r\n", Reply),
    "an error": (b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nwait", Reply),
    "elsewhere": (b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /v2\r\nContent-Length: 0\r\n\r\n", Rejected),
    "too large": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", Rejected),
    "last of its connection": (OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), Reply),
    "broken off": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{", Reply),
    "no HTTP": (b"220 mail.example.org ESMTP\r\n\r\n", Fault),
    "a head without an end": (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 2**17 + b"\r\n\r\n", Fault),
    "closed": (None, Fault),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_the_same_comes_of_every_answer(monkeypatch, name):
    answer, kind = ANSWERS[name]
    bodies = [b"{}"] if name == "broken off" else [b"{}", b"[]"]
    if name == "broken off":  # by a server that then closes
        ways = either_way(monkeypatch, lambda: Breaking(answer), *bodies)
        kind = Fault
    else:
        ways = either_way(monkeypatch, lambda: Server(answer), *bodies)
    (ours, one), (session, other) = ways
    assert shown(ours) == shown(session)
    assert {type(found) for found in ours} == {kind}
    assert (one.connections, len(one.heads)) == (other.connections, len(other.heads))


class Breaking(Server):
    """Closes in the middle of its answer."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        assert self.answer is not None
        writer.write(self.answer)
        await writer.drain()
        writer.close()


def shown(found: list[Any]) -> list[Any]:
    """Outcomes without the ports in their words."""
    return [repr(one).replace(repr(one).partition("127.0.0.1:")[2].partition("/")[0], "PORT") for one in found]


def test_a_connection_that_still_sends_is_not_used_again():
    (first, second), server = asyncio.run(posted(lambda: Server(OK, whole=False), BIG, b"{}"))
    assert first.body == second.body == b"{}"
    assert server.connections == 2


def test_control_where_it_is_used_again_the_next_request_stands_behind_the_rest(monkeypatch):
    monkeypatch.setattr("asyncio.selector_events._SelectorSocketTransport.get_write_buffer_size", lambda self: 0)
    (first, second), server = asyncio.run(posted(lambda: Server(OK, whole=False), BIG, b"{}", timeout_s=2.0))
    assert first.body == b"{}"
    assert isinstance(second, Late)
    assert server.connections == 1


def test_a_call_that_is_broken_off_leaves_no_connection_behind():
    async def broken_off() -> int:
        server = Server(OK, whole=False)
        server.answer = b""  # it never says anything
        async with serving(server) as url, open_http(url) as http:
            task = asyncio.create_task(http.post("/chat/completions", b"{}"))  # type: ignore[arg-type]
            while not server.heads:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            server.answer = OK
            await http.post("/chat/completions", b"{}")
            return server.connections

    assert asyncio.run(broken_off()) == 2


STRAY = b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"stray"'


async def asked_twice(stray_first: bool) -> tuple[list[bytes], int]:
    """What two posts in a row are answered where something comes unasked, with the first answer or right after it."""
    server = Server(OK + STRAY if stray_first else OK)
    async with serving(server) as url, open_http(url) as http:
        first = await http.post("/chat/completions", b"{}")
        server.answer = OK
        for connection in http._at_hand:
            connection.protocol.data_received(STRAY)
        second = await http.post("/chat/completions", b"{}")
        return [first.body, second.body], server.connections


@pytest.mark.parametrize("stray_first", [True, False])
def test_a_connection_on_which_something_came_unasked_is_not_used_again(stray_first):
    assert asyncio.run(asked_twice(stray_first)) == ([b"{}", b"{}"], 2)


def test_control_used_again_at_once_it_gives_what_was_not_asked_for(monkeypatch):
    monkeypatch.setattr(Http, "_take_at_hand", lambda http: http._at_hand.pop() if http._at_hand else None)
    assert asyncio.run(asked_twice(stray_first=False)) == ([b"{}", b'"stray"'], 1)


async def posted_and_fetched() -> tuple[Any, Any, int]:
    """A post and then a get, which the session makes, with one connection for both."""
    server = Server(OK, whole=True)
    async with serving(server) as url:
        http = Http(url, key=None, connections=1, timeout_s=2.0)
        await http.open()
        try:
            posted = await http.post("/chat/completions", b"{}")
            server.whole = False
            return posted, await http.get("/models"), server.connections
        finally:
            await http.close()


def test_a_connection_at_hand_is_everybody_s():
    post, get, connections = asyncio.run(posted_and_fetched())
    assert (post.body, get.body, connections) == (b"{}", b"{}", 1)


def test_control_kept_at_hand_it_keeps_others_waiting(monkeypatch):
    monkeypatch.setattr("populace.models.http._AT_HAND_S", 60.0)
    give_back, closing = Http._give_back, Http.close

    async def close(http):
        monkeypatch.setattr(Http, "_give_back", give_back)
        await closing(http)

    monkeypatch.setattr(Http, "_give_back", lambda http, first: None)
    monkeypatch.setattr(Http, "close", close)
    assert isinstance(asyncio.run(posted_and_fetched())[1], Late)


def test_a_connection_stays_at_hand_for_a_while_and_then_goes_back(monkeypatch):
    async def at_hand() -> tuple[int, int, int]:
        server = Server(OK)
        async with serving(server) as url, open_http(url) as http:
            await http.post("/chat/completions", b"{}")
            await asyncio.sleep(0.01)
            first = len(http._at_hand)
            async with asyncio.timeout(240):
                while http._at_hand:
                    await asyncio.sleep(0.01)
            assert http._letting_go is None
            await http.post("/chat/completions", b"{}")
            return first, len(http._at_hand), server.connections

    monkeypatch.setattr("populace.models.http._AT_HAND_S", 0.1)
    assert asyncio.run(at_hand()) == (1, 1, 1)
