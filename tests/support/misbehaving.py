"""A real OpenAI-compatible HTTP server on loopback that misbehaves on purpose, in a thread of its own.

```python
with Misbehaving(plan=[status(500), status(429, retry_after="1"), OK]) as server:
    client = ...(base_url=server.base_url)      # http://127.0.0.1:<free port>/v1
    ...
    server.seen        # every request: when, which path, which header names, what body
    server.billed      # what a provider would have charged for
    server.invented    # what the model behind it said, before anything was done to it
```

A plan says what happens to each request: a list (the nth request gets the nth act, those after it OK) or a
function of the `Seen` request. A `RateLimit` is enforced before the plan is asked, so that its 429s are honest:
two token buckets that hold `slack` seconds' worth and no more. Answers are drawn from the request's own content
(model, messages, schema, seed) and satisfy the schema that came with it.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from hashlib import blake2b
from typing import Any, Literal, Self, TypeAlias

from aiohttp import web

from support.misbehaving_answers import invent, schema_of, tokens_in, tokens_of

Kind: TypeAlias = Literal[
    "ok", "status", "hang", "drip", "drop", "cut", "bomb", "malformed", "unschematic", "refuse", "redirect"
]


@dataclass(frozen=True)
class Act:
    """What happens to one request, after `latency_s`.

    `drop` closes the connection before any byte, `cut` in the middle of the body; `drip` sends a byte every
    `drip_s`; `bomb` is a small gzip answer that inflates to `bomb_bytes`; `malformed` is no JSON; `unschematic` is
    good JSON whose content breaks the schema. `text` replaces the content of an answer, `body` the whole body.
    `shape` gets a good answer and its request, and gives what is sent in its place: plain data or bytes.
    `close` closes the connection after a good answer without having said so, as an idle time-out does.
    """

    kind: Kind = "ok"
    latency_s: float = 0.0
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    body: bytes | None = None
    content_type: str = "application/json"
    drip_s: float = 0.2
    bomb_bytes: int = 32 * 2**20
    to: str = ""
    close: bool = False
    shape: Callable[[dict[str, Any], dict[str, Any]], Any] | None = None


@dataclass
class Seen:
    """One request as it arrived. `arrived_s` is monotonic; header values are not kept, since one is a key.

    `connection` is the client's (host, port), so that requests on one connection can be told.
    """

    nth: int
    arrived_s: float
    path: str
    header_names: tuple[str, ...]
    authorized: bool
    body: dict[str, Any] | None
    connection: Any = None
    status: int = 0
    limited: bool = False


@dataclass
class Billed:
    """What a provider would have charged for: answers that the model made, read by the client or not."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


Plan: TypeAlias = Sequence[Act] | Callable[[Seen], Act]
OK = Act()


def _error_body(code: str) -> bytes:
    return json.dumps({"error": {"message": f"on purpose: {code}", "type": code, "code": code, "param": None}}).encode()


def slow(latency_s: float) -> Act:
    """A good answer after this long."""
    return Act(latency_s=latency_s)


