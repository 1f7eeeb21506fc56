"""Turns out of order beside agents in columns, and of agents who ask together: the run tick by tick, with controls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.attempts import asked, go, same_tables
from support.running import wrap_gateways
from support.turns_ahead import Straggling, alike, held, looked, noted_ahead

import populace
from populace.core.errors import PopulaceError, ScenarioError, TransportError
from populace.kernel.ahead import Ahead
from populace.kernel.ahead_columns import ColumnarPost
from populace.kernel.column_turns import Type
from populace.kernel.columnar_tick import ColumnarTick
from populace.kernel.environment import Environment
from populace.kernel.notices import Outbox
from populace.kernel.sharing import Sharing
from populace.kernel.units import Units
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table

assert asked  # a fixture

QUARTERS = str(Path(__file__).parent.parent / "support" / "quarters.py")
BARRIER = {"limits__ticks_ahead": 0}
LEVERS = (
    "at=4, until=6, set={society.asks=2}",
    'at=5, name="note", send={to={share=0.4}, body=0.5}',
    'at=6, until=8, name="wall", block={sender={type="crowd", share=0.5}}',
    'at=7, name="calm", change={group={type="crowd", share=0.5}, fields={mood=0}}',
)


def run(out: Path, **options: Any) -> dict[str, Any]:
    manifest = go(out, **{"scenario": QUARTERS, "ticks": 10, **options})
    assert manifest is not None
    return manifest


@pytest.fixture(autouse=True)
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some answers come once nobody else has anything to do, those of agents in columns among them."""
    wrap_gateways(monkeypatch, Straggling)


