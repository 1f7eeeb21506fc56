"""The doctor asks an endpoint one thing of each kind, and says what it can do and what will be used instead."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.client import model
from support.misbehaving import CUT, DROP, HANG, OK, Act, Misbehaving, status
from support.misbehaving_quirks import QUIRKS

from populace.models.keys import accesses
from populace.models.probing import Trial, try_endpoint


def tried(plan: Any = (), **options: Any) -> tuple[dict[str, Trial], str, Misbehaving]:
    settings = options.pop("settings", {})
    with Misbehaving(plan, **options) as server:
        at = model(server, **settings)
        trials = asyncio.run(try_endpoint(at, accesses(at.endpoint)[0], 0.0))
    return {trial.what: trial for trial in trials}, " ".join(trial.found for trial in trials), server


def test_a_good_endpoint_is_good_and_six_calls_say_so() -> None:
    trials, found, server = tried()
    assert all(trial.good for trial in trials.values())
    assert set(trials) == {"text", "schema", "choice", "seed", "limits"}
    assert "as it stood" in found
    assert "The same seed gives the same text" in found
    assert "no probabilities" in found
    assert len(server.seen) == 6
    assert all(seen.body and seen.body["max_tokens"] <= 200 for seen in server.seen)


def test_probabilities_and_limits_are_told() -> None:
    trials, _, _ = tried(QUIRKS["logprob of -Infinity"].plan)
    assert "'agree': 1.0" in trials["choice"].found
    headers = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59"}
    act = status(200, **{name.replace("-", "_"): value for name, value in headers.items()})
    limited = type(act)(headers=act.headers)
    trials, _, _ = tried(lambda _seen: limited)
    assert "60 requests" in trials["limits"].found


def test_what_is_refused_is_said_with_what_is_used_instead() -> None:
    def notes(name: str) -> str:
        trials, found, _ = tried(QUIRKS[name].plan)
        assert all(trial.good for trial in trials.values()), name
        return found

    assert "max_completion_tokens" in notes("max_tokens and temperature")
    assert "no temperature" in notes("max_tokens and temperature")
    assert "takes no seed" in notes("seed, 422")
    assert "asked by schema" in notes("logprobs")
    assert "no response_format" in notes("json_schema, json_object")
    assert "thought before" in notes("think block")
    assert "out of a longer text" in notes("prose")
    assert "put right" in notes("other cases and types")
    assert "how many tokens" in notes("usage null")


@pytest.mark.parametrize(
    "plan",
    [
        [status(429, retry_after="0.2")],
        [status(503, retry_after="0.2"), OK, status(503), status(500)],
        [status(429)],
        [OK, CUT, OK, DROP],
        [status(503), status(502), status(503)],
    ],
    ids=["429", "503", "429 without a wait", "lost connections", "a slow start"],
)
def test_a_healthy_endpoint_that_asks_to_wait_is_waited_for(plan: list[Act]) -> None:
    trials, _, server = tried(plan)
    assert all(trial.good for trial in trials.values())
    bad = [act for act in plan if act is not OK]
    assert f"waited for {len(bad)} times" in trials["waits"].found
    assert len(server.seen) == 6 + len(bad)
    if plan[0].headers:
        assert server.seen[1].arrived_s - server.seen[0].arrived_s >= 0.2


def test_control_an_endpoint_that_goes_on_so_is_wrong() -> None:
    trials, found, server = tried(lambda _seen: status(503))
    assert [trial.good for trial in trials.values()] == [False]
    assert len(server.seen) == 1 + 3, "as often as endpoint.retries says"
    trials, found, server = tried(lambda _seen: status(429, retry_after="100"), settings={"outage_s": 20.0})
    assert [trial.good for trial in trials.values()] == [False]
    assert "429" in found
    assert len(server.seen) == 1


def test_what_does_not_work_is_wrong_and_says_why() -> None:
    for name, words in (
        ("max_tokens spent on reasoning", "went to reasoning"),
        ("credit spent, in a 200", "Insufficient credits"),
        ("a misspelt model behind a proxy", "Invalid model name"),
        ("a redirect", "elsewhere.example"),
        ("a web page", "text/html"),
    ):
        trials, found, server = tried(QUIRKS[name].plan)
        assert [trial.good for trial in trials.values()] == [False]
        assert words in found
        assert len(server.seen) == 1
    _, found, _ = tried(lambda _seen: HANG, settings={"timeout_s": 0.3})
    assert "no whole answer within 0.3 s" in found
    trials, _, _ = tried(settings={"name": ""})
    assert "model.name" in trials["asks"].next_step
