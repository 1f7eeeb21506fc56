"""Looks in columns are the looks that turns put: each agent's own arguments, of the types that it gave."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from populace.cluster.wire import pack, unpack_looks
from populace.core.records import Look
from populace.env.packed import of_each
from populace.kernel.looks import gathered

VALUE = st.sampled_from([1, True, 1.0, "1", None, [1], {"a": [1]}, 2])
ARGS = st.dictionaries(st.sampled_from(["n", "of"]), VALUE, max_size=2)
LOOKS = st.lists(st.builds(Look, st.integers(0, 5), st.sampled_from(["feed.latest", "feed.by"]), ARGS), max_size=30)


def read(looks: Any) -> list[tuple[int, str, dict[str, Any]]]:
    found: dict[int, tuple[int, str, dict[str, Any]]] = {}
    for query, places, args in looks.by_query():
        agents = looks.agents[places].tolist()
        for place, agent, one in zip(places.tolist(), agents, args, strict=True):
            found[place] = (agent, query, one)
    return [found[place] for place in range(len(looks))]


@given(LOOKS)
def test_they_are_what_was_asked_in_its_order(looks):
    told = read(unpack_looks(pack(gathered(looks))))
    assert [(agent, query) for agent, query, _ in told] == [(one.agent, one.query) for one in looks]
    assert [repr(args) for *_, args in told] == [repr(one.args) for one in looks]  # 1 is not True, nor 1.0


@given(LOOKS)
def test_nobody_shares_arguments(looks):
    told = [args for *_, args in read(gathered(looks))]
    for args in told:
        for value in args.values():
            if isinstance(value, list):
                value.append("changed")
            elif isinstance(value, dict):
                value["a"].append("changed")
        args["changed"] = True
    fresh = [{**one.args, "changed": True} for one in looks]
    for args, asked in zip(told, fresh, strict=True):
        assert args.keys() == asked.keys()
        for name, value in asked.items():
            if isinstance(value, list):
                assert args[name] == [*value, "changed"]
            elif isinstance(value, dict):
                assert args[name] == {"a": [*value["a"], "changed"]}


@given(LOOKS)
def test_what_is_read_of_alike_ones_is_read_of_each(looks):
    for *_, args in gathered(looks).by_query():
        assert of_each(args, len).tolist() == [len(one) for one in args] == of_each(list(args), len).tolist()


def test_alike_ones_cross_once():
    looks = gathered([Look(agent, "feed.latest", {"n": 5}) for agent in range(1000)])
    assert len(looks.questions) == 1
    assert len(pack(looks)) < 9 * 1000
    ((query, places, args),) = looks.by_query()
    asked: list[dict[str, Any]] = []
    assert of_each(args, lambda one: asked.append(one) or one["n"]).tolist() == [5] * 1000
    assert (query, len(places), len(asked)) == ("feed.latest", 1000, 1)
