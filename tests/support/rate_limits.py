"""How endpoints refuse by a rate limit: the styles met, each with the wait that it names, if it names one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from support.misbehaving import OK, Act, Seen

STYLES: dict[str, Callable[[float], Act]] = {}
"""By name: the refusal that asks to wait so many seconds."""


def _style(make: Callable[[float], Act]) -> Callable[[float], Act]:
    STYLES[make.__name__] = make
    return make


def _refusal(body: Any, status: int = 429, **headers: str) -> Act:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Act(kind="status", status=status, body=json.dumps(body).encode(), headers=named)


@_style
def nothing(_wait_s: float) -> Act:
    return _refusal({"error": {"message": "Too Many Requests", "type": "rate_limit", "code": None}})


@_style
def empty(_wait_s: float) -> Act:
    return Act(kind="status", status=429, body=b"", content_type="text/plain")


@_style
def html(_wait_s: float) -> Act:
    return Act(kind="status", status=429, body=b"<h1>429 Too Many Requests</h1>", content_type="text/html")


@_style
def header(wait_s: float) -> Act:
    return _refusal({"error": {"message": "slow down"}}, retry_after=f"{wait_s:.3f}")


@_style
def milliseconds(wait_s: float) -> Act:
    return _refusal({"error": {"message": "slow down"}}, retry_after_ms=f"{wait_s * 1000:.0f}")


@_style
def openai(wait_s: float) -> Act:
    limit = "Rate limit reached for m on requests per min (RPM): Limit 3, Used 3, Requested 1."
    message = f"{limit} Please try again in {wait_s:.3f}s."
    return _refusal({"error": {"message": message, "type": "requests", "code": "rate_limit_exceeded"}})


@_style
def openai_short(wait_s: float) -> Act:
    message = f"Please try again in {wait_s * 1000:.0f}ms."
    return _refusal({"error": {"message": message, "code": "rate_limit_exceeded"}})


@_style
def azure(wait_s: float) -> Act:
    message = f"Requests have exceeded call rate limit of your S0 tier. Please retry after {wait_s:.2f} seconds."
    return _refusal({"error": {"code": "429", "message": message}})


@_style
def google(wait_s: float) -> Act:
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{wait_s:.3f}s"}
    error = {"code": 429, "message": "Resource exhausted", "status": "RESOURCE_EXHAUSTED", "details": [{"a": 1}, retry]}
    return _refusal([{"error": error}])


@_style
def field(wait_s: float) -> Act:
    return _refusal({"detail": {"reason": "rate", "retry_after": wait_s}})


@_style
def epoch(wait_s: float) -> Act:
    return _refusal({"error": "rate limited"}, x_ratelimit_reset=f"{(time.time() + wait_s) * 1000:.0f}")


@_style
def overloaded(wait_s: float) -> Act:
    return _refusal({"error": {"message": "The engine is overloaded", "retry_after": wait_s}}, status=503)


class Refusing:
    """A plan: from the `after`-th request on everything is refused for `lasts_s`, in one style, then all is well."""

    def __init__(self, style: str, lasts_s: float, after: int = 4) -> None:
        self.make = STYLES[style]
        self.lasts_s = lasts_s
        self.after = after
        self.until_s: float | None = None

    def __call__(self, seen: Seen) -> Act:
        if seen.nth < self.after:
            return OK
        if self.until_s is None:
            self.until_s = seen.arrived_s + self.lasts_s
        left_s = self.until_s - seen.arrived_s
        return self.make(left_s) if left_s > 0.0 else OK
