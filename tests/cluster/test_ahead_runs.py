"""Turns that begin before their tick is open: whole runs that are what they would be tick by tick, with controls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.attempts import asked, go, same_tables
from support.running import Shuffled, run_local, wrap_gateways
from support.turns_ahead import Straggling, alike, held, looked, noted_ahead

from populace.cluster.local import LocalTransport
from populace.core.errors import PopulaceError, ScenarioError, SettingsError, TransportError
from populace.env import World
from populace.kernel.ahead import Ahead
from populace.kernel.notices import Outbox
from populace.kernel.shard import Shard
from populace.runs.courses import fork_course, replay_course, resume_course
from populace.store.journal.recording import Recording
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table

assert asked  # a fixture

NEIGHBOURS = str(Path(__file__).parent.parent / "support" / "neighbours.py")
SOURCE = Path(NEIGHBOURS).read_text(encoding="utf-8")
TICKS = 12
BARRIER = {"limits__ticks_ahead": 0}
LEVERS = (
    "at=5, until=7, set={society.asks=3, world.network.cut=[[0, 1]]}",
    'at=6, name="note", send={to={share=0.3}, body={mood=0.5, word="all"}}',
    'at=7, until=9, name="wall", block={sender={where={mood={min=0.4}}}}',
    'at=8, name="calm", change={group={share=0.5}, fields={mood=0, known=["a"]}}',
)


def run(out: Path, **options: Any) -> dict[str, Any] | None:
    return go(out, **{"scenario": NEIGHBOURS, "ticks": TICKS, **options})


@pytest.fixture(autouse=True)
def shuffled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers come late, in another order, in other batches."""
    wrap_gateways(monkeypatch, lambda gateway: Shuffled(gateway, 3))


@pytest.fixture(scope="module")
def barrier(tmp_path_factory: Any) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("barrier")
    manifest = run(out, **BARRIER)
    assert manifest is not None
    return manifest, out


