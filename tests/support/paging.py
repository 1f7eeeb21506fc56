"""The page of a place, served as `populace watch` does, and asked as browsers do."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from populace.page.control import Control
from populace.page.server import Page, serve
from populace.page.shelf import Shelf

TRIES = 200


class Asked:
    """A page that is served, and what it answers."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @property
    def url(self) -> str:
        return self.page.url

    def raw(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (their names in lower case) and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.page.port, timeout=240)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            body = response.read()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, body
        finally:
            connection.close()

    def get(self, view: str, **given: Any) -> Any:
        """What a view gives, once it is ready."""
        for _ in range(TRIES):
            status, _, body = self.raw(f"/api/{view}?{urlencode(given)}")
            assert status == 200, body
            found = json.loads(body)
            if not (isinstance(found, dict) and found.get("ready") is False):
                return found
        raise AssertionError(f"{view} was never ready")

    def act(self, action: str, token: str | None, headers: dict[str, str] | None = None, **given: Any) -> Any:
        """Status and answer of an action, asked for with a token."""
        named = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        status, _, body = self.raw(f"/api/{action}", "POST", {**named, **(headers or {})}, json.dumps(given).encode())
        return status, json.loads(body)

    def columns(self, view: str, **given: Any) -> tuple[bytes, dict[str, Any]]:
        """Columns, and what is said of them, once they are ready."""
        for _ in range(TRIES):
            status, headers, body = self.raw(f"/api/{view}?{urlencode(given)}")
            assert status == 200, body
            if headers["content-type"] == "application/octet-stream":
                return body, json.loads(headers["x-about"])
        raise AssertionError(f"{view} was never ready")

    def events(self, **given: Any) -> list[tuple[str, Any]]:
        """All events of a stream until the page ends it."""
        status, _, body = self.raw(f"/api/stream?{urlencode(given)}")
        assert status == 200, body
        told = []
        for block in body.decode().strip().split("\n\n"):
            kind, data = block.split("\n", 1)
            told.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        return told


def until(there: Callable[[], Any], tries: int = 4800) -> Any:
    """Wait for what another process does, and give what `there` gives then."""
    for _ in range(tries):
        if found := there():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come")


def controlling(place: Path) -> Page:
    """A page that controls runs, as `populace watch --control` makes it."""
    shelf = Shelf(place)
    return Page(shelf, port=0, control=Control(shelf))


def token_of(asked: Asked) -> str:
    """The token of a page, as its printed address has it."""
    return asked.page.address.partition("#token=")[2]


@contextmanager
def paged(place: Path, make: Callable[[Path], Page] | None = None) -> Iterator[Asked]:
    """Serve a run's folder, or a folder of runs, on a free port in a thread of its own."""
    page = make(place) if make else Page(Shelf(place), port=0)
    ready, stop = threading.Event(), asyncio.Event()
    failed: list[BaseException] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def go() -> None:
        loops.append(asyncio.get_running_loop())
        await serve(page, lambda _: ready.set(), stop)

    def run() -> None:
        try:
            asyncio.run(go())
        except BaseException as error:
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run, name="page")
    thread.start()
    assert ready.wait(240)
    if failed:
        raise failed[0]
    try:
        yield Asked(page)
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(240)
        assert not thread.is_alive()