@pytest.fixture(scope="module")
def barrier(tmp_path_factory: Any) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("barrier")
    return run(out, **BARRIER), out


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Type and tick of each call of `turns` that is made before its tick is open."""
    found: list[tuple[str, int]] = []
    begin = ColumnarTick.begin_early

    def noting(self: ColumnarTick, name: str, *args: Any) -> Any:
        found.append((name, self._scope.tick))
        return begin(self, name, *args)

    monkeypatch.setattr(ColumnarTick, "begin_early", noting)
    return found


def same(manifest: dict[str, Any] | None, out: Path, barrier: tuple[dict[str, Any], Path]) -> None:
    alike(manifest, barrier[0])
    assert manifest is not None
    for key in ("asks", "calls_billed"):
        assert manifest[key] == barrier[0][key], key
    same_tables(out, barrier[1])


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_a_run_is_what_it_is_tick_by_tick(
    tmp_path: Path, barrier: Any, early: list[Any], monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    ahead = noted_ahead(monkeypatch)
    same(run(tmp_path / "far", shards=shards), tmp_path / "far", barrier)
    assert len(ahead) > 50
    assert max(ahead) >= 2
    names = [name for name, _ in early]
    assert names.count("press") >= 8 * shards, "nobody influences the press"
    assert names.count("crowd") >= 2
    same(run(tmp_path / "near", limits__ticks_ahead=1, limits__live_turns=4, shards=shards), tmp_path / "near", barrier)


def test_what_is_asked_by_archetype_is_asked_early_and_once_in_its_tick(tmp_path: Path, barrier: Any) -> None:
    joint: list[tuple[int, int]] = []
    claim = Environment.claim

    def noting(self: Environment, shard: int, tick: int, claims: Any, attempt: int = 0) -> Any:
        joint.append((tick, self.world.tick))
        return claim(self, shard, tick, claims, attempt)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "claim", noting)
        same(run(tmp_path, shards=2), tmp_path, barrier)
    assert sum(tick > at for tick, at in joint) > 5
    rows = read_table(tmp_path, "asks").to_pandas()
    rows = rows[rows.for_type.notna()]
    assert not rows.duplicated(["tick", "key", "for_type", "purpose", "nth"]).any()
    assert rows.duplicated(["key", "for_type", "purpose"]).any(), "the same is asked again in another tick"


def test_control_asks_that_are_shared_across_ticks(
    tmp_path: Path, barrier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = Environment._sharing_of
    shared: list[Sharing] = []

    def one_for_all(self: Environment, tick: int, attempt: int) -> Sharing:
        found = of(self, tick, attempt)
        shared[:] = shared or [found]
        return shared[0]

    monkeypatch.setattr(Environment, "_sharing_of", one_for_all)
    try:
        other = run(tmp_path)
    except (PopulaceError, AssertionError):
        return
    assert other["trace_hash"] != barrier[0]["trace_hash"]


@pytest.mark.parametrize("shards", [1, 2])
def test_control_a_unit_in_columns_that_nobody_waits_for(
    tmp_path: Path, barrier: Any, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    """What depends on agents in columns begins before they have ended: it is seen, or the run is another."""
    init = Ahead.__init__

    def hasty(self: Ahead, units: Units, *args: Any, **options: Any) -> None:
        influence = units.influence
        of = np.repeat(np.arange(influence.agents), np.diff(influence.offsets))
        kept = influence.by < units.agents
        offsets = np.zeros(influence.agents + 1, np.int64)
        np.cumsum(np.bincount(of[kept], minlength=influence.agents), out=offsets[1:])
        units.influence = type(influence)(offsets, influence.by[kept])
        init(self, units, *args, **options)

    monkeypatch.setattr(Ahead, "__init__", hasty)
    with pytest.raises(TransportError, match="began before it could"):
        run(tmp_path / "seen", shards=shards)
    monkeypatch.setattr(Ahead, "_check", lambda *_: None)
    monkeypatch.setattr(ColumnarTick, "_check", lambda *_: None)
    assert run(tmp_path / "unseen", shards=shards)["trace_hash"] != barrier[0]["trace_hash"]


@pytest.mark.parametrize("shards", [1, 2])
def test_control_a_unit_in_columns_that_waits_for_nobody(
    tmp_path: Path, barrier: Any, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    init = Ahead.__init__

    def hasty(self: Ahead, units: Units, *args: Any, **options: Any) -> None:
        init(self, units, *args, **options)
        whole = self._needs[units.agents :]
        whole[whole < 2**20] = np.maximum(1, whole[whole < 2**20] - 2)

    monkeypatch.setattr(Ahead, "__init__", hasty)
    with pytest.raises(TransportError, match="the turns of 'crowd' began before it could be known"):
        run(tmp_path / "seen", shards=shards)
    monkeypatch.setattr(Ahead, "_check", lambda *_: None)
    monkeypatch.setattr(ColumnarTick, "_check", lambda *_: None)
    assert run(tmp_path / "unseen", shards=shards)["trace_hash"] != barrier[0]["trace_hash"]


@pytest.mark.parametrize("kept_back", ["post", "show_columns"])
def test_control_notices_without_what_agents_in_columns_sent_or_show(
    tmp_path: Path, barrier: Any, monkeypatch: pytest.MonkeyPatch, kept_back: str
) -> None:
    monkeypatch.setattr(Outbox, kept_back, lambda *_: None)
    if kept_back == "post":
        with pytest.raises(TransportError, match="began before it could"):
            run(tmp_path, shards=3)
        return
    assert run(tmp_path, shards=3)["trace_hash"] != barrier[0]["trace_hash"]


def test_control_mail_to_agents_in_columns_that_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ColumnarPost, "say", lambda self, tick, sender, nth, to, body: self._units.of[to] >= 16)
    with pytest.raises(TransportError, match="the turns of 'crowd' began before it could be known"):
        run(tmp_path)


def test_who_looks_at_agents_at_an_edge_sees_them_as_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, early: list[Any]
) -> None:
    before = looked(QUARTERS, 31, tmp_path / "barrier", **BARRIER)
    assert looked(QUARTERS, 31, tmp_path / "saved") == before
    assert looked(QUARTERS, 31, tmp_path / "unsaved", journal="off") == before
    assert looked(QUARTERS, 31, tmp_path / "spread", shards=3) == before
    assert len(early) > 20
    monkeypatch.setattr(Type, "before", lambda self, _: (self.ids, self.columns))
    assert looked(QUARTERS, 31, tmp_path / "control") != before


@pytest.mark.parametrize(("shards", "then"), [(1, 2), (2, 1), (3, 3)])
def test_a_run_that_is_stopped_with_several_ticks_open_goes_on_and_pays_nothing_twice(
    tmp_path: Path, barrier: Any, asked: list[Any], early: list[Any], shards: int, then: int
) -> None:
    stopped = held(QUARTERS, tmp_path, ticks=10, agent=0, tick=4, shards=shards)
    assert stopped["status"] == "interrupted"
    assert max(tick for _, tick in early) > stopped["ticks"]
    assert any(agent < -1 and tick > stopped["ticks"] for agent, tick, _ in asked), "archetypes are on record"
    same(go(tmp_path, going=resume_course(tmp_path, shards=then)), tmp_path, barrier)
    assert len(asked) == len(set(asked))


def test_control_columns_saved_as_they_are_now_and_not_as_of_the_edge(
    tmp_path: Path, barrier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Type, "before", lambda self, _: (self.ids, self.columns))
        held(QUARTERS, tmp_path, ticks=10, agent=0, tick=4, shards=2)
    try:
        resumed = go(tmp_path, going=resume_course(tmp_path))
    except PopulaceError:
        return
    assert resumed is not None
    assert resumed["trace_hash"] != barrier[0]["trace_hash"]


def test_forks_with_levers_of_every_kind_and_replays(
    tmp_path: Path, barrier: Any, asked: list[Any], early: list[Any]
) -> None:
    parent = tmp_path / "parent"
    same(run(parent, checkpoint__kept_at=[3], shards=2), parent, barrier)
    forks = []
    for ahead in (0, 16):
        going = fork_course(parent, 4, [f"limits.ticks_ahead={ahead}"], LEVERS)
        early.clear()
        forks.append(go(tmp_path / f"fork {ahead}", going=going))
        assert bool(early) == bool(ahead)
    alike(*forks)
    assert forks[0]["asks"] == forks[1]["asks"]
    assert forks[0]["trace_hashes"][:4] == barrier[0]["trace_hashes"][:4]
    assert forks[0]["trace_hash"] != barrier[0]["trace_hash"]
    asked.clear()
    alike(go(tmp_path / "replay", going=replay_course(parent)), barrier[0])
    assert asked == []


@pytest.mark.parametrize("options", [BARRIER, {}])
def test_agents_in_columns_that_send_beyond_the_declaration_end_the_run_with_the_line(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    says = r"quarters\.py:\d+ in turns: tick 3, Crowd\.turns: ctx\.send: agent 25 sends to agent 24, whom it does not"
    with pytest.raises(ScenarioError, match=says):
        run(tmp_path, society__stray=3, **options)
    assert len(read_manifest(tmp_path)["trace_hashes"]) == 3, "what is raised early is raised in its tick"


def test_what_turns_in_columns_raise_early_does_not_end_a_run_whose_tick_never_comes(tmp_path: Path) -> None:
    """Interactions end it before: nobody could know."""
    short = run(tmp_path / "barrier", until_interactions=150, society__stray=9, **BARRIER)
    alike(run(tmp_path / "ahead", until_interactions=150, society__stray=9), short)
    assert short["ticks"] < 9


@pytest.mark.ray
@pytest.mark.parametrize("shards", [2, 3])
def test_on_ray(tmp_path: Path, barrier: Any, ray_cluster: Any, shards: int) -> None:
    ran = populace.run(QUARTERS, model="scripted", seed=7, ticks=10, shards=shards, transport="ray",
                       out=tmp_path / "ray", settings={"limits.failed_turns": 1.0}, quiet=True)  # fmt: skip
    same(ran.manifest, tmp_path / "ray", barrier)
