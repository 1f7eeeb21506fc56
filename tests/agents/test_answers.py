"""Answer types: compiled once to a schema and a reader, told apart in content keys, read strictly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.agents.answers import AnswerSpec, Choice, Chosen, compile_answer, content_key
from populace.core.containers import fields_of
from populace.core.errors import BadAsk


class Opinion(msgspec.Struct):
    attitude: int
    why: str = ""


class Model(pydantic.BaseModel):
    attitude: int = pydantic.Field(ge=0, le=10)


@dataclass
class Data:
    attitude: int


class Tree(msgspec.Struct):
    value: int
    children: list[Tree] = []


class Outer(msgspec.Struct):
    inner: Opinion
    mood: Literal["glad", "sad"]


@pytest.mark.parametrize(
    ("answer", "text", "value"),
    [
        (str, "  hello \n", "hello"),
        (Opinion, '{"attitude": 3}', Opinion(3)),
        (Model, '{"attitude": 3}', Model(attitude=3)),
        (Data, '{"attitude": 3}', Data(3)),
        (Tree, '{"value": 1, "children": [{"value": 2}]}', Tree(1, [Tree(2)])),
        (Outer, '{"inner": {"attitude": 1}, "mood": "sad"}', Outer(Opinion(1), "sad")),
        (list[str], '["a"]', ["a"]),
        (int, "3", 3),
        (Choice("yes", "no"), '{"label": "no"}', Chosen("no")),
        (
            Choice("yes", "no"),
            '{"label": "no", "probabilities": {"yes": 0.25, "no": 0.75}}',
            Chosen("no", {"yes": 0.25, "no": 0.75}),
        ),
    ],
)
def test_answers_are_read_as_their_type(answer: Any, text: str, value: Any) -> None:
    spec = compile_answer(answer)
    assert spec.read(text) == value
    assert compile_answer(answer) is spec, "compiled once"
    assert spec.kind == ("text" if answer is str else "choice" if isinstance(answer, Choice) else "json")
    assert spec.schema is None or "$ref" not in spec.schema, "endpoints want an object at the top"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (str, ""),
        (str, " \n"),
        (Opinion, ""),
        (Opinion, "{}"),
        (Opinion, '{"attitude": "3"}'),
        (Opinion, '{"attitude": 3} and more'),
        (Model, '{"attitude": 11}'),
        (Outer, '{"inner": {"attitude": 1}, "mood": "angry"}'),
        (Choice("yes", "no"), '{"label": "maybe"}'),
        (Choice("yes", "no"), '"yes"'),
        (Choice("yes", "no"), '{"label": null}'),
        (int, "3.5"),
    ],
)
def test_text_that_does_not_fit_is_a_value_error_that_says_why(answer: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"\w+"):
        compile_answer(answer).read(text)


@given(st.text())
def test_no_text_breaks_a_reader(text: str) -> None:
    for answer in (str, Opinion, Model, Choice("yes", "no"), list[int]):
        try:
            compile_answer(answer).read(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017  # most texts do not fit, and some do


def test_schemas_say_what_is_wanted() -> None:
    choice = compile_answer(Choice("yes", "no"))
    assert choice.labels == ("yes", "no")
    assert choice.schema == {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": ["yes", "no"]}},
        "required": ["label"],
        "additionalProperties": False,
    }
    outer = compile_answer(Outer).schema
    assert outer is not None
    assert outer["required"] == ["inner", "mood"]
    assert set(outer["$defs"]) == {"Opinion"}
    tree = compile_answer(Tree).schema
    assert tree is not None
    assert "Tree" in tree["$defs"], "a recursive type still refers to itself"
    assert "$defs" not in (compile_answer(Opinion).schema or {})


@pytest.mark.parametrize("answer", [object, complex, 3, "yes", lambda: 3])
def test_what_cannot_be_an_answer_type_is_a_bad_ask(answer: Any) -> None:
    with pytest.raises(BadAsk, match="cannot be an answer type"):
        compile_answer(answer)


@pytest.mark.parametrize("labels", [(), ("yes",), ("yes", "yes"), ("yes", "")])
def test_a_choice_needs_two_different_labels(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="two or more different labels"):
        Choice(*labels)


def test_choices_are_values() -> None:
    assert Choice("a", "b") == Choice("a", "b")
    assert hash(Choice("a", "b")) == hash(Choice("a", "b"))
    assert Choice("a", "b") != Choice("b", "a")
    assert repr(Choice("a", "b")) == "Choice('a', 'b')"


def test_a_content_key_depends_on_all_that_is_asked_and_on_nothing_else() -> None:
    def key(
        model: str = "m",
        text: str = "hello",
        role: str = "user",
        spec: AnswerSpec | None = None,
        *,
        n: int = 9,
        t: float = 0.5,
    ) -> bytes:
        return content_key(model, ((role, text),), spec or compile_answer(Opinion), n, t)

    others = [
        key(model="n"),
        key(text="hullo"),
        key(role="system"),
        key(spec=compile_answer(Model)),
        key(spec=compile_answer(str)),
        key(spec=compile_answer(Choice("a", "b"))),
        key(spec=compile_answer(Choice("b", "a"))),
        key(n=10),
        key(t=0.25),
        content_key("m", (("user", "hel"), ("user", "lo")), compile_answer(Opinion), 9, 0.5),
    ]
    assert len({key(), *others}) == len(others) + 1
    assert key() == key()
    assert len(key()) == 16


def test_a_choice_equals_its_label() -> None:
    yes = Chosen("yes", {"yes": 0.7, "no": 0.3})
    assert yes == "yes"
    assert yes != "no"
    assert [yes != other for other in ("yes", "no", Chosen("yes"), Chosen("yes", dict(yes.probabilities or {})))] == [
        False, True, True, False,
    ]  # fmt: skip
    assert yes != Chosen("yes")
    assert yes == Chosen("yes", {"yes": 0.7, "no": 0.3})
    assert f"{yes}" == "yes"
    assert hash(yes) == hash("yes")


class Tagged(msgspec.Struct):
    tags: set[str]


class Chain(msgspec.Struct, frozen=True):
    tags: frozenset[str]
    next: Chain | None = None


@dataclass
class Report:
    by_kind: dict[str, list[Tagged]]
    pair: tuple[int, set[str]]


class Reply(pydantic.BaseModel, frozen=True):
    tags: frozenset[str]
    inner: list[Reply] = []


def sets_in(value: Any) -> Iterator[list[str]]:
    """The elements of all sets in a value, as they are read."""
    if isinstance(value, set | frozenset):
        yield list(value)
    elif isinstance(value, dict):
        yield from (one for inner in value.values() for one in sets_in(inner))
    elif isinstance(value, list | tuple):
        yield from (one for inner in value for one in sets_in(inner))
    elif isinstance(value, pydantic.BaseModel):
        yield from sets_in(vars(value))
    else:
        yield from sets_in([one for _, one in fields_of(value)])


TAGS = [f"tag {at}" for at in range(10, 60)]
SOME = msgspec.json.encode(TAGS).decode()
WITH_SETS: list[tuple[Any, str, int]] = [
    (set[str], SOME, 1),
    (Tagged, f'{{"tags": {SOME}}}', 1),
    (Chain, f'{{"tags": {SOME}, "next": {{"tags": {SOME}}}}}', 2),
    (Report, f'{{"by_kind": {{"a": [{{"tags": {SOME}}}, {{"tags": {SOME}}}]}}, "pair": [1, {SOME}]}}', 3),
    (Reply, f'{{"tags": {SOME}, "inner": [{{"tags": {SOME}}}]}}', 2),
]


@pytest.mark.parametrize(("kind", "text", "sets"), WITH_SETS)
def test_sets_in_an_answer_are_read_in_the_order_of_their_elements(kind: Any, text: str, sets: int) -> None:
    answer = compile_answer(kind).read(text)
    assert list(sets_in(answer)) == [TAGS] * sets
    plain = kind.model_validate_json(text) if kind is Reply else msgspec.json.decode(text, type=kind)
    assert answer == plain
    assert TAGS not in sets_in(plain), "control: as they are decoded, their order is that of this process's hashes"
