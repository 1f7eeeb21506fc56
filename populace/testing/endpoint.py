"""A real OpenAI-compatible HTTP server on loopback that answers in tests, in a thread of its own."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final, Self, TypeAlias

import msgspec
import numpy as np
from aiohttp import web
from numpy.typing import ArrayLike

from populace.core.draws import Stream
from populace.models.scripted.embed import placebo_vector
from populace.models.scripted.generate import compile_schema, plain_text
from populace.testing.acts import (
    CUT,
    DROP,
    HANG,
    MALFORMED,
    OK,
    REFUSE,
    Act,
    Billed,
    Plan,
    RateLimit,
    Seen,
    error_body,
    slow,
    status,
)
from populace.testing.requests import schema_of, tokens_in, tokens_of

TROUBLE: Final[Mapping[str, Act]] = {
    "429": status(429, retry_after="0.05"),
    "500": status(500),
    "slow": slow(1.0),
    "malformed": MALFORMED,
    "cut": CUT,
    "drop": DROP,
    "hang": HANG,
    "refuse": REFUSE,
}
"""What may happen to a request: an error, a second's wait, no JSON, a body or connection that breaks off, no reply
at all, a refusal in words."""


@dataclass(frozen=True)
class Asked:
    """What a request asks: the prompt as its messages (role, content), and the JSON schema of the answer, if any.

    `again` counts the requests of the very same content before this one: retries.
    """

    model: str
    messages: tuple[tuple[str, str], ...]
    schema: Mapping[str, Any] | None
    body: Mapping[str, Any]
    again: int = 0

    @property
    def text(self) -> str:
        """All that it says, message by message."""
        return "\n".join(content for _, content in self.messages)


Answering: TypeAlias = Callable[[Asked], Any]
"""What the model behind the endpoint says: a str as it is, anything else as JSON."""


Embedding: TypeAlias = Callable[[str], ArrayLike]
"""What the model behind the endpoint makes of a text: its vector."""


def placebo_answer(asked: Asked) -> str:
    """An answer that fits the schema asked for, drawn from the request's own content. Raises ValueError for none."""
    content = json.dumps([asked.model, asked.messages, asked.schema, asked.body.get("seed")], sort_keys=True)
    draw = Stream(int.from_bytes(blake2b(content.encode(), digest_size=8).digest(), "big"), 0, 0, "fake endpoint")
    return plain_text(draw) if asked.schema is None else json.dumps(compile_schema(asked.schema)(draw))


async def _settled() -> None:
    """Wait for what happens in the loop's next rounds, however long a round takes."""
    for _ in range(20):
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)


