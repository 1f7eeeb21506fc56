"""Whatever agents hold, a run that was killed and taken up on other shards is the same run, or it ends with an error.

Agents of drawn classes, with fields of every type that is supported and some that are not, play five ticks on 1, 2 and
5 shards; at a drawn tick all shards are thrown away and others go on from their exports. What a turn reads of its
fields stands in its digest, by the order of sets and dicts too.
"""

from __future__ import annotations

import copy
import datetime as dt
import enum
import math
import random
import uuid
from collections import defaultdict
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kernel_support import make_shard, run_tick
from support.long import cases

from populace.agents.agent import Agent, Public
from populace.core.errors import ScenarioError
from populace.kernel.saving import Keeper
from populace.kernel.snapshot import ShardState, join_shards

AGENTS, TICKS = 10, 5


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Kind(enum.StrEnum):
    GOOD = "good"


class Note(msgspec.Struct):
    text: str
    tags: set[str] = set()


class Point(msgspec.Struct, frozen=True):
    x: int
    y: float = 0.0


class Big(Point, frozen=True):
    z: int = 3


class Level(msgspec.Struct):
    value: float


WORDS = [f"w{i}" for i in range(12)]
NUMBERS = [0, 8, 16, 3, 100, -5, 2**40, 7, 64, 128]

KINDS: list[tuple[Any, list[Any]]] = [
    (int, [0, -1, 2**62, True]),
    (float, [0.0, -0.0, math.nan, math.inf, 1.5, 3, np.float64(0.5)]),
    (str, ["", "a", "\u00e9", Kind.GOOD]),
    (bool, [True, False]),
    (bytes, [b"", b"\xff"]),
    (list[int], [[], [1, 2], [True]]),
    (list[list[str]], [[["a"], []], [WORDS[:3]]]),
    (dict[str, float], [{"b": 1.0, "a": 2.0}, {"x": 1}, defaultdict(float, {"d": 1.0})]),
    (dict[int, set[str]], [{3: set(WORDS), 1: set()}, {}]),
    (set[str], [set(WORDS[:n]) for n in (0, 3, 12)]),
    (set[int], [set(NUMBERS), set(range(200)) - set(range(4, 190)), {5}]),
    (frozenset[str], [frozenset(WORDS[3:9])]),
    (set[tuple[int, str]], [{(1, "a"), (0, "z"), (1, "A")}]),
    (set[float], [{0.5, 1.5, -3.0}, {1.0, 2}]),
    (set[Point], [{Point(1), Point(0, 2.0)}]),
    (tuple[int, str], [(1, "a")]),
    (tuple[str, ...], [("a", "b"), ()]),
    (str | None, [None, "a"]),
    (int | str, [1, "1"]),
    (Colour, [Colour.RED, Colour.BLUE]),
    (Note, [Note("a", {"x", "y", "z"}), Note("b")]),
    (Point, [Point(1), Big(1)]),
    (list[Note], [[Note("a", set(WORDS))], []]),
    (dict[str, Level], [{"a": Level(0.5), "b": Level(1.0)}, {}, {"a": Level(1)}]),
    (list[Point], [[Point(1), Point(2, 0.5)], [Big(1)], []]),
    (Decimal, [Decimal("1.10")]),
    (uuid.UUID, [uuid.UUID(int=5)]),
    (dt.datetime, [dt.datetime(2024, 5, 1, 3), dt.datetime(2024, 5, 1, 3, tzinfo=dt.UTC)]),  # noqa: DTZ001
    (bytearray, [bytearray(b"ab")]),
    (Any, [None, 1, [1, {"a": 2.5}], (1, 2), {"k": (1,)}, {1, 2}, Note("a"), Colour.RED, 2**70, object]),
]
"""Types of fields, and what turns put into them; some of it does not fit."""


class Drawn(msgspec.Struct):
    """Which fields a class has, what its turns do, by agent and tick, and when the shards are lost."""

    kinds: list[int]
    deeds: list[int]
    lost_after: int


drawn = st.builds(
    Drawn,
    kinds=st.lists(st.integers(0, len(KINDS) - 1), min_size=1, max_size=4),
    deeds=st.lists(st.integers(0, 2**16), min_size=8, max_size=8),
    lost_after=st.integers(0, TICKS - 2),
)


