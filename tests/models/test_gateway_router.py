"""Weighted rendezvous hashing: shares follow weights, and only what must move moves."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.models.dispatch.router import Endpoint, Router, shared_prefix

PREFIXES = [shared_prefix([("system", f"persona {n}"), ("user", "hello")]) for n in range(8000)]


def test_asks_that_share_a_prefix_go_together_whatever_follows() -> None:
    assert shared_prefix([("system", "a"), ("user", "x")]) == shared_prefix([("system", "a"), ("user", "y")])
    assert shared_prefix([("system", "a"), ("system", "b"), ("user", "x")]) != shared_prefix([("system", "a")])
    assert shared_prefix([("system", "a"), ("system", "b")]) != shared_prefix([("system", "a\0b\0")])
    assert shared_prefix([("user", "x"), ("user", "y")]) == shared_prefix([("user", "x")])
    assert shared_prefix([]) == shared_prefix([("user", "")])


def test_shares_are_in_proportion_to_weights() -> None:
    router = Router([Endpoint("a", 1.0), Endpoint("b", 2.0), Endpoint("c", 5.0)])
    shares = Counter(router.rank(prefix)[0] for prefix in PREFIXES)
    for name, weight in (("a", 1), ("b", 2), ("c", 5)):
        expected = len(PREFIXES) * weight / 8
        assert abs(shares[name] - expected) < 5 * math.sqrt(expected)


def test_an_endpoint_that_falls_out_moves_only_its_own() -> None:
    endpoints = [Endpoint("a"), Endpoint("b", 3.0), Endpoint("c")]
    router = Router(endpoints)
    without = Router([endpoint for endpoint in endpoints if endpoint.name != "b"])
    moved = 0
    for prefix in PREFIXES:
        before = router.rank(prefix)
        after = tuple(name for name in before if name != "b")
        assert after == without.rank(prefix), "as if it had never been there"
        moved += before[0] != after[0]
    assert abs(moved / len(PREFIXES) - 0.6) < 0.03


def test_control_modulo_hashing_moves_most() -> None:
    numbers = [int.from_bytes(prefix, "big") for prefix in PREFIXES]
    moved = sum(number % 3 not in (2, number % 2) for number in numbers)
    assert moved > 0.25 * len(PREFIXES), "prefixes of endpoints that stayed move, too"


@given(st.binary(min_size=16, max_size=16), st.permutations(["a", "b", "c", "d"]))
def test_the_order_in_settings_does_not_matter(prefix: bytes, names: list[str]) -> None:
    router = Router([Endpoint(name) for name in names])
    assert router.rank(prefix) == Router([Endpoint(name) for name in sorted(names)]).rank(prefix)
    assert sorted(router.rank(prefix)) == ["a", "b", "c", "d"]


def test_wrong_endpoints_are_errors() -> None:
    for wrong in ([], [Endpoint("a"), Endpoint("a")], [Endpoint("a", 0.0)], [Endpoint("a", math.nan)]):
        with pytest.raises(ValueError, match=r"endpoint"):
            Router(wrong)
