"""How long to wait before a call is tried again: full jitter from keyed draws, and what the server asked for.

Full jitter is a uniform draw between nothing and an exponentially growing, capped bound, which spreads retries
best of the usual kinds (M. Brooker, "Exponential backoff and jitter", AWS Architecture Blog, 2015). The draw is
keyed by the ask's identity and the attempt, so it is the same in every run and no two asks retry in step.

Where a server asks to wait, it says so in a header, in a field of the body (Google's `retryDelay`) or in its text
("Please try again in 1.2s"): `asked_wait_s` reads all of them. A value that can't be read counts as not sent: a
server's typing error must not stop a run. Headers are read from any mapping of names to values, whatever their case.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from populace.core.draws import Stream

_UNITS_S: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|us|µs|μs|ns|h|m|s)", re.ASCII)
_NUMBER: Final = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)
_WORDS_S: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}
_SPAN: Final = re.compile(
    r"(\d+(?:\.\d+)?)\s*(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)(?![a-z])",
    re.ASCII | re.IGNORECASE,
)
_COME_BACK: Final = re.compile(
    r"\b(?:again|retry\w*|wait|reset\w*|available)\b\D{0,60}?(?=\d)", re.ASCII | re.IGNORECASE
)
_JOINED: Final = re.compile(r"[\s,]*(?:and\b)?\s*")
_TOO_LARGE: Final = re.compile(
    r"\blimit\W{0,3}(\d[\d,]*)\b.{0,80}?\brequested\W{0,3}(\d[\d,]*)", re.ASCII | re.IGNORECASE | re.DOTALL
)
_FIELDS_S: Final = {
    **dict.fromkeys(("retrydelay", "retryafter", "retryafterseconds", "retryinseconds", "waitseconds"), 1.0),
    **dict.fromkeys(("retrydelayms", "retryafterms", "retryaftermilliseconds"), 1e-3),
}
_BODY_BYTES: Final = 65_536
_DEPTH: Final = 10


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

    def pause_s(
        self, seed: int, agent: int, tick: int, nth: int, attempt: int, asked_for_s: float | None = None
    ) -> float:
        """Seconds for which an endpoint is left alone that has refused calls `attempt` times in a row, from 0.

        Without `asked_for_s`, between a half and the whole of the bound: an endpoint that is asked too soon counts
        that, too. With it, that long and up to as long again, at most `base_s` more.
        """
        draw = Stream(seed, agent, tick, f"llm.pause/{nth}/{attempt}").random()
        if asked_for_s is None:
            return (0.5 + 0.5 * draw) * self.bound_s(attempt)
        return asked_for_s + draw * min(self.base_s, asked_for_s)


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


def asked_wait_s(headers: Mapping[str, str], body: bytes, now_unix_s: float) -> float | None:
    """Seconds that a refusal asks to wait, wherever it says so, or None where it does not.

    `Retry-After` and its kin go first, then a field of the body, then the body's text, then the headers that tell when
    a limit is whole again.

    >>> asked_wait_s({}, b'[{"error": {"details": [{"retryDelay": "34s"}]}}]', 0.0)
    34.0
    >>> asked_wait_s({}, b'{"error": {"message": "Rate limit reached. Please try again in 1m12.5s."}}', 0.0)
    72.5
    """
    found = retry_after_s(headers, now_unix_s)
    if found is None:
        found = _wait_in_body(body[:_BODY_BYTES])
    if found is None:
        found = _reset_s(_lower(headers), now_unix_s)
    return found


def never_fits(text: str) -> bool:
    """Whether a rate limit's refusal says that what was asked for is larger than the whole limit.

    >>> never_fits("Request too large on tokens per min (TPM): Limit 10000, Requested 12000.")
    True
    """
    found = _TOO_LARGE.search(text)
    return found is not None and int(found[2].replace(",", "")) > int(found[1].replace(",", ""))


def _wait_in_body(body: bytes) -> float | None:
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        content = body.decode(errors="replace")
    fields, texts = list[float](), list[str]()
    _gather(content, fields, texts, _DEPTH)
    if fields:
        return max(fields)
    return next((wait for text in texts if (wait := _wait_in_text(text)) is not None), None)


def _gather(value: Any, fields: list[float], texts: list[str], depth: int) -> None:
    """Collect what fields say of a wait, and all texts, from a body."""
    if isinstance(value, str):
        texts.append(value)
    elif isinstance(value, list) and depth:
        for one in value:
            _gather(one, fields, texts, depth - 1)
    elif isinstance(value, dict) and depth:
        for name, one in value.items():
            unit = _FIELDS_S.get(name.lower().replace("_", "").replace("-", ""))
            seconds = None if unit is None else _seconds(one)
            if unit is not None and seconds is not None:
                fields.append(seconds * unit)
            else:
                _gather(one, fields, texts, depth - 1)


def _seconds(value: Any) -> float | None:
    if isinstance(value, dict):  # protobuf's Duration, taken apart
        value = value.get("seconds")
    if isinstance(value, str):
        return duration_s(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return _finite(float(value))
    return None


def _wait_in_text(text: str) -> float | None:
    """The wait that a sentence names after 'try again', 'retry' and the like; its parts add up."""
    for start in _COME_BACK.finditer(text):
        total, at, parts = 0.0, start.end(), 0
        while part := _SPAN.match(text, at):
            unit = part[2].lower()
            total += float(part[1]) * _WORDS_S["ms" if unit.startswith(("ms", "milli")) else unit[0]]
            parts += 1
            joined = _JOINED.match(text, part.end())
            at = joined.end() if joined else part.end()
        if parts:
            return _finite(total)
    return None


def _reset_s(sent: Mapping[str, str], now_unix_s: float) -> float | None:
    """What `x-ratelimit-reset` and its kin say: seconds from now, or a Unix time in seconds or milliseconds."""
    for name in ("ratelimit-reset", "x-ratelimit-reset", "x-ratelimit-reset-after"):
        value = duration_s(sent.get(name, ""))
        if value is not None:
            at_s = value / 1000.0 if value > 1e11 else value
            return max(0.0, at_s - now_unix_s) if at_s > 1e8 else at_s
    return None


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
