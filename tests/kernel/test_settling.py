"""What a closed tick leaves to be done is done by the time that anybody sees the agents again, asked for or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from support.kernel_support import make_shard, run_tick, same, send

from populace.agents.agent import Agent
from populace.core.errors import ScenarioError
from populace.kernel.bus import Envelope
from populace.kernel.events import OpenTick, TickDone
from populace.kernel.rows import Unmade
from populace.kernel.shard import Shard

TICKS = 4


class Teller(Agent):
    """Sends of what type its words are: a set is one that stands in order to a resumed run, and so to this one."""

    words: set[int] = set()

    async def turn(self, ctx: Any) -> None:
        ctx.send((ctx.id + 1) % 8, type(self.words).__name__)
        self.words = {ctx.tick}


def tellers() -> Shard:
    return make_shard([Teller() for _ in range(8)], saved=True)


def closed(shard: Shard, tick: int, before: TickDone | None) -> TickDone:
    """A tick that is closed, and not settled by whoever runs the shard."""
    frames = [] if before is None else before.frames
    (done,) = send(shard, OpenTick(tick, Envelope(list(frames))))
    assert isinstance(done, TickDone)
    return done


def course(shard: Shard) -> list[TickDone]:
    found: list[TickDone] = []
    for tick in range(TICKS):
        found.append(closed(shard, tick, found[-1] if found else None))
    return found


def test_a_tick_that_nobody_settled_is_settled_before_the_next_and_before_a_checkpoint() -> None:
    late, early = tellers(), tellers()
    settled = []
    for tick in range(TICKS):
        settled.append(run_tick(early, tick, settled[-1].frames if settled else []))
    for one, other in zip(course(late), settled, strict=True):
        assert one.digests == other.digests
    assert late.export(whole=True, tick=TICKS).agents == early.export(whole=True, tick=TICKS).agents
    assert same(late.settle(), settled[-1].rows)


def test_it_is_settled_once_and_its_rows_can_be_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shard = tellers()
    first = run_tick(shard, 0)
    run_tick(shard, 1, first.frames)
    rows = shard.settle()
    assert len(rows["messages"]["sender"]) == 8
    assert rows["messages"] is rows["messages"], "they are made once"
    monkeypatch.setattr(shard, "_keep", lambda ids: pytest.fail(f"{ids} are kept again"))
    assert shard.settle() is rows


def test_rows_are_made_once_somebody_reads_them_and_not_by_a_look_at_which_there_are() -> None:
    made: list[str] = []
    rows = Unmade({"levers": {}}, {"asks": lambda: made.append("asks") or {"agent": [1]}})  # type: ignore[func-returns-value]
    assert ("asks" in rows, "levers" in rows, "rounds" in rows) == (True, True, False)
    assert (list(rows), len(rows), made) == (["levers", "asks"], 2, [])
    assert rows["asks"] is rows["asks"]
    assert made == ["asks"]
    with pytest.raises(KeyError):
        rows["rounds"]


def test_rows_that_are_made_ticks_later_are_those_of_their_tick() -> None:
    def rows(*, late: bool) -> list[Mapping[str, Any]]:
        shard, found, before = tellers(), [], None
        for tick in range(TICKS):
            before = closed(shard, tick, before)
            settled = shard.settle()
            found.append(settled if late else {name: dict(settled[name]) for name in settled})
        return found

    at_once, made_late = rows(late=False), rows(late=True)
    assert all(map(same, at_once, made_late))
    assert [one["messages"]["tick_read"].tolist() for one in made_late] == [[], [1] * 8, [2] * 8, [3] * 8]


def test_control_agents_that_are_not_kept_send_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    settled = [one.digests for one in course(tellers())]
    monkeypatch.setattr(Shard, "settle", lambda self: {})
    assert [one.digests for one in course(tellers())] != settled


def test_an_agent_that_cannot_be_kept_stops_the_shard_however_often_it_is_asked() -> None:
    class Spoilt(Agent):
        what: Any = None

        async def turn(self, ctx: Any) -> None:
            self.what = object()

    shard = make_shard([Spoilt()], saved=True)
    closed(shard, 0, None)
    for go_on in (shard.settle, shard.settle, lambda: shard.export(whole=True, tick=1)):
        with pytest.raises(ScenarioError, match="what"):
            go_on()
    with pytest.raises(ScenarioError, match="what"):
        send(shard, OpenTick(1))
