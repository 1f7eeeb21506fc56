"""The fake endpoint, for authors: a society asks it over HTTP as it would ask a model."""

from __future__ import annotations

import contextlib
import gc
import socket
import time
import warnings

import pytest
from support.villages import FILE

import populace
from populace.testing import FakeEndpoint, status


@pytest.fixture
def village(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "village.py").write_text(FILE)
    return {"society": "village.py", "model": "openai", "seed": 3, "quiet": True}


def test_it_answers_by_placebo_and_counts_what_a_provider_would(village):
    with FakeEndpoint() as endpoint:
        run = populace.run(**village, settings=endpoint.settings)
    manifest = run.manifest
    assert manifest["asks"]["answered"] == manifest["asks"]["made"] == endpoint.billed.calls > 0
    assert (manifest["tokens_in"], manifest["tokens_out"]) == (endpoint.billed.tokens_in, endpoint.billed.tokens_out)
    assert {seen.path for seen in endpoint.seen} == {"/v1/chat/completions"}


def test_it_answers_by_a_function_of_the_request(village):
    asked = []

    def yes(request):
        asked.append(request)
        return "yes" if "label" not in str(request.schema) else {"label": "yes"}

    with FakeEndpoint(yes) as endpoint:
        run = populace.run(**village, settings=endpoint.settings)
    assert {one.model for one in asked} == {"test-model"}
    assert "You believe it by 0.0. Do you?" in asked[0].text
    assert run.outcomes["belief"].iloc[-1] == pytest.approx((0.5 + 0.75 + 0.875 + 0.9375 + 0.96875 + 0.984375) / 8)


def test_trouble_by_rate_is_drawn_from_the_request_and_costs_no_answer(village):
    trouble = {"429": 0.15, "500": 0.1, "cut": 0.05, "malformed": 0.05}
    seen = []
    for _ in range(2):
        with FakeEndpoint(trouble=trouble, seed=5) as endpoint:
            run = populace.run(**village, settings=endpoint.settings | {"endpoint.retries": 8})
        assert run.manifest["asks"]["answered"] == run.manifest["asks"]["made"]
        seen.append(sorted((str(one.body["messages"]), one.status) for one in endpoint.seen))
    assert {code for _, code in seen[0]} >= {200, 429, 500}
    assert seen[0] == seen[1]


def test_trouble_by_plan(village):
    with FakeEndpoint(plan=[status(500), status(503)]) as endpoint:
        populace.run(**village, settings=endpoint.settings)
    assert [one.status for one in endpoint.seen[:3]] == [500, 503, 200]


@pytest.mark.parametrize("trouble", [{"418": 0.1}, {"429": 0.7, "500": 0.7}, {"429": -0.1}])
def test_trouble_that_is_none_is_refused(trouble):
    with pytest.raises(ValueError, match="of 1 together at most, of: 429, 500, slow"):
        FakeEndpoint(trouble=trouble)


def test_connections_that_are_made_as_it_ends_are_closed():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with FakeEndpoint() as server:
            server._loop.call_soon_threadsafe(time.sleep, 0.2)  # it accepts them as it is told to stop
            clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
        for client in clients:
            client.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
            client.close()
        gc.collect()
    assert [str(one.message) for one in said if "unclosed" in str(one.message)] == []