def make_class(plan: Drawn) -> type[Agent]:
    """An agent with these fields, whose turns put things into them, copy one to another, and tell what they hold."""
    names = [f"f{at}" for at in range(len(plan.kinds))]
    first = [next(v for v in KINDS[kind][1] if type(v) is not int or KINDS[kind][0] is int) for kind in plan.kinds]

    async def turn(self: Any, ctx: Any) -> None:
        deed = plan.deeds[(ctx.id + 3 * ctx.tick) % len(plan.deeds)]
        at = deed % len(names)
        values = KINDS[plan.kinds[at]][1]
        if deed % 7 < 3:
            setattr(self, names[at], copy.deepcopy(values[(deed // 11) % len(values)]))
        other = (at + 1) % len(names)
        if deed % 13 == 0 and plan.kinds[at] == plan.kinds[other]:
            setattr(self, names[at], getattr(self, names[other]))
        for name in names:
            held = getattr(self, name)
            if isinstance(held, set) and deed % 3 == 0:
                held |= {next(iter(held), None)} - {None}
                setattr(self, f"{name}", held | set(held))
            if isinstance(held, list):
                held += held[: deed % 2]
        self.told = ascii([[getattr(self, name), type(getattr(self, name)).__name__.lower()[-3:]] for name in names])

    fields = [(name, KINDS[kind][0], msgspec.field(default_factory=lambda value=value: copy.deepcopy(value)))
              for name, kind, value in zip(names, plan.kinds, first, strict=True)]  # fmt: skip
    return msgspec.defstruct(
        "Made", [*fields, ("told", Public[str], "")], bases=(Agent,), namespace={"turn": turn}, kw_only=True,
        module=__name__,
    )  # fmt: skip


def play(kind: type[Agent], shards: int, lost_after: int | None = None, then: int = 1) -> list[bytes]:
    """The digests of all turns, tick by tick in the order of the agents; all shards may be lost after a tick."""
    found = []

    def build(n: int) -> list[Any]:
        return [make_shard([kind() for _ in range(AGENTS // n)], index=i, shards=n) for i in range(n)]

    running = build(shards)
    for tick in range(TICKS):
        by_agent: dict[int, bytes] = {}
        for shard in running:
            done = run_tick(shard, tick)
            digests = [done.digests[at : at + 16] for at in range(0, len(done.digests), 16)]
            by_agent.update(zip(done.agents.tolist(), digests, strict=True))
        found.append(b"".join(by_agent[one] for one in sorted(by_agent)))
        if tick == lost_after:
            agents, ticks, ids = join_shards([shard.export(whole=True) for shard in running])
            running = build(then)
            for index, shard in enumerate(running):
                mine = {one: packed for one, packed in agents.items() if one % then == index}
                shard.restore(tick + 1, ShardState(mine, ticks[ids % then == index], ids[ids % then == index]))
    return found


def outcome(kind: type[Agent], *how: Any) -> list[bytes] | str:
    try:
        return play(kind, *how)
    except ScenarioError as error:
        return "an error" if "Made" in str(error) else f"an error that names no class: {error}"


def lives(plan: Drawn) -> list[list[bytes] | str]:
    kind = make_class(plan)
    return [outcome(kind, 1), *(outcome(kind, n, plan.lost_after, m) for n, m in ((1, 1), (2, 5), (5, 2)))]


@settings(deadline=None, max_examples=cases(150, 60))
@given(drawn)
def test_a_run_of_any_agents_is_one_run_in_every_life(plan: Drawn) -> None:
    whole, *others = lives(plan)
    assert all(one == whole for one in others)
    assert whole == "an error" or isinstance(whole, list)


def test_control_without_the_keeper_a_resume_changes_some_agents_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeper, "keep", lambda *_args, **_options: [])
    draw = random.Random(1)
    sets = [at for at, (kind, _) in enumerate(KINDS) if kind in (set[int], set[str], dict[int, set[str]])]
    plans = [
        Drawn([draw.choice(sets), draw.choice(sets)], [draw.randrange(2**16) for _ in range(8)], 2) for _ in range(20)
    ]
    found = [lives(plan) for plan in plans]
    assert any(whole != other for whole, *others in found for other in others if "an error" not in (whole, other))
