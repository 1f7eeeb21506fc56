"""The batch protocol: asks to the lines of a file, a batch's files to how each of its calls ended. Pure.

A batch is a file of requests, one a line, each with a `custom_id`; within its window the endpoint answers them in any
order, into a file of outputs and one of errors. Follows OpenAI's Batch API (`POST /v1/files`, `POST /v1/batches`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from populace.core.records import Ask
from populace.models.bodies import DECODE_ERRORS
from populace.models.cache.keys import Mode as Sampling
from populace.models.cache.keys import cache_key
from populace.models.chat import Mode, Turns
from populace.models.endings import Ending, Fault, Limited, Rejected
from populace.models.refusals import error_of, excerpt, judge, read_error, read_error_in_answer

CHAT: Final = "/v1/chat/completions"
"""The endpoint that a batch and each of its lines name, whatever the base URL's path."""
MOST_BYTES: Final = 200_000_000
"""How long the protocol lets a file become."""
ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
"""States in which a batch changes no more. The others: validating, in_progress, finalizing, cancelling."""

_UNDONE: Final = frozenset({"batch_expired", "batch_cancelled"})
_FULL: Final = "token_limit_exceeded"


def custom_id(sampling: Sampling, seed: int, ask: Ask, mode: Mode, more: Turns, nth: int) -> str:
    """The name of an ask's `nth` call in a batch: the same in every attempt of a run, another where another is asked.

    It is of the ask's identity and content (of its content alone where samples are shared), of the conversation that a
    repair adds, and of how often the ask was put before; and not of the form in which the endpoint takes it.
    """
    key = cache_key(sampling, seed, ask)
    assert key is not None
    text = msgspec.json.encode((mode, more, nth))
    return blake2b(key + text, digest_size=20, person=b"populace.batch1").hexdigest()


def line(name: str, body: bytes) -> bytes:
    """One request as a line of a batch's file."""
    return b'{"custom_id":"%b","method":"POST","url":"%b","body":%b}\n' % (name.encode(), CHAT.encode(), body)


def fitting(sizes: Sequence[int], most_requests: int, most_bytes: int = MOST_BYTES) -> int:
    """How many lines of these lengths, from the first on, go into one file: one at least."""
    taken = total = 0
    for size in sizes[:most_requests]:
        total += size
        if taken and total > most_bytes:
            break
        taken += 1
    return taken


class Batch(msgspec.Struct):
    """A batch as the endpoint tells of it; `created_at` is in Unix seconds."""

    id: str
    status: str = ""
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: Any = None
    metadata: dict[str, Any] | None = None
    created_at: float | None = None


class Page(msgspec.Struct):
    """A page of a list of batches, the newest first."""

    data: list[Batch] = []
    has_more: bool = False


class _Response(msgspec.Struct):
    status_code: int = 0
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: Any = None


class Came(NamedTuple):
    """What a batch's files say of one call: the status and body of its answer, or (status 0) an error."""

    status: int
    body: bytes
    error: Any = None


_LINE: Final = msgspec.json.Decoder(_Line, strict=False)


def read_files(contents: Iterable[bytes]) -> dict[str, Came]:
    """What these files say, by custom_id; of several lines the first counts, and what is no line says nothing."""
    found: dict[str, Came] = {}
    for content in contents:
        for text in content.splitlines():
            try:
                one = _LINE.decode(text)
            except DECODE_ERRORS:
                continue
            if one.response is not None and one.response.status_code:
                found.setdefault(one.custom_id, Came(one.response.status_code, bytes(one.response.body)))
            else:
                found.setdefault(one.custom_id, Came(0, b"", one.error))
    return found


def ending_of(came: Came | None, status: str, read: Callable[[bytes], Ending]) -> Ending:
    """How a call in a batch that ended in `status` came out; `read` reads the body of a 200.

    A call of which the files of a completed batch say nothing may have been billed. A rate limit's refusal is a fault
    here: the batch waited for it.
    """
    if came is None:
        return Fault(f"the batch is {status}, and its files say nothing of this call", billed=status == "completed")
    if came.status == 200:
        return read(came.body)
    if came.status:
        outcome = read_error(came.status, came.body, None)
    else:
        said = error_of(came.error)
        if said.code in _UNDONE:
            return Fault(f"the batch ended before this call was made ({said.message[:200]})")
        outcome = read_error_in_answer(came.error)
    return Fault(outcome.detail) if isinstance(outcome, Limited) else outcome


class Refusal(NamedTuple):
    """Why a batch failed: what is wrong with single lines, by number from 0, and what is wrong with all of it."""

    lines: dict[int, Ending]
    whole: Ending | None


def refusal_of(batch: Batch) -> Refusal:
    """Read the errors of a batch that failed its validation, of which nothing was run or billed."""
    errors = batch.errors.get("data") if isinstance(batch.errors, dict) else None
    lines: dict[int, Ending] = {}
    for one in errors if isinstance(errors, list) else ():
        said = error_of(one)
        number = one.get("line") if isinstance(one, dict) else None
        if said.code == _FULL:
            return Refusal({}, Limited(said.message[:500]))
        outcome = judge(400, said, None)
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            return Refusal({}, outcome)
        lines[number - 1] = outcome
    if lines:
        return Refusal(lines, None)
    detail = excerpt(msgspec.json.encode(batch.errors)) if batch.errors else "it does not say why"
    return Refusal({}, Rejected(f"the batch failed: {detail}", status=400))
