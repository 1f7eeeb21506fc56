"""Fields of Structs that are what they declare are told from those that reading back would change."""

from __future__ import annotations

import copy
import enum
from collections import OrderedDict
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace import mind
from populace.agents.agent import Agent
from populace.core.leaving import only_checks
from populace.kernel import nested
from populace.kernel.likeness import alike
from populace.kernel.nested import check_of
from populace.kernel.saving import Keeper
from populace.mind import Needs, Plan, Step


class Word(enum.StrEnum):
    A = "a"


class Leaf(msgspec.Struct):
    level: float = 0.5
    name: str = "leaf"


class Grown(Leaf):
    pass


class Fixed(msgspec.Struct, frozen=True):
    x: int
    held: list[str] = []


class Bounded(msgspec.Struct):
    value: float

    @only_checks
    def __post_init__(self) -> None:
        if not 0.0 <= self.value <= 1.0:
            raise ValueError


class Counting(msgspec.Struct):
    """Its `__post_init__` is known to nobody."""

    made: int = 0

    def __post_init__(self) -> None:
        self.made += 1


class Tree(msgspec.Struct):
    leaf: Leaf
    fixed: list[Fixed]
    by_name: dict[str, Bounded]
    maybe: Leaf | None
    two: tuple[int, str]
    kind: Literal["a", "b"]
    what: Any


def bounded(value: float) -> Bounded:
    made = Bounded(0.5)
    made.value = value
    return made


PLACES: dict[str, tuple[list[Any], list[Any]]] = {
    "leaf": ([Leaf(), Leaf(1.0, "b")], [Leaf(1), Leaf(True), Leaf(0.0, Word.A), Grown(), None]),
    "fixed": (
        [[], [Fixed(1), Fixed(2, ["a"])]],
        [[Fixed(True)], (Fixed(1),), [Fixed(1, ("a",))], [Fixed(1, [Word.A])], [Leaf()]],  # type: ignore[arg-type]
    ),
    "by_name": (
        [{}, {"x": Bounded(0.1), "y": Bounded(1.0)}],
        [
            lambda: {"x": bounded(2.0)},
            OrderedDict(x=Bounded(0.1)),
            {Word.A: Bounded(0.1)},
            {"x": 0.1},
            {"x": bounded(1)},
        ],
    ),
    "maybe": ([None, Leaf(0.1)], [Grown(), Leaf(2), 3]),
    "two": ([(1, "a")], [(1,), [1, "a"], (1, "a", 2), (True, "a"), (1, Word.A), ("a", 1)]),
    "kind": (["a", "b"], [Word.A, "c", None]),
    "what": ([None, 1.5, [1, {"a": [2]}]], [(1, 2), Leaf(), {1, 2}, [Word.A], {"a": (1,)}]),
}
"""Of each field of a tree: values that are what it declares, and values that are not."""


def tree_of(**chosen: Any) -> Tree:
    """A tree with values of its own."""

    def own(value: Any) -> Any:
        if callable(value):
            return value()
        return (*value,) if type(value) is tuple else copy.deepcopy(value)

    return Tree(**{name: own(chosen.get(name, right[0])) for name, (right, _) in PLACES.items()})


def reads_back(tree: Tree) -> bool:
    """Whether a walk through what would be read back finds no difference."""
    try:
        packed = msgspec.msgpack.encode(tree)
        again = msgspec.msgpack.decode(packed, type=Tree)
    except (msgspec.MsgspecError, TypeError):
        return False
    return msgspec.msgpack.encode(again) == packed and alike(tree, again, [])


def passes(kind: Any, owners: list[Any]) -> bool:
    """Whether values need not be read back, each of which stands in `owners` and nowhere else."""
    check = check_of(msgspec.inspect.type_info(kind))
    assert check is not None
    return check(list(owners))


@given(st.lists(st.fixed_dictionaries({}, optional={n: st.sampled_from(r + w) for n, (r, w) in PLACES.items()}),
                min_size=1, max_size=3))  # fmt: skip
def test_what_passes_is_what_would_be_read_back(drawn: list[dict[str, Any]]) -> None:
    trees = [tree_of(**chosen) for chosen in drawn]
    right = all(any(value is one for one in PLACES[name][0]) for chosen in drawn for name, value in chosen.items())
    passed = passes(Tree, trees)
    assert passed <= all(map(reads_back, trees))
    assert passed >= right


WRONG = [(name, at) for name, (_, wrong) in PLACES.items() for at in range(len(wrong))]


@pytest.mark.parametrize(("name", "at"), WRONG)
def test_whatever_is_not_as_declared_has_to_be_read_back(name: str, at: int) -> None:
    right, wrong = PLACES[name]
    assert passes(Tree, [tree_of(**{name: right[-1]}), tree_of()])
    assert not passes(Tree, [tree_of(**{name: wrong[at]}), tree_of()])


@pytest.mark.parametrize("forgets", ["types", "checks"])
def test_control_what_looks_less_closely_lets_something_pass(forgets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if forgets == "types":
        monkeypatch.setattr(nested, "kinds_of", lambda _: set())
        trees = [tree_of(leaf=Leaf(1)), tree_of(kind=Word.A)]
    else:
        monkeypatch.setattr(nested, "left_alone_where", lambda _: lambda _: True)
        trees = [tree_of(by_name=lambda: {"x": bounded(2.0)})]
    assert passes(Tree, trees)
    assert not all(map(reads_back, trees))


def test_what_stands_in_two_places_has_to_be_read_back() -> None:
    leaf, fixed = Leaf(), Fixed(1)
    assert passes(Tree, [tree_of(), tree_of()])
    trees = [tree_of(), tree_of()]
    trees[0].leaf = leaf
    assert not passes(Tree, trees), "a name refers to it, too"
    trees[0].leaf, trees[1].fixed = Leaf(), [fixed]
    assert not passes(Tree, trees)
    trees[1].fixed = [Fixed(1)]
    assert passes(Tree, trees)


def test_a_class_that_is_not_known_to_leave_itself_alone_has_to_be_read_back() -> None:
    assert check_of(msgspec.inspect.type_info(Counting)) is None
    assert check_of(msgspec.inspect.type_info(dict[str, Counting])) is None


@pytest.mark.parametrize("name", mind.__all__)
def test_parts_of_a_mind_need_not_be_read_back(name: str) -> None:
    kind = getattr(mind, name)
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return
    if not any(field.required for field in msgspec.structs.fields(kind)):
        assert passes(kind, [kind(), kind()])


def test_a_plan_out_of_order_has_to_be_read_back() -> None:
    plans = [Plan([Step(8.0, 9.0, "walk"), Step(9.0, 10.0, "work")])]
    assert passes(Plan, plans)
    plans[0].steps.reverse()
    assert not passes(Plan, plans)


class Minded(Agent):
    needs: Needs = msgspec.field(default_factory=Needs)
    plan: Plan = msgspec.field(default_factory=Plan)


def test_an_agent_keeps_what_is_its_own_and_is_given_its_own_of_what_is_not() -> None:
    shared = Step(8.0, 9.0, "walk")
    agents = [Minded(), Minded()]
    agents[0].plan.steps.append(shared)
    needs = [id(one.needs) for one in agents]
    Keeper(Minded).keep(agents, range(2))
    assert [id(one.needs) for one in agents] == needs
    assert agents[0].plan.steps == [shared]
    assert agents[0].plan.steps[0] is not shared, "in a resumed run it is another object, so in this one"
