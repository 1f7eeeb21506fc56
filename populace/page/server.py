"""Serves the page: its files, what views give, and a stream of what is new. Shell: aiohttp, threads.

Views run in two threads beside the event loop, what takes long in a third. A stream looks at the run's folder while
somebody listens and the run is at work, and ends when the run has ended: nobody asks for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from populace.core.errors import PopulaceError, SettingsError
from populace.files import cache_folder
from populace.page import guard
from populace.page.lineage import compared, family
from populace.page.overview import overview
from populace.page.prepared import Prepared
from populace.page.shelf import NotThere, Shelf
from populace.page.views import VIEWS, Columns, Preparing
from populace.page.watched import Watched

T = TypeVar("T")

PORT: Final = 8642
_LOOK_S: Final = 0.25
_SIGN_S: Final = 2.0
_KINDS: Final = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
}  # fmt: skip
_MOST_RUNS: Final = 16
_STREAMS: Final = 32
_encode: Final = msgspec.json.Encoder(enc_hook=str).encode


class Page:
    """The page of a shelf of runs, served at `host` from `start` to `close`. `port` 0 takes a free one.

    `names` are further names by which it may be called, such as that of a machine behind a proxy.
    """

    def __init__(self, shelf: Shelf, host: str = "127.0.0.1", port: int = PORT, names: Collection[str] = ()) -> None:
        self.shelf, self.host, self.port = shelf, host, port
        self._own = guard.own_names(host, names)
        self._anywhere = host in ("0.0.0.0", "::", "")  # noqa: S104 - it is compared with
        self._views = ThreadPoolExecutor(2, thread_name_prefix="populace-view")
        self._background = ThreadPoolExecutor(1, thread_name_prefix="populace-prepare")
        self._cache = cache_folder() / "page"
        self._watched: dict[Path, Watched] = {}
        self._diffs: dict[tuple[Path, Path], Prepared[dict[str, Any]]] = {}
        self._files = {path.name: path.read_bytes() for path in files(__package__).joinpath("static").iterdir()}
        self._runner: web.AppRunner | None = None
        self.listeners = 0
        """How many streams are open."""

    @property
    def url(self) -> str:
        """Where a browser finds the page."""
        host = "127.0.0.1" if self._anywhere else f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    async def start(self) -> None:
        """Listen. Raises SettingsError where the address cannot be had."""
        self._cache.mkdir(parents=True, exist_ok=True)
        app = web.Application(middlewares=[self._guarded])
        app.router.add_get("/", self._index)
        app.router.add_get("/static/{name}", self._static)
        app.router.add_get("/api/runs", self._runs)
        app.router.add_get("/api/compare", self._compare)
        app.router.add_get("/api/stream", self._stream)
        app.router.add_get("/api/{view}", self._view)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port).start()
        except OSError as error:
            await self.close()
            raise SettingsError(
                f"--port {self.port}: cannot listen on {self.host}:{self.port} ({error.strerror}). Choose another with "
                "--port, or 0 to have a free one picked."
            ) from None
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening, and let go of all that was made ready; a second call does nothing."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        for pool in (self._views, self._background):
            pool.shutdown(wait=False, cancel_futures=True)
        self._watched.clear()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        why = guard.refusal(request.method, request.headers, self._own, anywhere=self._anywhere)
        try:
            response: web.StreamResponse = _said(why, 403) if why else await handler(request)
        except web.HTTPException as error:
            response = _said(error.reason, error.status)
        except NotThere as error:
            response = _said(str(error), 404)
        except msgspec.ValidationError as error:
            response = _said(f"what was asked is not understood: {error}", 400)
        except PopulaceError as error:
            response = _said(str(error), 409)
        if not response.prepared:
            response.headers.update(guard.HEADERS)
        return response

    async def _index(self, _: web.Request) -> web.Response:
        return web.Response(body=self._files["index.html"], headers={"Content-Type": _KINDS[".html"]})

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        kind = _KINDS.get(Path(name).suffix)
        if name not in self._files or kind is None:
            return _said("there is no such file", 404)
        return web.Response(body=self._files[name], headers={"Content-Type": kind})

    async def _runs(self, _: web.Request) -> web.Response:
        found = await self._in_thread(lambda: family(self.shelf))
        return _json({"place": self.shelf.root.name, "alone": self.shelf.alone, "runs": found})

    async def _compare(self, request: web.Request) -> web.Response:
        a, b = (self.shelf.folder(request.query.get(name, "")) for name in ("a", "b"))
        if (a, b) not in self._diffs:
            self._diffs[a, b] = Prepared(self._background, lambda: compared(a, b))
        found = await self._in_thread(lambda: self._diffs[a, b].get(_ended(a, b)))
        return _json(Preparing() if found is None else {"ready": True, **found})

    async def _view(self, request: web.Request) -> web.Response:
        name = request.match_info["view"]
        if name not in VIEWS:
            return _said("there is no such view", 404)
        takes, give = VIEWS[name]
        given = {key: value for key, value in request.query.items() if key != "run" and value != ""}
        asked = msgspec.convert(given, takes, strict=False)
        run = self._run(request)
        found = await self._in_thread(lambda: give(run, asked))
        if isinstance(found, Columns):
            headers = {"Content-Type": "application/octet-stream", "X-About": _encode(found.about).decode("ascii")}
            return web.Response(body=found.data, headers=headers)
        return _json(found)

    def _run(self, request: web.Request) -> Watched:
        name = request.query.get("run", "")
        folder = self.shelf.folder(name)
        if folder not in self._watched:
            while len(self._watched) >= _MOST_RUNS:
                del self._watched[next(iter(self._watched))]
            self._watched[folder] = Watched(folder, name or folder.name, self._background, self._cache)
        return self._watched[folder]

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """What is new of a run, as server-sent events, until it has ended."""
        run = self._run(request)
        if self.listeners >= _STREAMS:
            return _said("too many pages are open: close one", 503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **guard.HEADERS})
        await response.prepare(request)
        self.listeners += 1
        try:
            await self._tell(run, response)
        except ConnectionResetError:
            pass  # the page was closed
        finally:
            self.listeners -= 1
        return response

    async def _tell(self, run: Watched, response: web.StreamResponse) -> None:
        last, told_tick = None, -1
        loop = asyncio.get_running_loop()
        spoke_s = loop.time()
        while True:
            now = await self._in_thread(run.sign)
            if now != last or loop.time() - spoke_s >= _SIGN_S:
                last, spoke_s = now, loop.time()
                look = partial(overview, run.folder, run.name, run.history)
                seen = await self._in_thread(partial(look, told_tick))
                if seen.tick < told_tick:  # it has gone back: all of it again
                    seen = await self._in_thread(look)
                told_tick = max(seen.curves["ticks"], default=min(told_tick, seen.tick))
                ended = seen.status != "at work"
                await response.write(b"event: %s\ndata: %s\n\n" % (b"end" if ended else b"seen", _encode(seen)))
                if ended:
                    return
            await asyncio.sleep(_LOOK_S)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._views, work)


async def serve(page: Page, started: Callable[[Page], None], stop: asyncio.Event | None = None) -> None:
    """Serve a page until it is cancelled, or `stop` is set; `started` is told once it listens."""
    await page.start()
    try:
        started(page)
        await (stop or asyncio.Event()).wait()
    finally:
        with contextlib.suppress(Exception):  # what it served has been read only: there is nothing to lose
            await page.close()


def _ended(a: Path, b: Path) -> tuple[Any, ...]:
    """What a comparison follows from: two runs as they stand."""
    return tuple(
        path.stat().st_mtime_ns if path.exists() else 0
        for folder in (a, b)
        for path in (folder / "manifest.json", folder / "parts")
    )


def _json(found: Any) -> web.Response:
    return web.Response(body=_encode(found), content_type="application/json")


def _said(why: str, status: int) -> web.Response:
    return web.Response(body=_encode({"error": why}), status=status, content_type="application/json")
