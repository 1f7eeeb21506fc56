"""Facts: what a template may hold, how facts are written into it, and where they stand in content keys."""

from __future__ import annotations

import enum
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernel_support import doing, failure_of, make_scope

from populace.agents.answers import Choice, compile_answer, content_key
from populace.agents.context import Context, Draft
from populace.agents.facts import fill
from populace.core.errors import BadAsk
from populace.core.records import Ask


class Side(enum.StrEnum):
    LEFT = "left"


@pytest.mark.parametrize(
    ("template", "facts", "text"),
    [
        ("You are {name}.", {"name": "Ann"}, "You are Ann."),
        ("{a}{b}{a}", {"a": 1, "b": 2}, "121"),
        ("{x}", {"x": 0.1 + 0.2}, "0.30000000000000004"),
        ("{x} {y} {z}", {"x": 2.0, "y": -0.0, "z": 1e300}, "2.0 -0.0 1e+300"),
        ("{a} {b} {c}", {"a": True, "b": None, "c": False}, "true null false"),
        ("{a}", {"a": [1, 2.5, "two", None, True]}, '[1, 2.5, "two", null, true]'),
        ("{a}", {"a": {"zoë": (1, 2), "a": {}}}, '{"zoë": [1, 2], "a": {}}'),
        ('Answer {{"label": "{x}"}}', {"x": "yes"}, 'Answer {"label": "yes"}'),
        ("{{{x}}}", {"x": 1}, "{1}"),
        ("{{x}} }}{{", {}, "{x} }{"),
        ("{one}", {"one": np.float64(0.5)}, "0.5"),
        ("{one}", {"one": Side.LEFT}, "left"),
        ("", {}, ""),
        ("{größe}", {"größe": 3}, "3"),
    ],
)
def test_a_template_is_filled(template: str, facts: dict[str, Any], text: str) -> None:
    assert fill([template], facts)[0] == [text]


def test_what_a_fact_says_is_never_read_as_a_template() -> None:
    assert fill(["{a} and {b}"], {"a": "{b} {{ } {0}", "b": "{a}"})[0] == ["{b} {{ } {0} and {a}"]


