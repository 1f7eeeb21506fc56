"""A run that ends by its interactions: at the same tick's edge on any shards and in every life of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.attempts import go
from support.running import SOCIETIES, run_local, settings_of

import populace
from populace.core.errors import SettingsError
from populace.core.records import Counts
from populace.data.societies import find_society, load_society
from populace.kernel.barrier import Barrier
from populace.monitoring.summary import caveats
from populace.runs.courses import resume_course
from populace.runs.estimate import expect
from populace.store.manifest import read_manifest

AGENTS = 30


class Watching:
    """An observer that keeps what was counted by the end of each tick."""

    def __init__(self) -> None:
        self.counted: list[int] = []
        self.planned: list[int] = []

    def begin(self, *_: object) -> None: ...
    def pulse(self, _: object) -> None: ...
    def note(self, _: str) -> None: ...
    def end(self, *_: object) -> None: ...

    def tick(self, report: Any) -> None:
        if report.tick > len(self.counted):
            self.counted.append(report.total.delivered + report.total.applied)
            self.planned.append(report.ticks)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[dict[str, Any], list[int]]:
    """A run of ten ticks, and the interactions by the edge after each of them."""
    watching = Watching()
    manifest = run_local(tmp_path_factory.mktemp("whole") / "run", SOCIETIES, [watching], agents=AGENTS, ticks=10)
    assert len(watching.counted) == 10
    return manifest, watching.counted


def ended(out: Path, until: int, shards: int = 1, **options: Any) -> tuple[int, list[str]]:
    manifest = run_local(out, SOCIETIES, agents=AGENTS, shards=shards, until_interactions=until, **options)
    assert manifest["status"] == "complete"
    return manifest["ticks"], manifest["trace_hashes"]


def check_end(out: Path, whole: Any, until: int, **options: Any) -> None:
    manifest, counted = whole
    ticks = next(tick + 1 for tick, count in enumerate(counted) if count >= until)
    assert ended(out, until, **options) == (ticks, manifest["trace_hashes"][:ticks])


@pytest.mark.parametrize("shards", [1, 3])
def test_it_ends_at_the_first_edge_that_has_so_many(tmp_path, whole, shards):
    at = whole[1][4]
    for more, until in enumerate((1, at, at + 1)):
        check_end(tmp_path / str(more), whole, until, shards=shards)


def test_control_counting_what_was_sent_ends_at_another_edge(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(Counts, "interactions", property(lambda counts: counts.sent + counts.acted))
    with pytest.raises(AssertionError):
        check_end(tmp_path, whole, whole[1][4])


def test_ticks_end_it_before_that(tmp_path, whole):
    assert ended(tmp_path, whole[1][-1], ticks=3)[0] == 3


def test_without_ticks_it_goes_on_past_those_of_its_society(tmp_path, whole):
    until = 3 * whole[1][-1]
    watching = Watching()
    manifest = run_local(tmp_path, SOCIETIES, [watching], agents=AGENTS, until_interactions=until)
    assert manifest["ticks"] > load_society(find_society(SOCIETIES)).ticks
    assert watching.counted[-2] < until <= watching.counted[-1]
    assert watching.planned[-1] == manifest["ticks"], "progress ends whole"
    assert all(planned > tick + 1 for tick, planned in enumerate(watching.planned[:-1]))


@pytest.mark.parametrize("stop_at", [2, 4])
def test_stopped_and_resumed_it_ends_there_too(tmp_path, whole, stop_at):
    until = whole[1][4]
    go(tmp_path, stop_at=stop_at, agents=AGENTS, until_interactions=until, checkpoint__every_ticks=1)
    go(tmp_path, going=resume_course(tmp_path, shards=2))
    manifest = read_manifest(tmp_path)
    assert manifest["status"] == "complete"
    assert manifest["trace_hashes"] == whole[0]["trace_hashes"][:5]


def test_replays_and_forks_end_there_and_a_fork_may_go_further(tmp_path, whole):
    manifest, counted = whole
    ended(tmp_path / "run", counted[4])
    replayed = populace.replay(tmp_path / "run", shards=2, trust=True, quiet=True)
    assert replayed.diverged is None
    assert replayed.ticks == 5
    same = populace.fork(tmp_path / "run", 3, trust=True, out=tmp_path / "same", quiet=True)
    assert same.manifest["trace_hashes"] == manifest["trace_hashes"][:5]
    further = populace.fork(
        tmp_path / "run", 5, settings={"until_interactions": counted[7]}, trust=True, out=tmp_path / "more", quiet=True
    )
    assert further.manifest["trace_hashes"] == manifest["trace_hashes"][:8]


def test_it_is_one_of_the_things_that_a_resume_leaves_as_they_are(tmp_path):
    go(tmp_path, stop_at=2, agents=AGENTS, until_interactions=10_000)
    with pytest.raises(SettingsError, match="until_interactions"):
        resume_course(tmp_path, ["until_interactions=5"])


def test_an_estimate_needs_to_know_how_many_ticks():
    with pytest.raises(SettingsError, match="set ticks, too"):
        expect(find_society(SOCIETIES), settings_of(until_interactions=100))


def test_a_plan_of_ticks_is_known_once_anything_happened():
    barrier = Barrier(1, 2**31 - 1, until=100)
    assert barrier.planned == 0
    barrier.tick, barrier.total.delivered = 3, 30
    assert barrier.planned == 10
    assert Barrier(1, 7).planned == Barrier(1, 7, until=5).planned == 7


SILENT = """
from populace import Agent, Population, Public, Society

class Hermit(Agent):
    said: Public[int] = 0

    async def turn(self, ctx):
        ctx.wake_at(ctx.tick + 500)

society = Society(name="hermits", agent=Hermit, size=2,
                  population=lambda setup: Population({"said": [0] * setup.agents}))
"""


@pytest.mark.parametrize("talks", [False, True])
def test_a_run_that_never_comes_nearer_to_its_end_says_so(tmp_path, talks):
    source = (
        SILENT.replace("ctx.wake_at(", "ctx.send(0, 1) if ctx.tick == 0 else None; ctx.wake_at(") if talks else SILENT
    )
    (tmp_path / "hermits.py").write_text(source, encoding="utf-8")
    heard: list[str] = []
    watching = Watching()
    watching.note = heard.append  # type: ignore[method-assign]
    manifest = run_local(
        tmp_path / "run", str(tmp_path / "hermits.py"), [watching], agents=2, ticks=120, until_interactions=50
    )
    assert manifest["ticks"] == 120
    told = [one for one in heard if "until_interactions = 50 is not coming nearer" in one]
    assert [one.startswith("100 ticks, and no message") for one in told] == ([] if talks else [True])
    came = 2 if talks else 0
    assert f"It ended after {came} of the 50 interactions that were to end it." in caveats(manifest)
