"""Answers are read strictly first, then the one value that they can mean, and never by a guess."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.agents.answers import Choice, compile_answer
from populace.models.bodies import plain_body, whole
from populace.models.chat import read_completion
from populace.models.endings import Exhausted, Fatal, Fault, Limited, Said
from populace.models.reading import read_as, without_thinking


class View(msgspec.Struct):
    attitude: Annotated[int, msgspec.Meta(ge=0, le=10)]
    why: str
    mood: Literal["calm", "angry"] = "calm"
    weight: float | None = None
    sure: bool = True


VIEW, VOTE = compile_answer(View), compile_answer(Choice("Agree", "disagree"))
GOOD = '{"attitude": 3, "why": "so"}'
VIEWS = st.builds(
    View, st.integers(0, 10), st.text(), st.sampled_from(["calm", "angry"]), st.none() | st.floats(-9, 9), st.booleans()
)
PROSE = st.text(st.characters(exclude_characters="{}[]", exclude_categories=["Cs"]), max_size=40)


@given(VIEWS, PROSE, PROSE)
def test_the_one_value_in_any_prose_is_the_answer(view: View, before: str, after: str) -> None:
    written = msgspec.json.encode(view).decode()
    text, reading = read_as(VIEW, before + written + after, lenient=False)
    assert VIEW.read(text) == view
    assert reading == ("extracted" if (before + after).strip(" \t\r\n") else "")


@given(VIEWS, PROSE)
def test_two_values_are_none(view: View, between: str) -> None:
    written = msgspec.json.encode(view).decode()
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the type's own reader says
        read_as(VIEW, written + between + written, lenient=True)


@given(VIEWS, st.data())
def test_a_value_that_is_cut_is_none_whatever_stands_in_it(view: View, data: st.DataObject) -> None:
    written = json.dumps({"attitude": {"attitude": 1, "why": "x"}, "more": msgspec.to_builtins(view)})
    cut = data.draw(st.integers(1, len(written) - 1))
    with pytest.raises(ValueError):  # noqa: PT011
        read_as(VIEW, written[:cut], lenient=True)


@given(VIEWS)
def test_cases_and_numbers_as_text_are_put_right_and_only_where_that_is_allowed(view: View) -> None:
    plain = msgspec.to_builtins(view)
    odd = {name: part if name == "why" or part is None else str(part).upper() for name, part in plain.items()}
    written = json.dumps(odd)
    text, reading = read_as(VIEW, written, lenient=True)
    assert VIEW.read(text) == view
    assert reading == "coerced"
    with pytest.raises(ValueError):  # noqa: PT011
        read_as(VIEW, written, lenient=False)


@given(st.text(), st.text(st.characters(exclude_characters="<", exclude_categories=["Cs"])))
def test_a_think_block_is_taken_off(text: str, thought: str) -> None:
    answer, reasoning = without_thinking(f"<think>{thought}</think>\n\n{text}")
    if "<think" not in text.lower() and "<reason" not in text.lower() and "<thought" not in text.lower():
        assert answer == text.lstrip()
        assert reasoning == thought.strip()


@pytest.mark.parametrize(
    ("spec", "text", "expected"),
    [
        (VOTE, "agree.", {"label": "Agree"}),
        (VOTE, '"DISAGREE"', {"label": "disagree"}),
        (VOTE, "**Agree**", {"label": "Agree"}),
        (VOTE, '{"label": "agree"}', {"label": "Agree"}),
        (VOTE, "I agree", None),
        (VOTE, '{"label": "agree"} or {"label": "disagree"}', None),
        (compile_answer(Choice("yes", "Yes")), "YES", None),
        (compile_answer(int), "I'd say 7.", 7),
        (compile_answer(int), "7 or 8", None),
        (compile_answer(int), "3.5", None),
        (compile_answer(list[int]), "Here: [1, 2]!", [1, 2]),
        (compile_answer(list[int]), '["1", "2"]', [1, 2]),
        (VIEW, '{"attitude": "11", "why": "out of range"}', None),
        (VIEW, '{"attitude": "many", "why": "no number"}', None),
        (VIEW, "{" * 50_000, None),
        (VIEW, "[" * 50_000 + GOOD, {"attitude": 3, "why": "so"}),
        (VIEW, "see {this} and [that]: " + GOOD, {"attitude": 3, "why": "so"}),
        (compile_answer(dict[str, int]), 'x {"a": 1}', {"a": 1}),
        (compile_answer(int | str), '"12"', "12"),
    ],
)
def test_what_is_read_and_what_is_not(spec: Any, text: str, expected: Any) -> None:
    if expected is None:
        with pytest.raises(ValueError):  # noqa: PT011
            read_as(spec, text, lenient=True)
    else:
        assert json.loads(read_as(spec, text, lenient=True)[0]) == expected


def test_what_fits_as_it_stands_is_taken_as_it_stands() -> None:
    odd = ' {"why": "{\\"attitude\\": 4}",\n"attitude": 3}'
    assert read_as(VIEW, odd, lenient=True) == (odd, "")
    assert read_as(compile_answer(str), " free {text} ", lenient=True) == (" free {text} ", "")


def _body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def _saying(text: Any = "yes", reason: str = "stop", **more: Any) -> dict[str, Any]:
    return {"message": {"content": text, **more}, "finish_reason": reason}


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": None, "completion_tokens": None}, {"prompt_tokens": "many"}, [], "7", -1]
)
def test_odd_usage_is_unknown_and_costs_no_answer(usage: Any) -> None:
    found = read_completion(_body(choices=[_saying()], usage=usage), (), 40)
    assert found == Said("yes", 10, 1, counted=False)


@pytest.mark.parametrize(
    "logprobs",
    [None, {}, [], {"content": None}, {"content": [{}]}, {"content": [{"top_logprobs": None}]}, {"content": ["x"]}],
)
def test_unreadable_probabilities_are_none(logprobs: Any) -> None:
    found = read_completion(_body(choices=[{**_saying(), "logprobs": logprobs}]), ("yes", "no"), 4)
    assert isinstance(found, Said)
    assert found.probabilities is None


def test_an_infinite_logprob_is_a_probability_of_nothing() -> None:
    top = [{"token": "yes", "logprob": -0.1}, {"token": "no", "logprob": -float("inf")}]
    found = read_completion(
        _body(choices=[{**_saying(), "logprobs": {"content": [{"top_logprobs": top}]}}]), ("yes", "no"), 4
    )
    assert isinstance(found, Said)
    assert found.probabilities == {"yes": 1.0, "no": 0.0}


_ANY_TEXT = st.text(st.characters())


@given(st.lists(st.dictionaries(_ANY_TEXT, _ANY_TEXT | st.lists(_ANY_TEXT | st.none() | st.booleans()))))
def test_what_is_whole_can_be_written(value: Any) -> None:
    msgspec.json.encode(whole(value))


@pytest.mark.parametrize("written", [b'"\\ud800"', b'"a\\udc00b"', b'"\xff"'])
def test_lone_surrogates_become_replacement_characters(written: bytes) -> None:
    found = read_completion(b'{"choices": [{"message": {"content": ' + written + b"}}]}", (), 0)
    assert isinstance(found, Said)
    assert "\ufffd" in found.text
    found.text.encode()


def test_thinking_comes_apart_from_the_answer_wherever_it_stands() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]
    for choice in (_saying("<think>hm</think>yes"), _saying(reasoning_content="hm"), _saying(reasoning="hm"),
                   _saying(parts), _saying("hm</think>yes")):  # fmt: skip
        found = read_completion(_body(choices=[choice]), (), 0)
        assert isinstance(found, Said)
        assert (found.text, found.reasoning) == ("yes", "hm")


def test_tokens_spent_on_reasoning_are_no_answer_and_said_so() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 60, "completion_tokens_details": {"reasoning_tokens": 60}}
    for choice in (_saying(None, "length"), _saying("<think>on and on", "length"), _saying("", "length")):
        found = read_completion(_body(choices=[choice], usage=usage), (), 0)
        assert isinstance(found, Exhausted)
        assert found.detail == "all 60 tokens went to reasoning: raise model.max_tokens"
        assert (found.tokens_in, found.tokens_out) == (9, 60)


def test_an_error_in_a_200_is_judged_as_its_status() -> None:
    spent = read_completion(_body(error={"code": 402, "message": "Insufficient credits"}), (), 0)
    assert isinstance(spent, Fatal)
    assert spent.kind == "quota"
    assert isinstance(read_completion(_body(error={"code": 429, "message": "slow down"}), (), 0), Limited)
    assert isinstance(read_completion(_body(error={"message": "no idea"}, choices=[]), (), 0), Fault)
    inner = {**_saying("", "error"), "error": {"code": 502, "message": "upstream"}}
    assert isinstance(read_completion(_body(choices=[inner]), (), 0), Fault)
    assert isinstance(read_completion(_body(choices=[_saying()], error=None), (), 0), Said)


def test_a_stream_is_read_where_it_is_whole_and_named_where_it_is_not() -> None:
    chunks = [{"choices": [{"delta": {"content": part}}]} for part in ("y", "es")]
    events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    found = read_completion(f"{events}data: [DONE]\n\n".encode(), (), 0, "text/event-stream")
    assert isinstance(found, Said)
    assert found.text == "yes"
    broken = read_completion(events.encode(), (), 0, "text/event-stream")
    assert isinstance(broken, Fault)
    assert "broke off" in broken.detail


def test_what_is_no_answer_is_named() -> None:
    found = plain_body(b"<html>Sign in</html>", "text/html; charset=utf-8")
    assert isinstance(found, Fault)
    assert found.foreign
    assert "text/html" in found.detail
    assert "Sign in" in found.detail


def test_a_types_own_check_may_raise_anything_and_the_answer_does_not_fit() -> None:
    class Picky(pydantic.BaseModel):
        town: str

        @pydantic.field_validator("town")
        @classmethod
        def _known(cls, town: str) -> str:
            if town == "Eridu":
                raise SystemExit(town)
            return {"Ur": town}[town]

    spec = compile_answer(Picky)
    assert read_as(spec, 'It is {"town": "Ur"}.', lenient=True) == ('{"town": "Ur"}', "extracted")
    for town in ("Uruk", "Eridu"):
        with pytest.raises(ValueError, match=town):
            read_as(spec, f'{{"town": "{town}"}}', lenient=True)
