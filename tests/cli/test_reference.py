"""docs/reference.md names all that a society's file works with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import populace
from populace.core.draws import Stream
from populace.core.records import Message
from populace.env import Network, Part

REFERENCE = (Path(__file__).parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", [populace.Context, Message, Stream, Part], ids=lambda kind: kind.__name__)
def test_every_public_attribute_is_named(kind: Any) -> None:
    own = {name for one in kind.__mro__[:-1] if one.__module__.startswith("populace.") for name in vars(one)}
    own |= set(getattr(kind, "__slots__", ())) | set(getattr(kind, "__struct_fields__", ()))
    named_elsewhere = {"word", "name", "world", "settable", "unsaved", "stand_by"}
    public = {name for name in own if not name.startswith("_")} - named_elsewhere
    assert public
    assert [name for name in sorted(public) if name not in REFERENCE] == []


@pytest.mark.parametrize("way", ["watts_strogatz", "barabasi_albert", "stochastic_block", "homophily"])
def test_every_argument_of_a_generator_is_named(way: str) -> None:
    code = getattr(Network, way).__func__.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    [line] = [line for line in REFERENCE.splitlines() if f"Network.{way}(" in line]
    assert [name for name in names if name not in ("cls", "name") and name not in line] == []


def test_sets_that_keep_their_order_are_public() -> None:
    assert list(populace.OrderedSet(["b", "a"])) == ["a", "b"]