class FakeEndpoint:
    """The server; a context manager, which gives `base_url` (http://127.0.0.1:<free port>/v1).

    ```python
    def vote(asked):         # what the model says: a str, or plain data
        return {"support": 10} if "farmer" in asked.text else {"support": 90}

    with FakeEndpoint(vote, models=["my-model"], trouble={"429": 0.1, "cut": 0.05}) as endpoint:
        run = populace.run("my_society.py", model="openai", settings=endpoint.settings)
        endpoint.seen        # every request: when, which path, which header names, what body
        endpoint.billed      # calls and tokens that a provider would have charged for
    ```

    `answer` says what the model says, by default a placebo; `models` are those that it serves, and `settings` are those
    of a run that asks the first of them. `trouble` says how often what happens to a request (`429`, `500`, `slow`,
    `malformed`, `cut`, `drop`, `hang`, `refuse`): by lot from `seed`, the request's content and how often it came, so
    in whatever order requests arrive. A `plan` goes before it: a list (the nth request gets the nth act) or a function
    of the `Seen` request. A `limit` is enforced before either. `key` asks for a bearer token; `keepalive_s` closes idle
    connections. `embedding` gives the vector of a text, for `/embeddings`: by default a placebo's.
    """

    def __init__(
        self,
        answer: Answering = placebo_answer,
        *,
        trouble: Mapping[str, float] | None = None,
        plan: Plan = (),
        seed: int = 0,
        models: Iterable[str] = ("test-model",),
        key: str | None = None,
        limit: RateLimit | None = None,
        keepalive_s: float = 75.0,
        base: Act = OK,
        embedding: Embedding = placebo_vector,
    ) -> None:
        self.trouble = dict(trouble or {})
        unknown = self.trouble.keys() - TROUBLE.keys()
        if unknown or sum(self.trouble.values()) > 1.0 or any(rate < 0.0 for rate in self.trouble.values()):
            raise ValueError(f"trouble={trouble}: shares, of 1 together at most, of: {', '.join(TROUBLE)}")
        self.answer = answer
        self.embedding = embedding
        self.plan = plan
        self.seed = seed
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
        self._times: Counter[bytes] = Counter()
        self._keepalive_s = keepalive_s
        self._bombs: dict[int, bytes] = {}
        self._ready: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="fake endpoint", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._ready.result(timeout=30)
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=30)
        assert not self._thread.is_alive(), "the fake endpoint did not stop"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a run that asks this endpoint, for `populace.run(settings=...)`."""
        return {"endpoint.base_url": self.base_url, "model.name": self.models[0]}

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._handle)
        app.router.add_post("/v1/completions", self._handle)
        app.router.add_post("/v1/embeddings", self._handle)
        self._more_routes(app)
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
            await _settled()  # asyncio never closes a connection that is accepted, and not begun, as its server closes
            await site.stop()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise
        finally:
            await runner.cleanup()
            await _settled()  # what it closed has ended

    def _more_routes(self, app: web.Application) -> None:
        """Whatever else an endpoint serves."""

    async def _models(self, request: web.Request) -> web.Response:
        if not self._authorized(request):
            return _error(401, "invalid_api_key")
        listed = [{"id": name, "object": "model", "owned_by": "populace.testing"} for name in self.models]
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
        content = blake2b(json.dumps(body, sort_keys=True).encode()).digest()
        again = self._times[content]
        self._times[content] += 1
        answer = self._answer(body, OK, again)
        if self.limit is not None:
            usage = answer["usage"]
            wait = self.limit.take(usage["total_tokens"], time.monotonic())
            headers = self.limit.headers()
            if wait > 0.0:
                seen.limited = True
                headers["retry-after"] = f"{wait:.3f}"
                return _error(429, "rate_limit_exceeded", headers)
        act = self._act(seen, content, again)
        if act.latency_s:
            await asyncio.sleep(act.latency_s)
        return await self._play(request, body, replace(act, headers={**headers, **act.headers}), answer, again)

    def _act(self, seen: Seen, content: bytes, again: int) -> Act:
        if callable(self.plan):
            return self.plan(seen)
        if seen.nth < len(self.plan):
            return self.plan[seen.nth]
        if self.trouble:
            lot = Stream(self.seed, 0, again, content.hex()).random()
            for name, share in self.trouble.items():
                if lot < share:
                    return TROUBLE[name]
                lot -= share
        return self.base

    async def _play(
        self, request: web.Request, body: dict[str, Any], act: Act, answer: dict[str, Any], again: int
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
            answer = self._answer(body, act, again)
        usage = answer["usage"]
        self.billed.calls += 1
        self.billed.tokens_in += usage["prompt_tokens"]
        self.billed.tokens_out += usage["completion_tokens"]
        if act.body is None:
            self.invented += [choice.get("text") or _content_of(choice) for choice in answer.get("choices", ())]
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

    def _answer(self, body: dict[str, Any], act: Act, again: int) -> dict[str, Any]:
        """The body of an answer: one choice for a chat, one for each prompt of a completion, a vector for each text."""
        if "input" in body:
            return self._embedded(body)
        chat = "messages" in body
        given = body.get("prompt", "")
        prompts: list[Any] = [body["messages"]] if chat else (given if isinstance(given, list) else [given])
        schema = schema_of(body)
        choices = []
        counts = [0, 0]
        for index, prompt in enumerate(prompts):
            said_so_far = ((one["role"], one["content"] or "") for one in prompt) if chat else (("user", str(prompt)),)
            messages = tuple(said_so_far)
            said = self.answer(Asked(body["model"], messages, schema, body, again))
            text = said if isinstance(said, str) else msgspec.json.encode(said).decode()
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

    def _embedded(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body of an answer to a request for embeddings."""
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        form = body.get("encoding_format", "float")
        used = sum(map(tokens_in, texts))
        return {
            "object": "list",
            "model": body["model"],
            "data": [
                {"object": "embedding", "index": at, "embedding": _wired(self.embedding(text), form)}
                for at, text in enumerate(texts)
            ],
            "usage": {"prompt_tokens": used, "total_tokens": used, "completion_tokens": 0},
        }


def _wired(vector: ArrayLike, form: str) -> str | list[float]:
    """A vector as it travels: base64 of little-endian float32, or numbers."""
    numbers = np.asarray(vector, "<f4")
    return b64encode(numbers.tobytes()).decode() if form == "base64" else numbers.tolist()


def _content_of(choice: dict[str, Any]) -> str:
    return (choice.get("message") or {}).get("content") or ""


def _abort(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=499)


def _error(code: int, name: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=code, body=error_body(name), content_type="application/json", headers=headers)
