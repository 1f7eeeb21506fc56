"""What a fake endpoint does to a request: answers well, refuses, is slow, breaks off; and its limits. Pure data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final, Literal, TypeAlias

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
OK: Final = Act()


def error_body(code: str) -> bytes:
    """An error as OpenAI words it."""
    return json.dumps({"error": {"message": f"on purpose: {code}", "type": code, "code": code, "param": None}}).encode()


def slow(latency_s: float) -> Act:
    """A good answer after this long."""
    return Act(latency_s=latency_s)


def status(code: int, *, retry_after: str | None = None, error: str = "", **headers: str) -> Act:
    """An error with an OpenAI-shaped body; header names are given with underscores (`x_ratelimit_limit_requests`)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if retry_after is not None:
        named["retry-after"] = retry_after
    return Act(kind="status", status=code, headers=named, body=error_body(error or f"status_{code}"))


def http_date(unix_s: float) -> str:
    """The HTTP date of a Unix time, for `retry_after`."""
    return formatdate(unix_s, usegmt=True)


HANG: Final = Act(kind="hang")
DRIP: Final = Act(kind="drip")
DROP: Final = Act(kind="drop")
CUT: Final = Act(kind="cut")
BOMB: Final = Act(kind="bomb")
MALFORMED: Final = Act(kind="malformed")
UNSCHEMATIC: Final = Act(kind="unschematic")
REFUSE: Final = Act(kind="refuse")
TO_ITSELF: Final = Act(kind="redirect")
CLOSING: Final = Act(close=True)
NO_QUOTA: Final = status(429, error="insufficient_quota")
WRONG_TYPE: Final = Act(kind="status", status=200, body=b"<html>Welcome to the proxy</html>", content_type="text/html")


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
        self.levels: list[float] = list(self.caps)
        self.at_s: float | None = None

    def take(self, tokens: int, now_s: float) -> float:
        """Take one request of so many tokens; 0.0 when it was taken, else in how many seconds it may come again."""
        if self.at_s is not None:
            gone = now_s - self.at_s
            parts = zip(self.levels, self.rates, self.caps, strict=True)
            self.levels = [min(cap, level + rate * gone) for level, rate, cap in parts]
        self.at_s = now_s
        needs = zip((1, tokens), self.levels, self.rates, strict=True)
        wait = max((need - level) / rate for need, level, rate in needs)
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
