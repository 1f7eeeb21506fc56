"""What stands in a table's columns of bodies and prompts: JSON, as the standard library reads and writes it."""

from __future__ import annotations

import base64
import json

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.core.errors import BusError
from populace.core.table_columns import Coded, joined, repeated
from populace.core.tables import TABLES, Column
from populace.store.tables.columns import body_text, to_arrow


def column(table: str, name: str) -> Column:
    return next(one for one in TABLES[table].columns if one.name == name)


_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc é", max_size=3), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(_plain)
def test_a_body_becomes_the_same_value_in_json(body: object) -> None:
    assert json.loads(body_text(msgpack.packb(body))) == body


@given(st.lists(_plain, max_size=6))
def test_many_bodies_become_the_texts_that_each_becomes_alone(values: list) -> None:
    bodies = [msgpack.packb(value) for value in values]
    expected = [body_text(body) for body in bodies]
    for given_as in (bodies, joined(bodies)):
        assert to_arrow(column("messages", "body"), given_as).to_pylist() == expected


def test_a_body_among_thousands_that_is_none_is_told_of() -> None:
    bodies = [msgpack.packb(n) for n in range(1000)]
    bodies[700] = b"\xc1"
    with pytest.raises(BusError, match="a message body of 1 bytes is not plain data"):
        to_arrow(column("messages", "body"), joined(bodies))
    bodies[700] = msgpack.packb([]) * 2
    with pytest.raises(BusError, match="a message body of 2 bytes is not plain data"):
        to_arrow(column("messages", "body"), bodies)
    bodies[700:702] = [b"\x92\x01", b"\x02"]  # which are one body only together
    with pytest.raises(BusError, match="a message body of 2 bytes is not plain data"):
        to_arrow(column("messages", "body"), joined(bodies))


_text = st.text(st.characters(exclude_categories=["Cs"])) | st.text('",\\\n\x00x', max_size=6)
_roles = _text | st.sampled_from(["system", "user"])


def in_json(prompts: list) -> list[str]:
    return [
        json.dumps([{"role": role, "content": content} for role, content in messages], ensure_ascii=False)
        for messages in prompts
    ]


@given(st.lists(st.lists(st.tuples(_roles, _text), max_size=3), max_size=4))
def test_a_prompt_becomes_the_json_that_the_standard_library_writes(prompts: list) -> None:
    prompt = column("asks", "prompt")
    assert to_arrow(prompt, prompts).to_pylist() == in_json(prompts)
    assert to_arrow(prompt, in_json(prompts)).to_pylist() == in_json(prompts)


@given(st.integers(1, 3), st.data())
def test_prompts_that_are_alike_become_what_each_becomes(messages: int, data: st.DataObject) -> None:
    shared = data.draw(st.lists(st.tuples(_roles, _text) | st.none(), min_size=messages, max_size=messages))
    rows = data.draw(st.lists(st.lists(st.tuples(_roles, _text), min_size=messages, max_size=messages), max_size=6))
    prompts = [[own if same is None else same for same, own in zip(shared, row, strict=True)] for row in rows]
    assert to_arrow(column("asks", "prompt"), prompts).to_pylist() == in_json(prompts)


@pytest.mark.parametrize(
    ("name", "values"),
    [("reason", ["", "schema"]), ("settled", ["answered"]), ("answer", [None, "yes"]), ("cut", [False, True]),
     ("stands_for", [-1, 3]), ("calls", [0, 1]), ("cost_usd", [0.5]), ("prompt", [(("user", "Why?"),)]),
     ("key", [b"\x01" * 16])],
)  # fmt: skip
def test_values_by_code_become_what_a_list_of_them_becomes(name: str, values: list) -> None:
    ask = column("asks", name)
    for rows in ([], [0] * 5, [len(values) - 1, 0, 0]):
        codes = np.array(rows, np.uint8)
        assert to_arrow(ask, Coded(values, codes)).equals(to_arrow(ask, [values[code] for code in rows]))
    assert to_arrow(ask, repeated(values[0], 3)).equals(to_arrow(ask, values[:1] * 3))


def test_keys_are_written_in_hex() -> None:
    key, keys = column("asks", "key"), [bytes([n]) * 16 for n in range(9)]
    expected = [one.hex() for one in keys]
    for given_as in (keys, expected, [*keys[:4], *expected[4:]]):
        assert to_arrow(key, given_as).to_pylist() == expected
    odd = [b"", b"\x01", b"\x01\x02"]
    assert to_arrow(key, odd).to_pylist() == ["", "01", "0102"]
    assert to_arrow(key, [b"", b""]).to_pylist() == ["", ""]


def test_what_json_lacks() -> None:
    assert json.loads(body_text(msgpack.packb({"raw": b"\x00\xff"}))) == {"raw": base64.b64encode(b"\x00\xff").decode()}
    assert body_text(msgpack.packb([float("nan"), float("inf")])) == "[null,null]"
