"""What an endpoint refuses is told by its message; what is learnt narrows the form; when nothing works, it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.models.dialect import Form, is_of_one_schema, refused_parameter
from populace.models.endings import Fatal, Refused, Rejected, Unsupported
from populace.models.history import FIRST, FIRST_LONG, IN_A_ROW, History
from populace.models.refusals import read_error


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        ("temperature", "Unsupported value: 'temperature' does not support 0.8. Only the default (1) is supported."),
        ("temperature", "invalid temperature: only 1 is allowed for this model"),
        ("temperature", "`temperature` may only be set to 1 when thinking is enabled."),
        ("temperature", "temperature must be 1"),
        ("seed", "Unrecognized request argument supplied: seed"),
        ("seed", "seed: Extra inputs are not permitted"),
        ("seed", "Unknown parameter: 'seed'."),
        ("logprobs", "This model does not support logprobs."),
        ("logprobs", "top_logprobs must be less than or equal to 5"),
        ("response_format", "This response_format type is unavailable now"),
        ("response_format", "'json_schema' is not supported with this model"),
        ("response_format", "Invalid parameter: structured outputs are not supported"),
        (None, "This model's maximum context length is 4096 tokens, and max_tokens is too large: 5000"),
        (None, "'max_tokens' or 'max_completion_tokens' is too large: 9999. The context window is 4096 tokens"),
        (None, "temperature must be between 0 and 2"),
        (None, "Invalid model name passed in model=test-model"),
        (None, "messages.0.content: invalid"),
        (None, "max_tokens"),
    ],
)  # fmt: skip
def test_the_message_names_the_parameter(parameter: str | None, message: str) -> None:
    assert refused_parameter(message) == parameter
    for status in (400, 404, 422, 500):
        outcome = read_error(status, json.dumps({"error": {"message": message}}).encode(), None)
        assert isinstance(outcome, Unsupported) == (parameter is not None)


def test_what_an_error_points_at_counts_before_its_words() -> None:
    assert refused_parameter("temperature and seed are not supported", "seed") == "seed"
    assert refused_parameter("max_tokens is not supported here", "messages") is None
    body = (
        b'{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}'
    )
    outcome = read_error(422, body, None)
    assert isinstance(outcome, Unsupported)
    assert outcome.parameter == "seed"


@given(st.lists(st.sampled_from(["max_tokens", "temperature", "seed", "logprobs", "response_format", "top_p"])))
def test_a_form_only_ever_gets_narrower(refused: list[str]) -> None:
    form, seen = Form(), {Form()}
    for parameter in refused:
        narrower = form.without(parameter)
        if narrower is not None:
            assert narrower not in seen
            seen.add(narrower)
            form = narrower
    assert len(seen) <= 1 + 1 + 1 + 1 + 2 + 2
    assert len(form.notes()) == sum(
        getattr(form, name) != getattr(Form(), name) and not (name == "logprobs" and form.logprobs)
        for name in Form.__struct_fields__
    )


def test_a_schema_of_its_own_is_told_from_schemas_at_all() -> None:
    assert is_of_one_schema("Invalid schema for response_format 'answer': 'oneOf' is not permitted")
    assert not is_of_one_schema("response_format json_schema is not supported")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, {"message": "Your input was flagged", "code": 403, "metadata": {"reasons": ["violence"]}}),
        (403, {"message": "Prompt requires moderation"}),
        (400, {"message": "The response was filtered due to the content management policy", "code": "content_filter"}),
        (400, {"message": "filtered", "innererror": {"code": "ResponsibleAIPolicyViolation content"}}),
        (400, {"message": "Invalid prompt: your prompt was flagged", "code": "invalid_prompt"}),
    ],
)
def test_a_filter_refuses_one_prompt(status: int, error: dict[str, Any]) -> None:
    outcome = read_error(status, json.dumps({"error": error}).encode(), None)
    assert isinstance(outcome, Refused)
    assert not outcome.billed


@pytest.mark.parametrize(
    ("status", "error", "kind", "plain"),
    [
        (401, {"message": "Incorrect API key provided"}, "key", True),
        (401, {"message": "", "code": "invalid_api_key"}, "key", True),
        (403, {"message": "Forbidden"}, "key", False),
        (403, {"message": "Your account was flagged: the API key is suspended"}, "key", True),
        (404, {"message": "Not Found"}, "model", False),
        (404, {"message": "The model `x` does not exist"}, "model", True),
        (400, {"message": "The model `x` does not exist"}, "model", True),
        (400, {"message": "Your credit balance is too low"}, "quota", True),
        (402, {"message": "pay"}, "quota", True),
        (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}, "quota", True),
    ],
)
def test_what_ends_all_calls(status: int, error: dict[str, Any], kind: str, plain: bool) -> None:
    outcome = read_error(status, json.dumps({"error": error}).encode(), None)
    assert isinstance(outcome, Fatal)
    assert (outcome.kind, outcome.plain) == (kind, plain)


def test_a_context_that_is_too_long_is_one_asks_own() -> None:
    message = "This model's maximum context length is 4096 tokens"
    outcome = read_error(400, json.dumps({"error": {"message": message}}).encode(), None)
    assert isinstance(outcome, Rejected)


def test_the_first_few_of_a_kind_refused_alike_are_the_end_and_no_others() -> None:
    def refused(kind: str, ways: list[int], begun: int = 50) -> list[bool]:
        for ask in range(begun):
            history.begun([kind], ask)
        return [history.refused([kind], way, ask) for ask, way in enumerate(ways)]

    history = History()
    history.begun(["one"], 1)
    assert not any(history.refused(["one"], 400, 1) for _ in range(9)), "one ask, tried again and again, is one"
    assert refused("alike", [400] * FIRST) == [False] * (FIRST - 1) + [True]
    assert not any(refused("mixed", [400, 422] * 9))
    history.answered(["one", "alike"])
    assert not any(refused("alike", [400] * 9)), "others of this kind were answered"
    assert any(refused("never", [400] * FIRST)), "and of this none ever was"


def test_refusals_that_overtake_answers_are_not_the_end() -> None:
    history = History()
    for ask in range(40):
        history.begun(["text"], ask)
    assert not any(history.refused(["text"], 400, ask) for ask in range(40) if ask % 2), "those between may succeed"
    for ask in (0, 2, 4):
        history.left(["text"], ask)
    assert history.refused(["text"], 400, 5)


def test_lengths_are_each_asks_own_and_end_a_run_only_when_all_are_too_long() -> None:
    history = History()
    for ask in range(40):
        history.begun(["text"], ask)
    ended = [history.refused(["text"], 400, ask, own=True) for ask in range(FIRST_LONG)]
    assert ended == [False] * (FIRST_LONG - 1) + [True]


def test_a_denial_is_believed_when_it_lasts() -> None:
    history = History()
    history.answered(["a"])
    assert not any(history.denied() for _ in range(IN_A_ROW - 1))
    history.answered(["a"])
    assert [history.denied() for _ in range(IN_A_ROW)][-1]
