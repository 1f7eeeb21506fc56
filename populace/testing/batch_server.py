"""The fake endpoint with batches: `/files` and `/batches` beside its direct calls, and what may go wrong with them."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal

from aiohttp import BodyPartReader, web

from populace.models.batches import CHAT
from populace.testing.acts import OK, error_body
from populace.testing.endpoint import FakeEndpoint

_DONE: Final = ("completed", "failed", "expired", "cancelled")
_STEPS: Final = ((0.2, "validating"), (0.9, "in_progress"), (1.0, "finalizing"))


@dataclass(frozen=True)
class BatchAct:
    """What happens to one batch, `takes_s` seconds long.

    `create` is what becomes of the call that creates it: `limited` (a 429) and `refused` (a 400) before there is one;
    `lost` breaks the connection off after it was accepted, `dropped` before. It ends as `ends`; `answered` is the part
    of its lines that are, in their order, before it expires or is cancelled. `status` is the answer to the lines named
    in `wrong` (numbers from 0), `missing` are in no file, `doubled` twice with another text the second time. `invalid`
    are the errors of a `failed` one. `usage` off leaves it out; `shuffled` off keeps the order of lines. `stuck` never
    ends, but where it is cancelled.
    """

    takes_s: float = 0.05
    create: Literal["", "limited", "refused", "lost", "dropped"] = ""
    ends: Literal["completed", "failed", "expired"] = "completed"
    answered: float = 1.0
    wrong: Sequence[int] = ()
    status: int = 500
    missing: Sequence[int] = ()
    doubled: Sequence[int] = ()
    invalid: Sequence[Mapping[str, Any]] = ()
    usage: bool = True
    shuffled: bool = True
    stuck: bool = False


@dataclass
class _Batch:
    """One batch that was accepted."""

    id: str
    file: str
    lines: list[dict[str, Any]]
    metadata: dict[str, str]
    act: BatchAct
    created_s: float
    created_at: int
    status: str = "validating"
    errors: list[Mapping[str, Any]] = field(default_factory=list)
    output: str | None = None
    error: str | None = None
    cancelled: bool = False


class BatchEndpoint(FakeEndpoint):
    """A `FakeEndpoint` that takes batches as well; `acts` says what happens to the nth one, and then `usual`.

    `batches` are those that were accepted, `paid` counts by custom_id how often a line was answered and billed (`calls`
    of `billed` counts direct calls, too). `passing` is told of each thing that has happened, before the reply to
    it begins: `uploading`, `uploaded`, `created`, `polled`, `fetching`; and after it `fetched`.
    """

    def __init__(
        self,
        *args: Any,
        acts: Sequence[BatchAct] = (),
        usual: BatchAct = BatchAct(),
        passing: Callable[[str], None] = lambda _: None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.acts = list(acts)
        self.usual = usual
        self.passing = passing
        self.batches: list[_Batch] = []
        self.paid: Counter[str] = Counter()
        self.creations = 0
        self.files: dict[str, bytes] = {}

    def _more_routes(self, app: web.Application) -> None:
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{id}/content", self._content)
        app.router.add_post("/v1/batches", self._create)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{id}", self._get)
        app.router.add_post("/v1/batches/{id}/cancel", self._cancel)

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return _refused(401, "invalid_api_key")
        await self._pass("uploading")
        form: dict[str | None, bytes] = {}
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            form[part.name] = bytes(await part.read())
        if form.get("purpose") != b"batch" or "file" not in form:
            return _refused(400, "invalid_request_error")
        name = self._keep(form["file"])
        await self._pass("uploaded")
        return web.json_response({"id": name, "object": "file", "purpose": "batch", "bytes": len(self.files[name])})

    async def _create(self, request: web.Request) -> web.StreamResponse:
        if not self._authorized(request):
            return _refused(401, "invalid_api_key")
        asked = await request.json()
        act = self.acts[self.creations] if self.creations < len(self.acts) else self.usual
        self.creations += 1
        match act.create:
            case "limited":
                return _refused(429, "rate_limit_exceeded", {"retry-after": "0.05"})
            case "refused":
                return _refused(400, "invalid_request_error")
            case "dropped":
                return _broken_off(request)
        content = self.files.get(asked.get("input_file_id", ""))
        if content is None or asked.get("endpoint") != CHAT or not asked.get("completion_window"):
            return _refused(400, "invalid_request_error")
        lines = [json.loads(line) for line in content.splitlines()]
        metadata = asked.get("metadata") or {}
        number = len(self.batches)
        now = time.time()
        batch = _Batch(
            f"batch_{number}", asked["input_file_id"], lines, metadata, act, time.monotonic(), int(now),
            errors=[*act.invalid, *self._faults_of(lines)],
        )  # fmt: skip
        self.batches.append(batch)
        await self._pass("created")
        return _broken_off(request) if act.create == "lost" else web.json_response(self._shown(batch))

    def _faults_of(self, lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """What a provider's validation finds."""
        faults, seen = [], set()
        for number, line in enumerate(lines, 1):
            model = line["body"].get("model")
            if line["custom_id"] in seen:
                faults.append({"code": "duplicate_custom_id", "message": "custom_id occurs twice", "line": number})
            if model != lines[0]["body"].get("model"):
                faults.append({"code": "mismatched_model", "message": "a file has one model", "line": number})
            if model not in self.models:
                faults.append({"code": "model_not_found", "message": f"no {model!r} in batches", "line": number})
            if line["url"] != CHAT or line["method"] != "POST":
                faults.append({"code": "invalid_url", "message": "the url is not the batch's endpoint", "line": number})
            seen.add(line["custom_id"])
        return faults

    async def _list(self, request: web.Request) -> web.StreamResponse:
        limit = int(request.query.get("limit", "20"))
        newest = list(reversed(self.batches))
        after = request.query.get("after")
        start = next((at + 1 for at, one in enumerate(newest) if one.id == after), 0)
        page = newest[start : start + limit]
        more = start + limit < len(newest)
        return web.json_response({"object": "list", "data": [self._shown(one) for one in page], "has_more": more})

    async def _get(self, request: web.Request) -> web.StreamResponse:
        batch = self._of(request)
        if batch is None:
            return _refused(404, "not_found")
        await self._pass("polled")
        return web.json_response(self._shown(batch))

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        batch = self._of(request)
        if batch is None:
            return _refused(404, "not_found")
        batch.cancelled = True
        return web.json_response(self._shown(batch))

    async def _content(self, request: web.Request) -> web.StreamResponse:
        content = self.files.get(request.match_info["id"])
        if content is None:
            return _refused(404, "not_found")
        await self._pass("fetching")
        response = web.Response(body=content, content_type="application/jsonl")
        await response.prepare(request)
        await response.write_eof()
        await self._pass("fetched")
        return response

    async def _pass(self, what: str) -> None:
        await asyncio.to_thread(self.passing, what)

    def _of(self, request: web.Request) -> _Batch | None:
        return next((one for one in self.batches if one.id == request.match_info["id"]), None)

    def _keep(self, content: bytes) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return name

    def _shown(self, batch: _Batch) -> dict[str, Any]:
        """A batch as it stands now."""
        self._go_on(batch)
        done = sum(self.paid[line["custom_id"]] > 0 for line in batch.lines)
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": CHAT,
            "input_file_id": batch.file,
            "status": batch.status,
            "errors": {"object": "list", "data": batch.errors} if batch.errors else None,
            "output_file_id": batch.output,
            "error_file_id": batch.error,
            "created_at": batch.created_at,
            "metadata": batch.metadata,
            "request_counts": {"total": len(batch.lines), "completed": done, "failed": 0},
        }

    def _go_on(self, batch: _Batch) -> None:
        act = batch.act
        if batch.status in _DONE:
            return
        gone = (time.monotonic() - batch.created_s) / max(act.takes_s, 1e-9)
        if batch.cancelled:
            batch.status = "cancelled"
            self._answer_lines(batch, "batch_cancelled")
        elif gone < 1.0 or act.stuck:
            batch.status = next((status for part, status in _STEPS if gone < part), "in_progress")
        elif batch.errors or act.ends == "failed":
            batch.status = "failed"
        else:
            batch.status = act.ends
            self._answer_lines(batch, "batch_expired")

    def _answer_lines(self, batch: _Batch, undone: str) -> None:
        """Write the files of a batch that has ended; each line that is answered is billed."""
        act, good, bad = batch.act, [], []
        whole = batch.status == "completed"
        answered = len(batch.lines) if whole else int(act.answered * len(batch.lines))
        for number, line in enumerate(batch.lines):
            name = line["custom_id"]
            if number >= answered:
                bad.append({"custom_id": name, "response": None, "error": {"code": undone, "message": "not in time"}})
                continue
            if number in act.wrong:
                body = json.loads(error_body("server_error" if act.status >= 500 else "invalid_request_error"))
                bad.append({"custom_id": name, "response": {"status_code": act.status, "body": body}, "error": None})
                continue
            answer = self._answer(line["body"], OK, 0)
            self.paid[name] += 1
            self.billed.calls += 1
            self.billed.tokens_in += answer["usage"]["prompt_tokens"]
            self.billed.tokens_out += answer["usage"]["completion_tokens"]
            if not act.usage:
                del answer["usage"]
            response = {"status_code": 200, "request_id": f"req-{number}", "body": answer}
            if number not in act.missing:
                good.append({"custom_id": name, "response": response, "error": None})
        if act.shuffled:
            Random(len(batch.lines)).shuffle(good)  # noqa: S311 - an order, no secret
        for number in act.doubled:
            name = batch.lines[number]["custom_id"]
            body = {"choices": [{"message": {"role": "assistant", "content": "another answer"}}]}
            good.append({"custom_id": name, "response": {"status_code": 200, "body": body}, "error": None})
        if act.doubled:
            good.append({"custom_id": "nobody's", "response": {"status_code": 200, "body": {}}, "error": None})
        batch.output = self._keep(_lines(good)) if good else None
        batch.error = self._keep(_lines(bad)) if bad else None


def _lines(entries: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps({"id": f"batch_req_{at}", **one}).encode() + b"\n" for at, one in enumerate(entries))


def _broken_off(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=499)


def _refused(code: int, name: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=code, body=error_body(name), content_type="application/json", headers=headers)
