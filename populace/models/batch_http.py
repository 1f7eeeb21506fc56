"""The batch protocol over HTTP: files up and down, batches created, looked for, looked at and cancelled. Shell."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from populace.models.batch_record import NAME, RUN, Sent
from populace.models.batches import CHAT, Batch, Page
from populace.models.bodies import DECODE_ERRORS
from populace.models.dispatch.backoff import asked_wait_s
from populace.models.endings import Ending, Fatal, Fault, Rejected
from populace.models.http import Http, Reply
from populace.models.refusals import excerpt, read_error

MOST_DOWN_BYTES: Final = 2**31
"""How long a file that is fetched may be."""

_BOUNDARY: Final = "populace-7d1c0b5e93"
_PAGE: Final = 100
_PAGES: Final = 100
_SKEW_S: Final = 86_400.0
"""How far the endpoint's clock may be behind ours for a batch to be found."""

_T = TypeVar("_T")


class _File(msgspec.Struct):
    id: str


class BatchApi:
    """One endpoint's batches. Whatever goes wrong is an `Ending`, as with a call; nothing is tried twice here."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def upload(self, name: str, lines: Sequence[bytes]) -> str | Ending:
        """Upload a file of requests; its id."""
        head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{_BOUNDARY}\r\n'
            f'Content-Disposition: form-data; name="file"; filename="{name}.jsonl"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        )
        body = b"".join((head.encode(), *lines, f"\r\n--{_BOUNDARY}--\r\n".encode()))
        reply = await self._http.transfer("POST", "/files", body, f"multipart/form-data; boundary={_BOUNDARY}")
        found = self._read(reply, _File)
        return found.id if isinstance(found, _File) else found

    async def create(self, file: str, window: str, run: str, name: str) -> Batch | Ending:
        """Create a batch of an uploaded file, which bears its run and its name."""
        body = {
            "input_file_id": file,
            "endpoint": CHAT,
            "completion_window": window,
            "metadata": {RUN: run, NAME: name},
        }
        return self._read(await self._http.post("/batches", msgspec.json.encode(body)), Batch)

    async def get(self, batch: str) -> Batch | Ending:
        """How a batch stands."""
        return self._read(await self._http.get(f"/batches/{batch}"), Batch, offered=True)

    async def cancel(self, batch: str) -> Batch | Ending:
        """Ask for the end of a batch; what it has answered by then it still gives."""
        return self._read(await self._http.post(f"/batches/{batch}/cancel", b""), Batch, offered=True)

    async def offered(self) -> Ending | None:
        """Whether there are batches at all: None, or what is said instead."""
        page = self._read(await self._http.get("/batches?limit=1"), Page)
        return None if isinstance(page, Page) else page

    async def find(self, run: str, sent: Sent) -> Batch | Ending | None:
        """The batch of this run and name, or None where the endpoint has none."""
        since_s, after = (sent.since_s or 0.0) - _SKEW_S, ""
        for _ in range(_PAGES):
            page = self._read(await self._http.get(f"/batches?limit={_PAGE}{after}"), Page)
            if not isinstance(page, Page):
                return page
            for batch in page.data:
                said = batch.metadata or {}
                if said.get(RUN) == run and said.get(NAME) == sent.name:
                    return batch
            if not page.has_more or not page.data or (page.data[-1].created_at or since_s) < since_s:
                return None
            after = f"&after={page.data[-1].id}"
        return None

    async def content(self, file: str) -> bytes | Ending:
        """A file's content."""
        reply = await self._http.transfer("GET", f"/files/{file}/content", None, "", most_bytes=MOST_DOWN_BYTES)
        if isinstance(reply, Reply) and reply.status == 200:
            return reply.body
        return self._ending(reply, offered=True)

    def _read(self, reply: Any, kind: type[_T], *, offered: bool = False) -> _T | Ending:
        if not isinstance(reply, Reply) or reply.status not in (200, 201):
            return self._ending(reply, offered=offered)
        try:
            return msgspec.json.decode(reply.body, type=kind, strict=False)
        except DECODE_ERRORS:
            return Fault(f"what came is no {kind.__name__.strip('_').lower()}: {excerpt(reply.body)}", billed=True)

    def _ending(self, reply: Any, *, offered: bool) -> Ending:
        """What went wrong. Where batches are known to be `offered`, 404 is about this one."""
        if not isinstance(reply, Reply):
            found: Ending = reply
            return found
        body = self._http.scrub(reply.body.decode(errors="replace")).encode()
        if reply.status in (404, 405, 501):
            detail = f"{reply.status}: {excerpt(body)}"
            return Rejected(detail, status=reply.status) if offered else Fatal("batches", detail, reply.status)
        return read_error(reply.status, body, asked_wait_s(reply.headers, body, time.time()))