def status(code: int, *, retry_after: str | None = None, error: str = "", **headers: str) -> Act:
    """An error with an OpenAI-shaped body; header names are given with underscores (`x_ratelimit_limit_requests`)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if retry_after is not None:
        named["retry-after"] = retry_after
    return Act(kind="status", status=code, headers=named, body=_error_body(error or f"status_{code}"))


def http_date(unix_s: float) -> str:
    """The HTTP date of a Unix time, for `retry_after`."""
    return formatdate(unix_s, usegmt=True)


HANG = Act(kind="hang")
DRIP = Act(kind="drip")
DROP = Act(kind="drop")
CUT = Act(kind="cut")
BOMB = Act(kind="bomb")
MALFORMED = Act(kind="malformed")
UNSCHEMATIC = Act(kind="unschematic")
REFUSE = Act(kind="refuse")
TO_ITSELF = Act(kind="redirect")
CLOSING = Act(close=True)
NO_QUOTA = status(429, error="insufficient_quota")
WRONG_TYPE = Act(kind="status", status=200, body=b"<html>Welcome to the proxy</html>", content_type="text/html")


def redirect(to: str) -> Act:
    """A 308 to another address."""
    return Act(kind="redirect", to=to)


class RateLimit:
    """Two token buckets, enforced: requests and tokens, each refilled steadily and never above `slack_s` worth.

    A request is charged its prompt and its answer when it arrives (both are known then). Time in seconds.
    """

    def __init__(self, requests_per_minute: float, tokens_per_minute: float, slack_s: float = 1.0) -> None:
        self.rates = (requests_per_minute / 60.0, tokens_per_minute / 60.0)
        self.caps = (max(1.0, self.rates[0] * slack_s), max(1.0, self.rates[1] * slack_s))
        self.levels = list(self.caps)
        self.at_s: float | None = None

    def take(self, tokens: int, now_s: float) -> float:
        """Take one request of so many tokens; 0.0 when it was taken, else in how many seconds it may come again."""
        if self.at_s is not None:
            gone = now_s - self.at_s
            parts = zip(self.levels, self.rates, self.caps, strict=True)
            self.levels = [min(cap, level + rate * gone) for level, rate, cap in parts]
        self.at_s = now_s
        parts = zip((1, tokens), self.levels, self.rates, strict=True)
        wait = max((need - level) / rate for need, level, rate in parts)
        if wait > 0.0:
            return wait
        self.levels = [self.levels[0] - 1, self.levels[1] - tokens]
        return 0.0

    def headers(self) -> dict[str, str]:
        """The `x-ratelimit-*` headers as OpenAI writes them."""
        named = {}
        for name, level, rate, cap in zip(("requests", "tokens"), self.levels, self.rates, self.caps, strict=True):
            named[f"x-ratelimit-limit-{name}"] = str(round(rate * 60))
            named[f"x-ratelimit-remaining-{name}"] = str(int(level))
            named[f"x-ratelimit-reset-{name}"] = f"{round((cap - level) / rate * 1000)}ms"
        return named


class Misbehaving:
    """The server; a context manager. `keepalive_s` closes idle connections, `key` asks for a bearer token."""

    def __init__(
        self,
        plan: Plan = (),
        *,
        models: Iterable[str] = ("test-model",),
        key: str | None = None,
        limit: RateLimit | None = None,
        keepalive_s: float = 75.0,
        base: Act = OK,
    ) -> None:
        self.plan = plan
        self.models = tuple(models)
        self.key = key
        self.limit = limit
        self.base = base
        self.seen: list[Seen] = []
        self.followed: list[str] = []
        self.invented: list[str] = []
        self.billed = Billed()
        self.open_now = 0
        self.open_peak = 0
        self._keepalive_s = keepalive_s
        self._bombs: dict[int, bytes] = {}
        self._ready: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="misbehaving", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._ready.result(timeout=30)
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=30)
        assert not self._thread.is_alive(), "the misbehaving server did not stop"

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._handle)
        app.router.add_post("/v1/completions", self._handle)
        app.router.add_route("*", "/elsewhere/{rest:.*}", self._elsewhere)
        runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=self._keepalive_s,
            shutdown_timeout=0.05,
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
            await site.start()
            self._ready.set_result(runner.addresses[0][1])
            await self._stop.wait()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise
        finally:
            await runner.cleanup()
            await asyncio.sleep(0.01)  # what it closed ends in the loop's next rounds

    async def _models(self, request: web.Request) -> web.Response:
        if not self._authorized(request):
            return _error(401, "invalid_api_key")
        listed = [{"id": name, "object": "model", "owned_by": "test"} for name in self.models]
        return web.json_response({"object": "list", "data": listed})

    async def _elsewhere(self, request: web.Request) -> web.Response:
        self.followed.append(request.path)
        return web.json_response({})

    def _authorized(self, request: web.Request) -> bool:
        return self.key is None or request.headers.get("Authorization") == f"Bearer {self.key}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        arrived_s = time.monotonic()
        try:
            body = json.loads(await request.read())
        except ValueError:
            body = None
        peer = request.transport.get_extra_info("peername") if request.transport else None
        names = tuple(request.headers)
        seen = Seen(len(self.seen), arrived_s, request.path, names, self._authorized(request), body, peer)
        self.seen.append(seen)
        self.open_now += 1
        self.open_peak = max(self.open_peak, self.open_now)
        try:
            response = await self._respond(request, seen)
            seen.status = response.status
            return response
        finally:
            self.open_now -= 1

    async def _respond(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        body = seen.body
        if body is None:
            return _error(400, "invalid_json")
        if not seen.authorized:
            return _error(401, "invalid_api_key")
        if body.get("model") not in self.models:
            return _error(404, "model_not_found")
        headers: dict[str, str] = {}
        answer = self._answer(body, OK)
        if self.limit is not None:
            usage = answer["usage"]
            wait = self.limit.take(usage["total_tokens"], time.monotonic())
            headers = self.limit.headers()
            if wait > 0.0:
                seen.limited = True
                headers["retry-after"] = f"{wait:.3f}"
                return _error(429, "rate_limit_exceeded", headers)
        act = self._act(seen)
        if act.latency_s:
            await asyncio.sleep(act.latency_s)
        return await self._play(request, body, replace(act, headers={**headers, **act.headers}), answer)

    def _act(self, seen: Seen) -> Act:
        if callable(self.plan):
            return self.plan(seen)
        return self.plan[seen.nth] if seen.nth < len(self.plan) else self.base

    async def _play(
        self, request: web.Request, body: dict[str, Any], act: Act, answer: dict[str, Any]
    ) -> web.StreamResponse:
        match act.kind:
            case "status":
                kind = act.content_type
                return web.Response(status=act.status, body=act.body, content_type=kind, headers=act.headers)
            case "hang":
                await self._stop.wait()
                return _error(503, "stopping")
            case "drop":
                return _abort(request)
            case "redirect":
                here = f"/elsewhere{request.path}"
                return web.Response(status=308, headers={**act.headers, "Location": act.to or here})
            case "bomb":
                return self._bomb(act)
        if act.kind in {"unschematic", "refuse"} or act.text is not None:
            answer = self._answer(body, act)
        usage = answer["usage"]
        self.billed.calls += 1
        self.billed.tokens_in += usage["prompt_tokens"]
        self.billed.tokens_out += usage["completion_tokens"]
        if act.body is None:
            self.invented += [choice.get("text") or _content_of(choice) for choice in answer["choices"]]
        if act.shape is not None:
            shaped = act.shape(answer, body)
            data = shaped if isinstance(shaped, bytes) else json.dumps(shaped).encode()
        else:
            data = act.body if act.body is not None else json.dumps(answer).encode()
        if act.kind == "malformed":
            data = data[: len(data) // 2]
        if act.kind in {"cut", "drip"}:
            return await self._stream(request, act, data)
        response = web.Response(body=data, content_type=act.content_type, headers=act.headers)
        if act.close:
            await response.prepare(request)
            await response.write_eof()
            if request.transport is not None:
                request.transport.close()
        return response

    async def _stream(self, request: web.Request, act: Act, data: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={**act.headers, "Content-Type": act.content_type})
        response.content_length = len(data)
        await response.prepare(request)
        if act.kind == "cut":
            await response.write(data[: len(data) // 2])
            return _abort(request)
        for at in range(len(data)):
            await response.write(data[at : at + 1])
            if self._stop.is_set():
                return _abort(request)
            await asyncio.sleep(act.drip_s)
        await response.write_eof()
        return response

    def _bomb(self, act: Act) -> web.Response:
        if act.bomb_bytes not in self._bombs:
            self._bombs[act.bomb_bytes] = gzip.compress(b'{"choices": "' + b" " * act.bomb_bytes + b'"}')
        headers = {**act.headers, "Content-Encoding": "gzip"}
        return web.Response(body=self._bombs[act.bomb_bytes], content_type="application/json", headers=headers)

    def _answer(self, body: dict[str, Any], act: Act) -> dict[str, Any]:
        """The body of an answer: one choice for a chat, one for each prompt of a completion."""
        chat = "messages" in body
        given = body.get("prompt", "")
        prompts: list[Any] = [body["messages"]] if chat else (given if isinstance(given, list) else [given])
        schema = schema_of(body)
        choices = []
        counts = [0, 0]
        for index, prompt in enumerate(prompts):
            content = json.dumps([body["model"], prompt, schema, body.get("seed")], sort_keys=True)
            text = invent(schema, blake2b(content.encode()).digest())
            if act.kind == "unschematic":
                text = '{"surprise": [1, 2, 3]}'
            text = act.text if act.text is not None else text
            counts[0] += tokens_in(prompt)
            counts[1] += tokens_of(text)
            choice: dict[str, Any] = {"index": index, "finish_reason": "stop"}
            if not chat:
                choice["text"] = text
            elif act.kind == "refuse":
                choice["message"] = {"role": "assistant", "content": None, "refusal": "I can't help with that."}
            else:
                choice["message"] = {"role": "assistant", "content": text, "refusal": None}
            choices.append(choice)
        return {
            "id": f"test-{len(self.seen)}",
            "object": "chat.completion" if chat else "text_completion",
            "model": body["model"],
            "choices": choices,
            "usage": {"prompt_tokens": counts[0], "completion_tokens": counts[1], "total_tokens": sum(counts)},
        }


def _content_of(choice: dict[str, Any]) -> str:
    return (choice.get("message") or {}).get("content") or ""


def _abort(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=499)


def _error(code: int, name: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=code, body=_error_body(name), content_type="application/json", headers=headers)
