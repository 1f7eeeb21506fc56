"""Embeddings as answers: what may be asked, and vectors that stand as text and come back to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from populace.agents.context import Context, Draft, Scope
from populace.agents.embedding import read_vectors, write_vectors
from populace.core.errors import BadAsk
from populace.core.records import Ask

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=FINITE))
def test_vectors_come_back_to_the_bit(vectors) -> None:
    read = read_vectors(write_vectors(vectors))
    assert read.dtype == np.float32
    assert read.shape == vectors.shape
    assert read.tobytes() == vectors.tobytes(), "negative zeros and the smallest numbers too"
    assert not read.flags.writeable


@pytest.mark.parametrize(
    "vectors", [[], [1.0, 2.0], [[1.0], [1.0, 2.0]], [[float("nan")]], [[float("inf")]], [[]], [["a"]], [[1e300]]]
)
def test_what_are_no_vectors_is_refused(vectors) -> None:
    with pytest.raises(ValueError), np.errstate(over="ignore"):  # noqa: PT011 - NumPy words some of them
        write_vectors(vectors)


GOOD = write_vectors([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    "text",
    ["", "hello", GOOD[:-1], GOOD.replace("2x2", "2x3"), GOOD.replace("2x2", "0x0"), GOOD.replace("float32", "float64"),
     GOOD + "\n", GOOD.replace("A", "%", 1), "float32 1x1 AAA="],
)  # fmt: skip
def test_what_is_no_text_of_vectors_is_refused(text) -> None:
    with pytest.raises(ValueError, match="is no text of"):
        read_vectors(text)


def context() -> tuple[Context, Draft]:
    scope = Scope(7, 60.0, None, 4, "m", 20, 0.8, 1000, 10, frozenset(), frozenset())
    draft = Draft()
    return Context(1, scope.tick, scope, draft), draft


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ("one text", r"await ctx\.embed\(\[text\]\)"),
        (3, "takes a list of texts"),
        ([], "there is no text"),
        (["a", ""], "text 1 is empty"),
        (["a", " \n"], "text 1 is empty"),
        (["a", 3], "text 1 is a int"),
        (["a", None], "text 1 is a NoneType"),
        (["a", "\ud800"], "surrogates"),
    ],
)
def test_what_cannot_be_embedded_is_named(texts, says) -> None:
    ctx, draft = context()
    with pytest.raises(BadAsk, match=says):
        ctx.embed(texts)
    assert not draft.pending


def test_the_content_key_is_of_the_texts_and_the_model_and_no_chats() -> None:
    ctx, _ = context()
    keys = []
    chat = ctx.ask(messages=[("user", "a"), ("user", "b")])
    same = ctx.embed(["a", "b"]), ctx.embed(("a", "b"), purpose="other")
    for ask in (*same, ctx.embed(["a b"]), ctx.embed(["b", "a"]), chat):
        assert isinstance(ask, Ask)
        keys.append(ask.key)
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
    with pytest.raises(BadAsk, match="is no role's name"):
        ctx.embed(["a"], model_role="a b")
