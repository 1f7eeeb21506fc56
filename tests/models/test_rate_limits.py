"""Rate limits in every style end as answers: waiting for room is no failure, and costs no ask its tries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.asking import asking, here
from support.client import Opinion, ask, fates, model, run
from support.misbehaving import OK, Act, Misbehaving, Seen
from support.rate_limits import STYLES, Refusing, nothing

from populace.agents.answers import Choice
from populace.core.errors import ModelError
from populace.models.dispatch.backoff import asked_wait_s, never_fits
from populace.models.dispatch.lanes import Lane

KINDS = (Opinion, Choice("yes", "no"), str)
ASKS = [ask(agent, KINDS[agent % 3]) for agent in range(54)]
SILENT = ("nothing", "empty", "html")


@pytest.mark.parametrize("style", STYLES)
def test_every_ask_is_answered_however_a_rate_limit_is_told(style: str) -> None:
    plan = Refusing(style, 1.2)
    with Misbehaving(plan) as server:
        got = run(model(server, retries=0, concurrency=8), ASKS)
        refused = [seen for seen in server.seen if seen.status != 200]
        assert server.billed.calls == 54
    assert fates(got) == {"answered": 54}
    # What was in flight when it began; then nobody before the time that was told. Where none was: a half each time.
    assert 1 <= len(refused) <= 8 + (8 if style in SILENT else 2)


def test_control_a_lane_that_is_not_held_asks_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lane, "refused", lambda *_: None)
    with Misbehaving(Refusing("nothing", 1.2)) as server:
        got = run(model(server, retries=0, concurrency=8), ASKS)
        assert sum(seen.status == 429 for seen in server.seen) > 8 + 8, "more than where the lane is held"
    assert fates(got) == {"answered": 54}


def test_a_run_on_three_shards_loses_no_ask_to_a_rate_limit(tmp_path: Path) -> None:
    with Misbehaving(Refusing("google", 1.0)) as server:
        manifest = here(tmp_path, **asking(server, agents=54, ticks=1, shards=3, endpoint__retries=0))
        assert manifest["asks"]["answered"] == manifest["asks"]["made"] == 54 == server.billed.calls
    assert manifest["status"] == "complete"


def test_a_limit_that_never_ends_ends_the_run_and_says_what_the_endpoint_said() -> None:
    failures: list[Any] = []
    with Misbehaving(lambda _: nothing(0.0)) as server:
        got = run(model(server, outage_s=1.0), ASKS, lambda gateway: failures.append(gateway.failure))
    assert fates(got) == {"error": 54}
    assert isinstance(failures[0], ModelError)
    assert "Too Many Requests" in str(failures[0])
    assert "endpoint.outage_s" in str(failures[0])


def test_one_ask_that_is_refused_for_ever_holds_up_nobody_for_ever() -> None:
    def plan(seen: Seen) -> Act:
        return nothing(0.0) if "number 7." in str(seen.body) else OK

    with Misbehaving(plan) as server:
        got = run(model(server, outage_s=1.5, concurrency=4), ASKS)
    assert fates(got) == {"answered": 53, "error": 1}
    assert "for more than 1.5 s" in got[7].detail


def test_what_is_larger_than_the_whole_limit_is_not_asked_again() -> None:
    message = "Request too large for m on tokens per min (TPM): Limit 10,000, Requested 12,000."
    body = b'{"error": {"message": "%b", "code": "rate_limit_exceeded"}}' % message.encode()
    refusal = Act(kind="status", status=429, body=body)
    with Misbehaving(lambda seen: refusal if "number 7." in str(seen.body) else OK) as server:
        got = run(model(server), ASKS)
        assert len(server.seen) == 54
    assert fates(got) == {"answered": 53, "error": 1}
    assert not never_fits("Rate limit reached (TPM): Limit 10000, Used 9000, Requested 2000. Please try again in 6s.")


@pytest.mark.parametrize(
    ("body", "wait_s"),
    [
        (b'{"error": {"message": "Please try again in 6m0s."}}', 360.0),
        (b'{"error": {"message": "Please wait 1 minute and 30 seconds."}}', 90.0),
        (b'{"message": "Retry in 37.526s"}', 37.526),
        (b'{"message": "Try again after 250 milliseconds"}', 0.25),
        (b'{"error": {"details": [{"retryDelay": {"seconds": 3}}]}}', 3.0),
        (b'{"retry-after-ms": 1500}', 1.5),
        (b"Too many requests, available again in 2 hours", 7200.0),
        (b'{"message": "You used 5 of 3 requests. Wait."}', None),
        (b'{"message": "again 5"}', None),
        (b"[" * 50_000, None),
        (b"\xff\xfe", None),
        (b"", None),
    ],
)
def test_waits_are_read_wherever_they_stand(body: bytes, wait_s: float | None) -> None:
    assert asked_wait_s({}, body, 0.0) == (None if wait_s is None else pytest.approx(wait_s))


def test_headers_go_before_the_body_and_resets_after_it() -> None:
    body = b'{"message": "try again in 9s"}'
    assert asked_wait_s({"Retry-After": "2"}, body, 0.0) == 2.0
    assert asked_wait_s({"x-ratelimit-reset": "3"}, body, 0.0) == 9.0
    assert asked_wait_s({"X-RateLimit-Reset": "1700000003"}, b"", 1.7e9) == 3.0
    assert asked_wait_s({"x-ratelimit-reset": "1700000003000"}, b"", 1.7e9) == 3.0
    assert asked_wait_s({"ratelimit-reset": "4"}, b"", 1.7e9) == 4.0


TEXTS = st.text() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(repr)


@given(st.binary() | TEXTS.map(str.encode))
def test_no_body_raises_and_no_wait_is_negative(body: bytes) -> None:
    wait_s = asked_wait_s({}, body, 0.0)
    assert wait_s is None or 0.0 <= wait_s < float("inf")
