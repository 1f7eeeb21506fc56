"""Serves the page: its files, what views give, and a stream of what is new. Shell: aiohttp, threads.

Views run in two threads beside the event loop, what takes long in a third. A stream looks at the run's folder while
somebody listens and the run is at work, and ends when the run has ended: nobody asks for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import traceback
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
from populace.page.control import ACTIONS, READ_ONLY, Control
from populace.page.experiment import Experiment, experiments_of
from populace.page.lineage import compared, family
from populace.page.overview import overview
from populace.page.prepared import Prepared
from populace.page.rows import warm
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
_ACTS: Final = 4
_MOST_BYTES: Final = 2**20
_encode: Final = msgspec.json.Encoder(enc_hook=str).encode


class Page:
    """The page of a shelf of runs, served at `host` from `start` to `close`. `port` 0 takes a free one.

    `names` are further names by which it may be called, such as that of a machine behind a proxy. With `control` runs
    can be controlled by whoever has its token.
    """

    def __init__(
        self,
        shelf: Shelf,
        host: str = "127.0.0.1",
        port: int = PORT,
        names: Collection[str] = (),
        control: Control | None = None,
    ) -> None:
        self.shelf, self.host, self.port = shelf, host, port
        self._control = control
        self._acting = asyncio.Semaphore(_ACTS)
        self._own = guard.own_names(host, names)
        self._anywhere = host in ("0.0.0.0", "::", "")  # noqa: S104 - it is compared with
        self._views = ThreadPoolExecutor(2, thread_name_prefix="populace-view")
        self._background = ThreadPoolExecutor(1, thread_name_prefix="populace-prepare")
        self._cache = cache_folder() / "page"
        self._watched: dict[Path, Watched] = {}
        self._experiments: dict[str, tuple[Experiment, Prepared[dict[str, Any]]]] = {}
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

    @property
    def address(self) -> str:
        """The same, with the token that controls runs, if there is one: for the person who began the page alone."""
        return self.url if self._control is None else f"{self.url}#token={self._control.token}"

    async def start(self) -> None:
        """Listen. Raises SettingsError where the address cannot be had."""
        self._cache.mkdir(parents=True, exist_ok=True)
        app = web.Application(middlewares=[self._guarded], client_max_size=_MOST_BYTES)
        app.router.add_get("/", self._index)
        app.router.add_get("/static/{name}", self._static)
        app.router.add_get("/api/runs", self._runs)
        app.router.add_get("/api/compare", self._compare)
        app.router.add_get("/api/experiment", self._experiment)
        app.router.add_get("/api/stream", self._stream)
        app.router.add_get("/api/{view}", self._view)
        app.router.add_post("/api/{action}", self._act)
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
        self._background.submit(warm)

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
        except msgspec.DecodeError as error:  # what does not fit its type among them
            response = _said(f"what was asked is not understood: {error}", 400)
        except PopulaceError as error:
            response = _said(str(error), 409)
        except Exception as error:  # noqa: BLE001  # a bug here would be a page without a word
            traceback.print_exc()
            why = f"{request.path}: a bug in populace ({type(error).__name__}): please report what the terminal says"
            response = _said(why, 500)
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
        about = {"place": self.shelf.root.name, "alone": self.shelf.alone, "control": self._control is not None}
        about["experiments"] = list(await self._in_thread(lambda: experiments_of(self.shelf)))
        return _json({**about, "runs": found})

    async def _experiment(self, request: web.Request) -> web.Response:
        name = request.query.get("name", "")
        if name not in self._experiments:
            made = await self._in_thread(lambda: Experiment(self.shelf, name))
            self._experiments[name] = (made, Prepared(self._background, made.seen))
        one, prepared = self._experiments[name]
        found = await self._in_thread(lambda: prepared.get(one.sign()))
        return _json(Preparing() if found is None else found)

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

    async def _act(self, request: web.Request) -> web.Response:
        """Do what the token's holder asks. What it takes may be long, so it is done in a thread of its own."""
        if self._control is None:
            return _said(READ_ONLY, 403)
        if (why := self._control.refusal(request.headers.get("Authorization", ""))) is not None:
            return _said(why, 403)
        if request.content_type != "application/json":
            return _said("what is asked is to be sent as application/json", 415)
        name = request.match_info["action"]
        if name not in ACTIONS:
            return _said("there is no such action", 404)
        action, control = ACTIONS[name], self._control
        asked = msgspec.json.decode(await request.read(), type=action.takes)
        async with self._acting if action.is_long else contextlib.nullcontext():
            return _json(await _in_own_thread(lambda: action.do(control, asked)))

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


async def _in_own_thread(work: Callable[[], T]) -> T:
    """What the work comes to; the thread keeps no process from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def do() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001  # it is raised where the result is awaited
            error = raised
        with contextlib.suppress(RuntimeError):  # the page has ended meanwhile
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=do, name="populace-act", daemon=True).start()
    return await done


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