@pytest.mark.parametrize(
    ("template", "facts", "says"),
    [
        ("x\n y {a.b}", {"a": 1}, "line 2, column 4 of the template: '{a.b}' is no fact's name"),
        ("{a[0]}", {"a": [1]}, "line 1, column 1 of the template: '{a[0]}'"),
        ("{a!r}", {"a": 1}, "'{a!r}' is no fact's name"),
        ("{a:>5}", {"a": 1}, "'{a:>5}' is no fact's name"),
        ("{ a }", {"a": 1}, "'{ a }' is no fact's name"),
        ("{}", {}, "'{}' is no fact's name"),
        ("{0}", {"0": 1}, "'{0}' is no fact's name"),
        ('like {"label": "yes"}', {}, """line 1, column 6 of the template: '{"label": "yes"}'"""),
        ("a { b", {}, "column 3 of the template: a single '{'"),
        ("a }", {}, "write '}}'"),
        ("{a}", {}, "line 1, column 1 of the template: no fact is called 'a'; there are no facts"),
        ("{b} {a}", {"b": 1}, "column 5 of the template: no fact is called 'a'; the facts are b"),
        ("{a}", {"a": 1, "arm": "treated"}, "does not use the fact 'arm'; it holds a"),
        ("nothing", {"a": 1}, "does not use the fact 'a'; it holds no name"),
        ("{{a}}", {"a": 1}, "does not use the fact 'a'"),
        ("{a}", {"a": math.nan}, "the fact a is nan"),
        ("{a}", {"a": {"b": [1, -math.inf]}}, "the fact a['b'][1] is -inf"),
        ("{a}", {"a": {1: 2}}, "the fact a has the key 1"),
        ("{a}", {"a": {1, 2}}, "the fact a is of the type set"),
        ("{a}", {"a": b"x"}, "the fact a is of the type bytes"),
        ("{a}", {"a": object()}, "the fact a is of the type object"),
        ("{a}", {"a": np.int64(3)}, "the fact a is of the type int64"),
        ("{a}", {"a": 2**64}, "more than 64 bits"),
        ("{a}", [("a", 1)], "facts is a dictionary"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(template: str, facts: Any, says: str) -> None:
    with pytest.raises(BadAsk) as caught:
        fill([template], facts)
    assert says in str(caught.value)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=8,
)  # fmt: skip


@given(PLAIN)
def test_facts_come_back_as_they_were(value: Any) -> None:
    [text], told = fill(["{a}"], {"a": value})
    again = json.loads(told)["a"]
    assert again == value
    assert repr(again) == repr(value) or isinstance(value, dict | list)
    assert text == value if isinstance(value, str) else json.loads(text) == value


@given(st.text(st.characters(codec="utf-8")))
def test_without_facts_a_prompt_is_taken_as_it_stands(prompt: str) -> None:
    assert ask(prompt).messages == (("user", prompt),)
    doubled = prompt.replace("{", "{{").replace("}", "}}")
    assert ask(doubled, facts={}).messages == (("user", prompt),)


def ask(prompt: str | None = None, answer: Any = str, *, by_rules: bool = False, **options: Any) -> Ask:
    made = Context(3, 0, make_scope(5, by_rules=by_rules), Draft()).ask(prompt, answer, **options)
    assert isinstance(made, Ask)
    return made


def test_an_ask_without_facts_has_the_key_that_it_always_had() -> None:
    spec, messages = compile_answer(str), (("user", "Who {are} you?"),)
    made = ask("Who {are} you?")
    assert made.key == content_key("scripted", messages, spec, 50, 0.5)
    assert made.key.hex() == "869f014ce29ebc2ebfeccf44eafcdd2c"
    assert made.facts == ""


def test_a_model_is_asked_the_same_by_facts_and_without() -> None:
    """Facts change nothing of what a model reads, so a scenario may turn to facts and keep its recordings."""
    by_facts = ask("{a} or {b}?", Choice("1", "2"), facts={"a": 1, "b": 2.5})
    assert by_facts.key == ask("1 or 2.5?", Choice("1", "2")).key
    assert by_facts.facts == '{"a":1,"b":2.5}'


def test_where_rules_answer_the_key_covers_purpose_and_facts() -> None:
    one = ask("{a}", facts={"a": 1}, by_rules=True)
    assert one.key == ask("{a}", facts={"a": 1}, by_rules=True).key
    reads_the_same = ask("{a}", facts={"a": "1"}, by_rules=True)
    assert reads_the_same.messages == one.messages
    others = [
        reads_the_same, ask("1", by_rules=True), ask("{a}", facts={"a": 1}, purpose="vote", by_rules=True),
        ask("{a}", facts={"a": 1}), ask("{a}", facts={"a": 1.0}, by_rules=True),
    ]  # fmt: skip
    assert len({one.key, *(other.key for other in others)}) == 6
    assert ask("{a}", facts={"a": 1}).key == ask("{a}", facts={"a": "1"}).key, "control: a model reads the same"


def test_the_order_of_facts_changes_nothing() -> None:
    one, other = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}
    assert fill(["{a}{b}"], one)[1] == fill(["{a}", "{b}"], other)[1]


def test_an_ask_keeps_the_facts_that_it_was_made_with() -> None:
    heard = ["a"]
    made = ask("{heard}", facts={"heard": heard})
    heard.append("b")
    assert made.facts == '{"heard":["a"]}'


TALK = [("user", "Who are you?"), ("assistant", "{Ann}"), ("user", "And you?")]


def test_an_ask_may_be_a_conversation() -> None:
    made = ask(messages=TALK)
    assert made.messages == tuple(TALK)
    assert ask(messages=[{"role": role, "content": content} for role, content in TALK]).key == made.key
    assert ask(messages=iter(TALK), system="Be brief.").messages == (("system", "Be brief."), *TALK)
    assert ask(messages=TALK[:1]).key == ask("Who are you?").key, "a prompt is a conversation of one message"
    assert ask(messages=TALK[2:]).key != made.key, "control"


def test_facts_stand_in_any_message_of_a_conversation() -> None:
    talk = [("system", "You are {name}."), ("assistant", "I am {name} {{}}."), ("user", "{asked}")]
    made = ask(messages=talk, facts={"name": "Ann", "asked": "{name}?"}, system="As {it} is.")
    assert [content for _, content in made.messages] == ["As {it} is.", "You are Ann.", "I am Ann {}.", "{name}?"]
    with pytest.raises(BadAsk, match="line 1, column 6 of the template of message 1: no fact is called 'name'"):
        ask(messages=[("system", "Be brief."), *talk[1:]], facts={"asked": "?"})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prompt": "Hi", "messages": TALK}, "a prompt and messages are both given"),
        ({}, "prompt, system and purpose are text"),
        ({"messages": []}, "the last of the messages is the user's"),
        ({"messages": TALK[:2]}, "the last of the messages is the user's"),
        ({"messages": [("tool", "3")]}, "message 0 has the role 'tool'; there are system, user, assistant"),
        ({"messages": [*TALK, ("user", 3)]}, "message 3 has to be (role, content)"),
        ({"messages": [{"role": "user"}]}, "message 0 has to be"),
        ({"messages": [{"role": "user", "content": "Hi", "name": "Ann"}]}, "message 0 has to be"),
        ({"messages": ["us"]}, "message 0 has to be"),
        ({"messages": "Hi"}, "messages is a list"),
        ({"messages": {"role": "user", "content": "Hi"}}, "messages is a list"),
        ({"messages": 3}, "messages is a list"),
        ({"messages": TALK, "system": 3}, "system and purpose are text"),
        ({"messages": [("user", "\ud800")]}, "surrogates"),
    ],
)
def test_what_is_no_conversation_is_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(BadAsk) as caught:
        ask(**options)
    assert says in str(caught.value)


def test_the_turn_that_gives_wrong_facts_fails_at_its_line() -> None:
    async def deed(_self: Any, ctx: Context) -> None:
        await ctx.ask("You are {name}.", facts={"nmae": "Ann"})

    failure = failure_of(doing(deed))
    assert failure.error == "BadAsk"
    assert "does not use the fact 'nmae'; it holds name" in failure.message
    assert f"{__file__}:{deed.__code__.co_firstlineno + 1} in deed" in failure.where
