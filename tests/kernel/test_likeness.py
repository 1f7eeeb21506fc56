"""Many agents compared as columns come to what a walk through each of them comes to."""

from __future__ import annotations

import copy
import enum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.kernel import likeness
from populace.kernel.likeness import alike, all_alike


class Word(enum.StrEnum):
    A = "a"


class Leaf(msgspec.Struct):
    level: float = 0.0
    name: str = ""


class Fixed(msgspec.Struct, frozen=True):
    what: Any = None


class Branch(msgspec.Struct):
    leaf: Leaf
    by_name: dict[str, Any] = {}
    many: list[Any] = []


Pair = tuple[Any, Any]


def same(value: Any) -> Pair:
    return value, copy.deepcopy(value)


SCALARS = st.one_of(st.integers(0, 3), st.booleans(), st.floats(0, 1), st.just("a"), st.none()).map(same)
OTHERS = st.sampled_from([(Word.A, "a"), ((1, 2), [1, 2]), ((), []), (Word.A, Word.A), (frozenset({1}), [1])])
LEAVES = st.one_of(SCALARS, SCALARS, SCALARS, OTHERS)


def nested(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    several = st.lists(inner, max_size=3)
    leaf = inner.map(lambda one: (Leaf(name=one[0]), Leaf(name=one[1])))
    return st.one_of(
        several.map(lambda ones: ([one for one, _ in ones], [two for _, two in ones])),
        several.map(lambda ones: (tuple(one for one, _ in ones), tuple(two for _, two in ones))),
        several.map(lambda ones: tuple({str(at): one[side] for at, one in enumerate(ones)} for side in (0, 1))),
        inner.map(lambda one: (Fixed(one[0]), Fixed(one[1]))),
        st.tuples(leaf, inner, several).map(
            lambda of: tuple(Branch(of[0][side], {"x": of[1][side]}, [one[side] for one in of[2]]) for side in (0, 1))
        ),
    )


PAIRS = st.lists(st.recursive(LEAVES, nested, max_leaves=8), min_size=1, max_size=6)


def compared(pairs: list[Pair], whole: bool) -> tuple[bool, list[int]]:
    was, now = [one for one, _ in pairs], [two for _, two in pairs]
    containers: list[int] = []
    like = all_alike(was, now, containers) if whole else all(map(alike, was, now, [containers] * len(was)))
    return like, sorted(containers)


def check(pairs: list[Pair]) -> None:
    columns, walked = compared(pairs, whole=True), compared(pairs, whole=False)
    assert columns[0] == walked[0]
    assert not columns[0] or columns == walked, "the containers are those of a walk"


@given(PAIRS)
def test_columns_say_what_a_walk_says(pairs: list[Pair]) -> None:
    check(pairs)


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["a", Word.A])), min_size=2, max_size=5), st.data())
def test_agents_of_one_class_go_as_columns(rows: list[tuple[float, str]], data: st.DataObject) -> None:
    was = [Branch(Leaf(level, str(name)), {"x": level}, [name]) for level, name in rows]
    now = copy.deepcopy(was)
    assert all_alike(was, now, []) is True
    at = data.draw(st.integers(0, len(rows) - 1))
    now[at].leaf.level = 1  # type: ignore[assignment]
    check(list(zip(was, now, strict=True)))
    assert all_alike(was, now, []) is False


@pytest.mark.parametrize("forgets", ["types", "containers"])
def test_control_columns_that_leave_something_out_are_seen(forgets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(kind: type) -> Any:
        read = () if forgets == "types" else fields(kind).read
        return likeness._Fields(read, mutable=forgets == "types", is_open=False)

    fields = likeness._fields
    monkeypatch.setattr(likeness, "_fields", careless)
    with pytest.raises(AssertionError):
        check([(Leaf(1.0), Leaf(1 if forgets == "types" else 1.0))] * 2)
