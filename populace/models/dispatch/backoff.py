"""How long to wait before a call is tried again: full jitter from keyed draws, and what the server asked for.

Full jitter is a uniform draw between nothing and an exponentially growing, capped bound, which spreads retries
best of the usual kinds (M. Brooker, "Exponential backoff and jitter", AWS Architecture Blog, 2015). The draw is
keyed by the ask's identity and the attempt, so it is the same in every run and no two asks retry in step.

Headers are read from any mapping of names to values; a name's case does not matter. A value that can't be read
counts as not sent: a server's typing error must not stop a run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from populace.core.draws import Stream

_UNITS_S: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|us|µs|μs|ns|h|m|s)", re.ASCII)
_NUMBER: Final = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)


class Backoff(msgspec.Struct, frozen=True):
    """The bounds of a wait: `base_s` before the first retry, twice that before the next, at most `cap_s`.

    Raises ValueError unless 0 < base_s <= cap_s < infinity.
    """

    base_s: float = 0.5
    cap_s: float = 30.0

    def __post_init__(self) -> None:
        if not 0.0 < self.base_s <= self.cap_s < math.inf:
            raise ValueError(f"backoff needs 0 < base_s <= cap_s, got base_s={self.base_s}, cap_s={self.cap_s}")

    def bound_s(self, attempt: int) -> float:
        """The longest wait before retry number `attempt`, counted from 0."""
        return min(self.cap_s, math.ldexp(self.base_s, min(max(attempt, 0), 60)))

    def wait_s(
        self, seed: int, agent: int, tick: int, nth: int, attempt: int, asked_for_s: float | None = None
    ) -> float:
        """Seconds to wait before retry number `attempt` (from 0) of the ask (seed, agent, tick, nth).

        `asked_for_s` is what the server wants (see `retry_after_s`): the wait is then never shorter, and the jitter,
        of at most `base_s`, comes on top, so that those who were told the same don't return at the same moment.
        """
        draw = Stream(seed, agent, tick, f"llm.backoff/{nth}/{attempt}").random()
        if asked_for_s is None:
            return draw * self.bound_s(attempt)
        return max(0.0, asked_for_s) + draw * self.base_s


class RateHeaders(msgspec.Struct, frozen=True):
    """What a server says of its limits; None where it says nothing. Resets are seconds until the limit is whole."""

    limit_requests: int | None = None
    limit_tokens: int | None = None
    remaining_requests: int | None = None
    remaining_tokens: int | None = None
    reset_requests_s: float | None = None
    reset_tokens_s: float | None = None

    def pause_s(self, tokens: int = 1) -> float:
        """Seconds until one request of so many tokens fits, by these headers; 0.0 when it fits or nothing is said.

        A limit refills steadily: what is missing of it comes back over its reset time, so the wait is the part of
        the reset time that one request (or so many tokens) takes. Where no limit is said, the whole reset time.
        """
        requests = _refill_s(1, self.remaining_requests, self.limit_requests, self.reset_requests_s)
        return max(requests, _refill_s(tokens, self.remaining_tokens, self.limit_tokens, self.reset_tokens_s))


def _refill_s(need: int, remaining: int | None, limit: int | None, reset_s: float | None) -> float:
    if remaining is None or reset_s is None or remaining >= need:
        return 0.0
    if limit is None or limit <= remaining:
        return reset_s
    return reset_s * min(1.0, (need - remaining) / (limit - remaining))


def duration_s(text: str) -> float | None:
    """Seconds in a duration as `x-ratelimit-reset-*` writes it, or None when it can't be read.

    Go's form ('6m0s', '20ms', '1h2m3.5s') as OpenAI sends it, or a plain number of seconds ('59.7') as Azure does.

    >>> duration_s("6m0s"), duration_s("20ms"), duration_s("soon")
    (360.0, 0.02, None)
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return _finite(float(text))
    total, at = 0.0, 0
    while part := _PART.match(text, at):
        total += float(part[1]) * _UNITS_S[part[2]]
        at = part.end()
    return _finite(total) if text and at == len(text) else None


def retry_after_s(headers: Mapping[str, str], now_unix_s: float) -> float | None:
    """Seconds that the server asks to wait, or None when it does not say (or not readably). Never negative.

    `retry-after-ms` (OpenAI, Azure) goes before `Retry-After`, which is seconds or an HTTP date (RFC 9110, 10.2.3).
    A date is measured from the answer's own `Date` where it has one, so that clocks that differ do no harm, else
    from `now_unix_s`.
    """
    sent = _lower(headers)
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = sent.get(name, "").strip()
        if _NUMBER.fullmatch(text):
            return _finite(float(text) * unit)
    due = _unix_s(sent.get("retry-after", ""))
    if due is None:
        return None
    date = _unix_s(sent.get("date", ""))
    return max(0.0, due - (now_unix_s if date is None else date))


def rate_headers(headers: Mapping[str, str]) -> RateHeaders:
    """Read the `x-ratelimit-*` headers (OpenAI's names, which others took over)."""
    sent = _lower(headers)
    return RateHeaders(
        _count(sent.get("x-ratelimit-limit-requests")),
        _count(sent.get("x-ratelimit-limit-tokens")),
        _count(sent.get("x-ratelimit-remaining-requests")),
        _count(sent.get("x-ratelimit-remaining-tokens")),
        duration_s(sent.get("x-ratelimit-reset-requests", "")),
        duration_s(sent.get("x-ratelimit-reset-tokens", "")),
    )


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _count(text: str | None) -> int | None:
    if text is None or not _NUMBER.fullmatch(text.strip()):
        return None
    value = _finite(float(text))
    return None if value is None else int(value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _unix_s(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
