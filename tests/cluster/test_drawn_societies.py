"""Societies that nobody wrote: drawn at random, on 1, 2 and 5 shards, ended and resumed, replayed: one hash each."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.attempts import go
from support.drawn import drawn_societies
from support.long import cases

from populace.runs.courses import replay_course, resume_course
from populace.runs.replay import replay_run

DRAWN = cases(20, 8)


def chains(manifest: dict[str, Any]) -> tuple[Any, ...]:
    """What must be the same in every life: the hashes of turns and of the world, and what was counted."""
    counts = manifest["messages"], manifest["actions"], manifest["rounds"]
    return manifest["trace_hashes"], manifest.get("world_hashes"), *counts


def whole(folder: Path, source: str, levers: list[dict[str, Any]], shards: int) -> dict[str, Any]:
    folder.mkdir()
    (folder / "drawn.py").write_text(source, encoding="utf-8")
    manifest: dict[str, Any] = go(
        folder / "run", scenario=str(folder / "drawn.py"), ticks=7, levers=levers, shards=shards,
        checkpoint__every_ticks=2,
    )  # fmt: skip
    return manifest


def resumed(folder: Path, source: str, levers: list[dict[str, Any]], stop_at: int, shards: tuple[int, int]) -> Any:
    """The manifest of a run that was ended in the midst of a tick and went on with another number of shards."""
    folder.mkdir()
    (folder / "drawn.py").write_text(source, encoding="utf-8")
    before, after = shards
    stopped = go(
        folder / "run", stop_at=stop_at, scenario=str(folder / "drawn.py"), ticks=7, levers=levers, shards=before,
        checkpoint__every_ticks=2,
    )  # fmt: skip
    assert stopped is None
    return go(folder / "run", going=resume_course(folder / "run", shards=after))


@settings(max_examples=DRAWN, phases=(Phase.generate,), suppress_health_check=[HealthCheck.too_slow])
@given(drawn_societies(), st.integers(1, 6), st.sampled_from([(1, 3), (3, 1), (2, 5)]))
def test_one_hash_on_any_shards_in_any_life(drawn, stop_at, shards):
    source, levers = drawn
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        manifest = whole(folder / "1", source, levers, 1)
        assert manifest["turns"], "a society in which nobody takes a turn shows nothing"
        for number in (2, 5):
            assert chains(whole(folder / str(number), source, levers, number)) == chains(manifest)
        assert chains(resumed(folder / "resumed", source, levers, stop_at, shards)) == chains(manifest)
        run = folder / "resumed" / "run"
        again = replay_run(replay_course(run), run, folder / "replay")
        assert again.ticks == again.recorded


GLOBAL = """
from populace import Agent, Population, Public, Society

COUNT = [0]

class One(Agent):
    seen: Public[int] = 0

    async def turn(self, ctx):
        COUNT[0] += 1
        self.seen = COUNT[0]

society = Society(name="drawn", agent=One, population=lambda setup: Population({"seen": [0] * setup.agents}), size=12)
"""


def test_control_a_society_that_keeps_state_in_its_module_is_another_when_it_is_resumed(tmp_path):
    manifest = whole(tmp_path / "1", GLOBAL, [], 1)
    assert chains(resumed(tmp_path / "2", GLOBAL, [], 3, (1, 3))) != chains(manifest)
