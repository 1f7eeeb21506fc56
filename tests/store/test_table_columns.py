"""What stands in a table's columns of bodies and prompts: JSON, as the standard library reads and writes it."""

from __future__ import annotations

import base64
import json

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from populace.core.tables import TABLES
from populace.store.tables.columns import body_text, convert

_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc é", max_size=3), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(_plain)
def test_a_body_becomes_the_same_value_in_json(body: object) -> None:
    assert json.loads(body_text(msgpack.packb(body))) == body


_text = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.lists(st.tuples(_text | st.sampled_from(["system", "user"]), _text), max_size=3), max_size=4))
def test_a_prompt_becomes_the_json_that_the_standard_library_writes(prompts: list) -> None:
    expected = [
        json.dumps([{"role": role, "content": content} for role, content in messages], ensure_ascii=False)
        for messages in prompts
    ]
    prompt = next(column for column in TABLES["asks"].columns if column.name == "prompt")
    assert convert(prompt, prompts) == expected
    assert convert(prompt, expected) == expected


def test_what_json_lacks() -> None:
    assert json.loads(body_text(msgpack.packb({"raw": b"\x00\xff"}))) == {"raw": base64.b64encode(b"\x00\xff").decode()}
    assert body_text(msgpack.packb([float("nan"), float("inf")])) == "[null,null]"
