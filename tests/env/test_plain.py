"""What parts give out: one order in every process, and a clear word for what no message can hold."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import msgspec
import numpy as np
import pytest

from populace.core.errors import ScenarioError
from populace.env.plain import given_out, plain, with_order

WORDS = {f"word {nth}" for nth in range(20)}


class Note(msgspec.Struct):
    tags: set[str]


@dataclasses.dataclass
class Slip:
    tags: frozenset[str]


@pytest.mark.parametrize(
    "value", [WORDS, frozenset(WORDS), [1, (2, {"a": WORDS})], Note(WORDS), [Slip(frozenset(WORDS))]]
)
def test_a_set_is_not_given_out(value: Any) -> None:
    with pytest.raises(ScenarioError, match=r"a set has no order.*sorted"):
        given_out(value)


@pytest.mark.parametrize(("value", "why"), [(2**64, "more than 64 bits"), (["\ud800"], "lone surrogates")])
def test_what_no_message_can_hold_is_told(value: Any, why: str) -> None:
    with pytest.raises(ScenarioError, match=why):
        given_out({"a": [value]})


def test_all_else_is_given_out_as_plain_data() -> None:
    value = [None, True, 1.5, "x", b"y", (1, {"b": 1, "a": np.float32(2)}), np.arange(3)]
    assert given_out(value) == [None, True, 1.5, "x", b"y", (1, {"b": 1, "a": 2.0}), [0, 1, 2]]
    assert list(given_out({"b": 1, "a": 2})) == ["b", "a"]


SHOW = """
import msgspec
from populace.env.plain import plain, with_order
class Note(msgspec.Struct):
    tags: set[str]
WORDS = {f"word {nth}" for nth in range(20)}
print(with_order([WORDS, {"b": {3, "x", None}, "a": 1}, (frozenset({(1, "y"), (1, "x")}), Note(WORDS))]))
"""


def test_sets_of_newborns_have_one_order_in_every_process() -> None:
    def shown(code: str, seed: str) -> str:
        env = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        return done.stdout

    assert len({shown(SHOW, seed) for seed in "1234"}) == 1
    careless = SHOW.replace("with_order([", "plain([")  # a control: as sets come
    assert len({shown(careless, seed) for seed in "1234"}) > 1
    assert list(with_order({"b": {2}, "a": 1})) == ["b", "a"]
    assert plain(with_order([{3, 1, 2}])) == [[1, 2, 3]]