@pytest.fixture
def ran_ahead(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """By how many ticks each turn that began early was ahead of the open one."""
    return noted_ahead(monkeypatch)


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_a_run_is_what_it_is_tick_by_tick(
    tmp_path: Path, barrier: Any, ran_ahead: list[int], monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    manifest, folder = barrier
    wrap_gateways(monkeypatch, Straggling)
    alike(run(tmp_path / "far", shards=shards), manifest)
    assert len(ran_ahead) > 50
    assert max(ran_ahead) >= 2
    same_tables(tmp_path / "far", folder)
    ran_ahead.clear()
    alike(run(tmp_path / "near", limits__ticks_ahead=1, limits__live_turns=5, shards=shards), manifest)
    assert set(ran_ahead) == {1}
    same_tables(tmp_path / "near", folder)


@pytest.mark.parametrize("shards", [1, 2])
def test_control_turns_that_begin_before_one_of_those_who_influence_them(
    tmp_path: Path, barrier: Any, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    """That is seen when the tick opens; were it not, the run would be another."""
    init = Ahead.__init__

    def hasty(self: Ahead, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        self._needs[self._needs > 1] -= 1

    monkeypatch.setattr(Ahead, "__init__", hasty)
    with pytest.raises(TransportError, match="began before it could know"):
        run(tmp_path / "seen", shards=shards)
    monkeypatch.setattr(Ahead, "_check", lambda *_: None)
    other = run(tmp_path / "unseen", shards=shards)
    assert other is not None
    assert other["trace_hash"] != barrier[0]["trace_hash"]


@pytest.mark.parametrize("kept_back", ["say", "show"])
def test_control_notices_without_what_those_who_are_through_sent_or_show(
    tmp_path: Path, barrier: Any, monkeypatch: pytest.MonkeyPatch, kept_back: str
) -> None:
    """Mail is checked as a tick opens; fields that are read are not, and the run is another."""
    monkeypatch.setattr(Outbox, kept_back, lambda *_: None)
    wrap_gateways(monkeypatch, Straggling)
    if kept_back == "say":
        with pytest.raises(TransportError, match="began before it could know"):
            run(tmp_path, shards=2)
        return
    other = run(tmp_path, shards=2)
    assert other is not None
    assert other["trace_hash"] != barrier[0]["trace_hash"]


class Deaf(LocalTransport):
    """Shards hear nothing of one another before a tick's end."""

    async def start(self, job: Any) -> Any:
        opened = await super().start(job)
        for host in self.hosts:
            host.peers = None
        return opened


def test_what_shards_tell_is_what_has_turns_begin_early(
    tmp_path: Path, barrier: Any, monkeypatch: pytest.MonkeyPatch, ran_ahead: list[int]
) -> None:
    """Where nothing of it arrives, the run is the same, and fewer are ahead."""
    wrap_gateways(monkeypatch, Straggling)
    alike(run(tmp_path / "told", shards=2), barrier[0])
    told = len(ran_ahead)
    ran_ahead.clear()
    alike(run(tmp_path / "untold", shards=2, transport=Deaf()), barrier[0])
    assert len(ran_ahead) < told / 2


def test_control_public_fields_as_the_world_has_them_are_another_run(
    tmp_path: Path, barrier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ahead, "known", lambda *_: [])
    other = run(tmp_path)
    assert other is not None
    assert other["trace_hash"] != barrier[0]["trace_hash"]


def test_who_looks_at_agents_at_an_edge_sees_them_as_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran_ahead: list[int]
) -> None:
    wrap_gateways(monkeypatch, Straggling)
    before = looked(NEIGHBOURS, 24, tmp_path / "barrier", **BARRIER)
    assert looked(NEIGHBOURS, 24, tmp_path / "saved") == before
    assert looked(NEIGHBOURS, 24, tmp_path / "unsaved", journal="off") == before
    assert looked(NEIGHBOURS, 24, tmp_path / "spread", shards=3) == before
    assert len(ran_ahead) > 50
    monkeypatch.setattr(Shard, "row_at_edge", lambda *_: None)
    assert looked(NEIGHBOURS, 24, tmp_path / "control") != before


@pytest.mark.parametrize("shards", [1, 2])
def test_a_run_that_is_stopped_with_several_ticks_open_goes_on_and_pays_nothing_twice(
    tmp_path: Path, barrier: Any, asked: list[Any], ran_ahead: list[int], shards: int
) -> None:
    stopped = held(NEIGHBOURS, tmp_path, ticks=TICKS, agent=6, tick=5, shards=shards)
    assert stopped["status"] == "interrupted"
    assert max(ran_ahead) > 1
    ahead = [one for one in asked if one[1] > stopped["ticks"]]
    assert len(ahead) > 5, "asks of ticks beyond the open one are on record"
    alike(go(tmp_path, going=resume_course(tmp_path)), barrier[0])
    assert len(asked) == len(set(asked))
    same_tables(tmp_path, barrier[1])
    final = read_manifest(tmp_path)
    assert final["calls_billed"] == barrier[0]["calls_billed"]


def test_a_run_whose_world_breaks_goes_back_to_its_checkpoint(
    tmp_path: Path, barrier: Any, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is saved as the run ends: what it has is of an edge at which agents had gone on already."""
    finish, calls = World.finish, [0]

    def breaking(self: World, *args: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == 8:
            raise MemoryError("no room")
        return finish(self, *args, **options)

    with monkeypatch.context() as broken:
        broken.setattr(World, "finish", breaking)
        with pytest.raises(MemoryError):
            run(tmp_path, checkpoint__every_ticks=3)
    manifest = go(tmp_path, going=resume_course(tmp_path))
    alike(manifest, barrier[0])
    assert manifest is not None
    assert manifest["began_at_tick"] == 6
    assert len(asked) == len(set(asked))
    same_tables(tmp_path, barrier[1])


def test_control_agents_saved_as_they_are_now_and_not_as_of_the_edge(
    tmp_path: Path, barrier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Shard, "row_at_edge", lambda *_: None)
        held(NEIGHBOURS, tmp_path, ticks=TICKS, agent=6, tick=5)
    try:
        resumed = go(tmp_path, going=resume_course(tmp_path))
    except PopulaceError:
        return
    assert resumed is not None
    assert resumed["trace_hash"] != barrier[0]["trace_hash"]


def test_control_a_journal_marked_when_ticks_open_is_paid_for_twice(
    tmp_path: Path, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = Recording.mark

    def late(self: Recording, tick: int, *, early: bool = False) -> None:
        if not early:
            mark(self, tick)

    with monkeypatch.context() as broken:
        broken.setattr(Recording, "mark", late)
        held(NEIGHBOURS, tmp_path, ticks=TICKS, agent=6, tick=5)
    go(tmp_path, going=resume_course(tmp_path))
    assert len(asked) > len(set(asked))


@pytest.mark.parametrize(("ahead", "shards"), [(0, 1), (16, 1), (16, 2)])
def test_forks_with_levers_of_every_kind(
    tmp_path: Path, barrier: Any, ahead: int, shards: int, ran_ahead: list[int]
) -> None:
    """From tick 0 and from a state that was kept while agents had gone on; levers' ticks begin for all at once."""
    parent = run(tmp_path / "parent", checkpoint__kept_at=[4], limits__ticks_ahead=ahead, shards=shards)
    alike(parent, barrier[0])
    going = fork_course(tmp_path / "parent", 5, [f"limits.ticks_ahead={ahead}"], LEVERS)
    fork = go(tmp_path / "fork", going=going)
    assert fork is not None
    assert bool(ran_ahead) == bool(ahead)
    _known.setdefault("fork", fork)
    alike(fork, _known["fork"])
    assert fork["trace_hashes"][:5] == barrier[0]["trace_hashes"][:5]
    assert fork["trace_hash"] != barrier[0]["trace_hash"]


_known: dict[str, dict[str, Any]] = {}


def test_a_replay_of_either_asks_nobody(tmp_path: Path, barrier: Any, asked: list[Any]) -> None:
    run(tmp_path / "run")
    asked.clear()
    alike(go(tmp_path / "replay", going=replay_course(tmp_path / "run")), barrier[0])
    assert asked == []


def changed(folder: Path, *changes: tuple[str, str]) -> str:
    """A scenario that is the tests' society but for pieces of its source."""
    source = SOURCE
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    path = folder / "changed.py"
    path.write_text(source, encoding="utf-8")
    return str(path)


LEFT = (
    ("class Dials", "Plain = type({0})\n\n\nclass Dials"),
    ("OrderedSet(sorted(OrderedSet([*self.known, message.body[\"word\"]]))[-4:])",
     "Plain([*self.known, message.body[\"word\"]])"),
)  # fmt: skip
FOUND = ('draw = ctx.draw("what")', 'draw = ctx.draw("what")\n        assert type(self.known) is OrderedSet')


def failed_by_what_they_hold(folder: Path) -> bool:
    """Whether turns failed since an agent held a set as its last turn had left it, and not as it would be read back."""
    run(folder / "run", scenario=changed(folder, *LEFT, FOUND), levers=[{"at": 6, "set": {"society.asks": 3}}])
    return any("AssertionError" in one for one in read_table(folder / "run", "failures").column("error").to_pylist())


def test_turns_that_begin_early_find_what_a_resumed_run_would(tmp_path: Path, ran_ahead: list[int]) -> None:
    assert not failed_by_what_they_hold(tmp_path)
    assert len(ran_ahead) > 20


def test_control_agents_that_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ahead, "keep", lambda _: None)
    assert failed_by_what_they_hold(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('influence="network"', "influence=lambda world: ([], [])"), "does not influence it by the society's"),
        (("followers = await", "ctx.send((ctx.id + 1) % 24, {'mood': 0.0, 'word': ''})\n        followers = await"),
         "whom it does not influence by the society's declaration"),
    ],
)  # fmt: skip
def test_what_goes_beyond_the_declaration_fails_its_turn_either_way(tmp_path: Path, change: Any, says: str) -> None:
    scenario = changed(tmp_path, change)
    one = go(tmp_path / "ahead", scenario=scenario, ticks=5)
    other = go(tmp_path / "barrier", scenario=scenario, ticks=5, **BARRIER)
    assert other is not None
    alike(one, other)
    told = read_table(tmp_path / "ahead", "failures").column("error").to_pylist()
    assert sum("OutsideInfluence" in text and says in text for text in told) > 3


SHOWS = '    def state(self):\n        return {"paid"'
MAILS = (
    "    def advance(self, tick):\n        return [(3, {'mood': 0.0, 'word': ''})] if tick == 2 else None\n\n" + SHOWS
)
LEAVES = "    def advance(self, tick):\n        if tick == 2:\n            self.world.retire(3)\n\n" + SHOWS
SEEN = "    def observe(self, tick, agents):\n        return {'mean': [self.paid.mean()] * len(agents)}\n\n" + SHOWS
ASKED = (
    "    from populace.env import query\n\n    @query\n    def mean(self, agents, args):\n        return [0.0]\n\n"
    + SHOWS
)
CONSULTS = "    async def consult(self, ctx):\n        await ctx.ask('all well?')\n\n" + SHOWS


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ((SHOWS, SEEN), "part 'ledger' shows agents what may be of everybody"),
        ((SHOWS, ASKED), "part 'ledger' answers `ledger.mean`, which may be of everybody"),
        ((SHOWS, CONSULTS), "part 'ledger' asks the model as a tick ends"),
        ((SHOWS, MAILS), "tick 3: a part of the world sends messages to agents"),
        ((SHOWS, LEAVES), "tick 3: agents are born or leave"),
        (('influence="network"', 'influence="friends"'), "the world has no network of that name; there are: network"),
        (('influence="network"', "influence=lambda world: ([0], [99])"), "an id that is not from 0 to 23"),
        (('influence="network"', "influence=lambda world: 3"), "two columns of ids"),
    ],
)
def test_what_is_over_everybody_is_refused_and_runs_tick_by_tick(tmp_path: Path, change: Any, says: str) -> None:
    scenario = changed(tmp_path, change)
    with pytest.raises(ScenarioError, match=says):
        go(tmp_path / "ahead", scenario=scenario, ticks=5)
    if "influence=" not in change[0]:
        assert go(tmp_path / "barrier", scenario=scenario, ticks=5, **BARRIER) is not None


TRIGGERED = {"at": 1, "when": {"agents": {"mood": {"min": 9}}}, "block": {"sender": "matching"}}


class Notes:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def __getattr__(self, _: str) -> Any:
        return lambda *args, **options: None

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            {"levers": [{"at": 1, "when": {"agents": {"mood": {"min": 9}}}, "block": {"sender": "matching"}}]},
            "a trigger",
        ),
    ],
)
def test_what_keeps_a_run_together_is_said(
    tmp_path: Path, options: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch, ran_ahead: list[int]
) -> None:
    notes = Notes()
    manifest = run_local(tmp_path, NEIGHBOURS, [notes], ticks=4, **options)
    assert manifest["status"] == "complete"
    assert ran_ahead == []
    assert any("goes tick by tick all the same" in text and why in text for text in notes.notes)


def test_a_lever_may_not_let_ties_change(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"sets world\.network\.frozen"):
        run(tmp_path, levers=[{"at": 1, "set": {"world.network.frozen": False}}])
