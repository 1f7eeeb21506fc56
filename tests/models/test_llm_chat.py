"""Requests and answers as bytes: what is sent, how replies are read, what follows from each outcome. No network."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.agents.answers import Choice, compile_answer
from populace.budget.amounts import Rate
from populace.core.draws import Stream
from populace.core.records import Answer, Ask
from populace.models.chat import LLAMA, OPENAI, Writer, read_completion, repair_turns
from populace.models.choices import choose, label_probabilities
from populace.models.dialect import Form
from populace.models.dispatch.retry import Again, Pending, Retry
from populace.models.endings import Fatal, Fault, Late, Limited, Refused, Rejected, Said, Unsupported
from populace.models.refusals import read_error
from populace.models.schemas import label_grammar, strict_schema


class Opinion(msgspec.Struct):
    attitude: Annotated[int, msgspec.Meta(ge=0, le=10)]
    why: str = ""


class Nested(pydantic.BaseModel):
    opinions: list[int]
    free: dict[str, int] = {}


def ask(answer: Any, agent: int = 3) -> Ask:
    messages = (("system", 'You say "hm"\n'), ("user", "Größe?"))
    return Ask(agent, 2, 1, "feel", messages, compile_answer(answer), 100, 0.8, b"k" * 16)


def completion(content: str | None, **choice: Any) -> bytes:
    message = {"role": "assistant", "content": content, **choice.pop("message", {})}
    usage = choice.pop("usage", {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15})
    return json.dumps({"choices": [{"index": 0, "message": message, **choice}], "usage": usage}).encode()


def test_a_text_request_holds_the_conversation_and_the_parameters_only() -> None:
    body = json.loads(Writer("a/model", OPENAI).request(ask(str), "text", 77, repair_turns("x", "too short")))
    assert body["model"] == "a/model"
    assert [turn["role"] for turn in body["messages"]] == ["system", "user", "assistant", "user"]
    assert body["messages"][0]["content"] == 'You say "hm"\n'
    assert body["messages"][1]["content"] == "Größe?"
    assert "too short" in body["messages"][3]["content"]
    assert {key: body[key] for key in body if key not in ("model", "messages")} == {
        "max_tokens": 100,
        "temperature": 0.8,
        "seed": 77,
    }


def test_a_schema_is_sent_as_response_format_or_as_a_compact_grammar() -> None:
    form = json.loads(Writer("m", OPENAI).request(ask(Opinion), "schema", 1))["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["strict"] is True
    assert form["json_schema"]["schema"]["required"] == ["attitude", "why"]
    assert form["json_schema"]["schema"]["additionalProperties"] is False
    body = json.loads(Writer("m", LLAMA).request(ask(Opinion), "schema", 1))
    assert "response_format" not in body
    assert body["cache_prompt"] is False
    head, _, schema = body["grammar"].partition("%json ")
    assert head == "%llguidance {}\nstart: "
    assert json.loads(schema)["x-guidance"] == {"whitespace_flexible": False}


def test_probabilities_are_asked_of_one_token() -> None:
    body = json.loads(Writer("m", LLAMA).request(ask(Choice("yes", "no")), "labels", 1))
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 200)
    assert body["grammar"] == 'root ::= " "? ("yes" | "YES" | "Yes" | "no" | "NO" | "No")'
    assert (body["post_sampling_probs"], body["temperature"]) == (True, 1.0)
    plain = json.loads(Writer("m", OPENAI).request(ask(Choice("yes", "no")), "labels", 1))
    assert (plain["max_tokens"], plain["logprobs"], plain["top_logprobs"]) == (1, True, 20)
    assert not {"grammar", "post_sampling_probs", "cache_prompt"} & plain.keys()


def test_probabilities_are_read_in_both_forms() -> None:
    top = [{"token": "Yes", "prob": 0.2}, {"token": "no", "prob": 0.6}, {"token": "y", "prob": 0.2}]
    body = completion("no", logprobs={"content": [{"token": "no", "prob": 0.6, "top_probs": top}]})
    outcome = read_completion(body, ("yes", "no"), 0)
    assert isinstance(outcome, Said)
    assert outcome.probabilities == {"yes": 0.25, "no": 0.75}


def test_a_grammar_lets_no_other_keys_through_and_keeps_maps_open() -> None:
    body = json.loads(Writer("m", LLAMA).request(ask(dict[str, int]), "schema", 1))
    assert json.loads(body["grammar"].partition("%json ")[2])["additionalProperties"] == {"type": "integer"}
    body = json.loads(Writer("m", LLAMA).request(ask(Opinion), "schema", 1))
    assert json.loads(body["grammar"].partition("%json ")[2])["additionalProperties"] is False


def test_labels_are_quoted_in_the_grammar() -> None:
    assert label_grammar(('"a"', "b\\\n")) == r'root ::= " "? ("\"a\"" | "\"A\"" | "b\\\n" | "B\\\n")'


def test_what_strict_endpoints_refuse_is_not_sent_as_strict() -> None:
    schema = Nested.model_json_schema()
    sent, strict = strict_schema(schema)
    assert not strict
    assert sent == schema
    sent, strict = strict_schema({"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}})
    assert not strict


def test_a_reasoning_models_own_name_for_max_tokens_is_learnt_once() -> None:
    writer = Writer("m", OPENAI)
    text = "Unsupported parameter: 'max_tokens' ... Use 'max_completion_tokens' instead."
    refusal = Unsupported("max_tokens", text)
    assert writer.learn(ask(str), Form(), refusal)
    body = json.loads(writer.request(ask(str), "text", 1))
    assert "max_tokens" not in body
    assert body["max_completion_tokens"] == 100
    assert writer.learn(ask(str), Form(), refusal), "a call that was sent in the old form is sent anew"
    assert not writer.learn(ask(str), writer.form, refusal), "there is no third name"


def test_answers_are_read() -> None:
    assert read_completion(completion("fine", finish_reason="stop"), (), 0) == Said("fine", 12, 3)
    assert read_completion(completion("fi", finish_reason="length"), (), 0) == Said("fi", 12, 3, cut=True)
    assert read_completion(completion("four", usage=None), (), 40) == Said("four", 10, 1, counted=False)


def test_refusals_are_recognised() -> None:
    assert read_completion(completion(None, message={"refusal": "No."}), (), 0) == Refused("No.", 12, 3)
    assert isinstance(read_completion(completion("", finish_reason="content_filter"), (), 0), Refused)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b'{"choices": []}', b'{"choices": [{}]}', b"[1]", b"\xff\xfe"])
def test_a_body_that_is_no_completion_is_a_fault_that_may_have_been_billed(body: bytes) -> None:
    outcome = read_completion(body, (), 0)
    assert isinstance(outcome, Fault)
    assert outcome.billed


def _error(code: str, message: str = "m") -> bytes:
    return json.dumps({"error": {"message": message, "type": "t", "code": code}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "wait_s", "kind"),
    [
        (429, _error("rate_limit_exceeded"), 2.0, Limited),
        (429, b"slow down", None, Limited),
        (503, b"", 1.0, Limited),
        (503, b"", None, Fault),
        (500, _error("server_error"), None, Fault),
        (408, b"", None, Fault),
        (400, _error("context_length_exceeded"), None, Rejected),
        (422, b'{"detail": [{"loc": ["body"]}]}', None, Rejected),
        (400, _error("unsupported_value"), None, Rejected),
        (401, _error("invalid_api_key"), None, Fatal),
        (403, b"", None, Fatal),
        (404, _error("model_not_found"), None, Fatal),
        (429, _error("insufficient_quota"), 5.0, Fatal),
        (402, b"", None, Fatal),
    ],
)
def test_errors_are_told_apart(status: int, body: bytes, wait_s: float | None, kind: type) -> None:
    outcome = read_error(status, body, wait_s)
    assert isinstance(outcome, kind)
    assert str(status) in outcome.detail


def test_tokens_are_matched_to_labels() -> None:
    tokens = [("I", -0.5), (" Dis", -2.0), ("ag", -1.0), ("A", -0.7), ("", -0.1), ("\n", -0.2), ("x", math.nan)]
    found = label_probabilities(("agree", "disagree"), tokens)
    assert found == {"agree": pytest.approx(1 / (1 + math.exp(-1)), abs=1e-6), "disagree": pytest.approx(0.268941)}
    assert label_probabilities(("agree", "disagree"), [("ag", -1.0)]) == {"agree": 1.0, "disagree": 0.0}
    assert label_probabilities(("agree", "disagree"), [("I", -0.1)]) is None


def test_labels_that_their_first_token_cannot_tell_apart_have_no_probabilities() -> None:
    numbers = tuple(str(n) for n in range(11))
    assert label_probabilities(numbers, [("1", -1.0), ("5", -1.0)]) is None
    assert label_probabilities(("strongly agree", "strongly disagree", "no"), [("str", -0.1), ("no", -3.0)]) is None


def test_a_label_is_drawn_from_its_probabilities_by_the_asks_own_stream() -> None:
    probabilities = {"yes": 0.3, "no": 0.7}
    drawn = [json.loads(choose(probabilities, Stream(5, agent, 0, "choice:0"))) for agent in range(4000)]
    assert drawn == [json.loads(choose(probabilities, Stream(5, agent, 0, "choice:0"))) for agent in range(4000)]
    assert drawn[0]["probabilities"] == probabilities
    share = sum(one["label"] == "yes" for one in drawn) / 4000
    assert share == pytest.approx(0.3, abs=4 * (0.21 / 4000) ** 0.5)


RETRY = Retry(seed=7, retries=2, repairs=1, rate=Rate.of(1.0, 2.0))


def pending_ask(answer: Any = str, mode: Any = "text") -> Pending:
    return Pending(ask(answer), lambda _answers: None, mode, RETRY.rate)


def test_faults_are_tried_again_so_often_and_no_more() -> None:
    one = pending_ask()
    waits = [RETRY.after(one, Fault("500")) for _ in range(2)]
    assert all(isinstance(step, Again) and 0 <= step.after_s <= 1.0 for step in waits)
    last = RETRY.after(one, Fault("500: storm"))
    assert isinstance(last, Answer)
    assert (last.settled, last.reason, last.calls) == ("abstained", "error", 0)
    assert "tried 3 times" in last.detail


def test_a_probe_costs_its_ask_no_try() -> None:
    one = pending_ask()
    for _ in range(10):
        assert isinstance(RETRY.after(one, Fault("500"), probe=True), Again)
    assert one.tries == 0


OUTCOMES = st.sampled_from(
    [
        Fault("cut", billed=True),
        Fault("500"),
        Late("60 s"),
        Limited("429"),
        Rejected("4 MiB", billed=True),
        Said("{"),
        Said('{"label":"no"}'),
    ]
)


@given(st.lists(st.tuples(OUTCOMES, st.booleans(), st.integers(0, 2), st.integers(1, 8)), max_size=12))
def test_no_ask_is_paid_for_more_often_than_its_tries_and_repairs(
    calls: list[tuple[Any, bool, int, int]],
) -> None:
    """Whatever its calls come to, as probes of an outage or not, with other endpoints or without."""
    one = pending_ask(Choice("yes", "no"), "labels")
    for outcome, probe, elsewhere in (call for *call, times in calls for _ in range(times)):
        step = RETRY.after(one, outcome, probe=probe, elsewhere=elsewhere)
        if not isinstance(step, Again):
            break
    assert one.calls <= 1 + RETRY.retries + RETRY.repairs + 1, "one more for labels that can't be read"


def test_a_probe_that_may_be_billed_costs_its_ask_a_try() -> None:
    one = pending_ask()
    steps = [RETRY.after(one, Fault("cut", billed=True), probe=True) for _ in range(3)]
    assert [type(step) for step in steps] == [Again, Again, Answer]
    assert one.calls == 3


def test_a_rate_limit_costs_its_ask_no_try() -> None:
    one = pending_ask()
    steps = [RETRY.after(one, Limited("429", wait_s)) for wait_s in (None, 4.0) * 10]
    assert all(isinstance(step, Again) and 0.0 < step.after_s <= 30.0 for step in steps)
    assert one.tries == 0
    assert RETRY.after(one, Limited("429"), elsewhere=1) == Again(0.0)


def test_an_endpoint_is_left_alone_for_what_it_asked_or_longer_each_time() -> None:
    assert 4.0 <= RETRY.pause_s(pending_ask(), 3, 4.0) <= 4.5
    assert 0.02 <= RETRY.pause_s(pending_ask(), 3, 0.02) <= 0.04
    pauses = [RETRY.pause_s(pending_ask(), refused, None) for refused in range(10)]
    bounds = (0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30)
    assert all(bound / 2 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True))
    assert pauses == [RETRY.pause_s(pending_ask(), refused, None) for refused in range(10)]


def test_an_answer_that_does_not_fit_is_repaired_with_the_error_quoted() -> None:
    one = pending_ask(Opinion, "schema")
    assert RETRY.after(one, Said('{"attitude": 11}', 10, 5)) == Again(0.0)
    assert one.more[0] == ("assistant", '{"attitude": 11}')
    assert "<= 10" in one.more[1][1]
    done = RETRY.after(one, Said('{"attitude": 1}', 20, 5))
    assert isinstance(done, Answer)
    assert (done.settled, done.text) == ("answered", '{"attitude": 1}')
    assert (done.calls, done.tokens_in, done.tokens_out) == (2, 30, 10)
    assert done.cost_usd == pytest.approx(50e-6)


def test_after_its_repairs_it_abstains_and_says_why() -> None:
    one = pending_ask(Opinion, "schema")
    RETRY.after(one, Said('{"attit', 10, 5, cut=True))
    done = RETRY.after(one, Said('{"attit', 10, 5, cut=True))
    assert isinstance(done, Answer)
    assert (done.reason, done.calls) == ("schema", 2)
    assert "cut off at 100 tokens" in done.detail


def test_probabilities_that_cannot_be_read_fall_back_to_a_label_that_the_schema_holds_to() -> None:
    one = pending_ask(Choice("yes", "no"), "labels")
    assert RETRY.after(one, Said("I", 10, 1, cut=True)) == Again(0.0)
    assert one.mode == "schema"
    done = RETRY.after(one, Said('{"label":"no"}', 10, 5))
    assert isinstance(done, Answer)
    assert (done.text, done.calls) == ('{"label":"no"}', 2)
    read = pending_ask(Choice("yes", "no"), "labels")
    done = RETRY.after(read, Said("I", 10, 1, True, {"yes": 1.0, "no": 0.0}))
    assert isinstance(done, Answer)
    assert json.loads(done.text) == {"label": "yes", "probabilities": {"yes": 1.0, "no": 0.0}}


def test_every_other_outcome_ends_the_ask() -> None:
    for outcome, reason, calls in [
        (Late("60 s"), "deadline", 1),
        (Refused("No.", 1, 1), "refusal", 1),
        (Rejected("too long"), "error", 0),
        (Rejected("4 MiB", billed=True), "error", 1),
    ]:
        done = RETRY.after(pending_ask(), outcome)
        assert isinstance(done, Answer)
        assert (done.settled, done.reason, done.calls) == ("abstained", reason, calls)
    assert RETRY.after(pending_ask(), Fatal("key", "401")) == Fatal("key", "401")
