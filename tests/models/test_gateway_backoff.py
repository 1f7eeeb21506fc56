"""Backoff: keyed full jitter, Retry-After in both forms, x-ratelimit-* headers."""

from __future__ import annotations

import math
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.models.dispatch.backoff import Backoff, RateHeaders, duration_s, rate_headers, retry_after_s

NOW = 1_700_000_000.0


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**6), st.integers(0, 1000), st.integers(0, 50), st.integers(0, 200))
def test_waits_are_keyed_and_bounded(seed: int, agent: int, tick: int, nth: int, attempt: int) -> None:
    backoff = Backoff(0.5, 30.0)
    wait = backoff.wait_s(seed, agent, tick, nth, attempt)
    assert 0.0 <= wait < backoff.bound_s(attempt) <= 30.0
    assert wait == backoff.wait_s(seed, agent, tick, nth, attempt)
    asked = backoff.wait_s(seed, agent, tick, nth, attempt, asked_for_s=7.0)
    assert 7.0 <= asked < 7.5


def test_jitter_is_full_and_differs_between_asks() -> None:
    backoff = Backoff(1.0, 60.0)
    waits = [backoff.wait_s(1, agent, 0, 0, 3) for agent in range(4000)]
    assert len(set(waits)) == 4000
    assert abs(sum(waits) / 4000 - 4.0) < 6 * 8.0 / math.sqrt(12 * 4000)
    assert min(waits) < 0.05
    assert max(waits) > 7.95
    assert [backoff.bound_s(n) for n in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.nan, 1.0)])
def test_bounds_that_make_no_sense(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="base_s"):
        Backoff(*bounds)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1s", 1.0),
        ("1h2m3.5s", 3723.5),
        ("0s", 0.0),
        ("59.7", 59.7),
        ("250µs", 0.00025),
        (" 1m ", 60.0),
        ("", None),
        ("soon", None),
        ("1s2", None),
        ("-1s", None),
        ("٣s", None),
        ("9" * 400, None),
        ("9" * 400 + "h", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    read = duration_s(text)
    assert read == (None if seconds is None else pytest.approx(seconds))


@given(st.text())
def test_no_header_raises(text: str) -> None:
    names = ("retry-after", "retry-after-ms", "date", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens")
    headers = dict.fromkeys(names, text)
    wait = retry_after_s(headers, NOW)
    assert wait is None or 0.0 <= wait < math.inf
    assert 0.0 <= rate_headers(headers).pause_s(10) < math.inf


def test_retry_after() -> None:
    assert retry_after_s({"Retry-After": "3"}, NOW) == 3.0
    assert retry_after_s({"Retry-After": "0.25"}, NOW) == 0.25
    assert retry_after_s({"RETRY-AFTER-MS": "1500", "retry-after": "9"}, NOW) == 1.5
    later = formatdate(NOW + 90, usegmt=True)
    assert retry_after_s({"retry-after": later}, NOW) == 90.0
    assert retry_after_s({"retry-after": later, "date": formatdate(NOW + 60, usegmt=True)}, NOW) == 30.0
    assert retry_after_s({"retry-after": later}, NOW + 500) == 0.0
    assert retry_after_s({"retry-after": "a while"}, NOW) is None
    assert retry_after_s({"retry-after": "-5"}, NOW) is None
    assert retry_after_s({}, NOW) is None


def test_rate_headers() -> None:
    read = rate_headers(
        {
            "X-RateLimit-Limit-Requests": "60",
            "x-ratelimit-limit-tokens": "6000",
            "x-ratelimit-remaining-requests": "59",
            "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-requests": "1s",
            "x-ratelimit-reset-tokens": "6m0s",
        }
    )
    assert read == RateHeaders(60, 6000, 59, 0, 1.0, 360.0)
    assert read.pause_s(600) == pytest.approx(36.0), "a tenth of the limit comes back in a tenth of the time"
    assert read.pause_s(60_000) == 360.0
    assert RateHeaders(60, 6000, 0, 6000, 60.0, 0.0).pause_s(1) == 1.0
    assert RateHeaders(remaining_requests=0, reset_requests_s=5.0).pause_s(1) == 5.0
    assert rate_headers({}) == RateHeaders()
    assert RateHeaders().pause_s(10**9) == 0.0
