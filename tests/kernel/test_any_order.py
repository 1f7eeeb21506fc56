"""Actions that come to the same in any order: no order is drawn for them, and they stand alike on any shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import wealth
from support.env_support import opened
from support.running import run_local

from populace.core.draws import WORLD, Draws
from populace.env import Batch, action, in_any_order
from populace.env.acts import Acting, Acts, singles
from populace.env.part import unordered
from populace.kernel.actions import put_in_order
from populace.store.tables.tables import read_table

GIVE = "bank.give"
ANY = frozenset({GIVE})


class Adding(wealth.Bank):
    """A bank whose gifts are marked."""

    name = "bank"

    @action
    @in_any_order
    def give(self, tick: int, batch: Batch) -> None:
        """As there."""
        super().give(tick, batch)


def block(*agents: int, kind: str = GIVE) -> Acts:
    ids = np.array(agents, np.int32)
    return Acts(kind, ids, np.zeros(len(ids), np.int32), {"to": ids * 10}, {})


def in_turn(acting: Acting, any_order: frozenset[str]) -> list[tuple[int, int, str]]:
    """Who acts, which of theirs, and what, in the order in which they act."""
    put_in_order(Draws(1, WORLD, 2), acting, any_order)
    return [(acting[at].agent, acting[at].nth, acting[at].kind) for at in acting.order.tolist()]


NOBODY = singles(np.empty(0, np.int32), np.empty(0, np.int32), [], [])
SINGLE = singles(np.array([3, 3], np.int32), np.array([0, 1], np.int32), [GIVE, GIVE], [{"to": 1}, {"to": 2}])


@pytest.mark.parametrize("single", [NOBODY, SINGLE])
@pytest.mark.parametrize("agents", [range(9), range(1500)])
def test_they_stand_by_agent_on_whichever_shards_agents_are(single, agents) -> None:
    two = [block(*agents[::2]), block(*agents[1::2])]
    found = [in_turn(Acting(single, blocks), ANY) for blocks in (two, two[::-1], [block(*agents)])]
    assert found[0] == found[1] == found[2] == sorted(found[0])
    assert len(found[0]) == len(single) + len(agents)


def test_control_as_they_come_they_stand_otherwise_on_other_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("populace.kernel.actions.fair_places", lambda _draw, _names, part, *_: np.arange(len(part)))
    with pytest.raises(AssertionError):
        test_they_stand_by_agent_on_whichever_shards_agents_are(NOBODY, range(9))


def test_beside_another_kind_on_the_part_they_stand_in_the_fair_order() -> None:
    acting = Acting(NOBODY, [block(*range(40)), block(7, 20, kind="bank.close")])
    assert in_turn(acting, ANY) == in_turn(acting, frozenset()) != sorted(in_turn(acting, ANY))


def test_another_part_has_its_fair_order_beside_them() -> None:
    acting = Acting(NOBODY, [block(*range(40)), block(*range(40), kind="stall.take")])
    mixed, fair = in_turn(acting, ANY), in_turn(acting, frozenset())
    assert [one for one in mixed if one[2] == "stall.take"] == [one for one in fair if one[2] == "stall.take"]
    assert [one for one in mixed if one[2] == GIVE] == sorted(one for one in fair if one[2] == GIVE)


def test_what_a_part_does_to_a_batch_is_not_done_to_the_actions() -> None:
    acting = Acting(NOBODY, [block(*range(9))])
    put_in_order(Draws(1, WORLD, 2), acting, ANY)
    ((places, batch),) = acting.runs(acting.order)
    assert acting.all_stand(places)
    batch.agents += 1
    batch.column("to")[:] = -1
    assert [(one.agent, one.args) for one in acting] == [(agent, {"to": 10 * agent}) for agent in range(9)]


def test_only_what_is_marked_is_taken_so() -> None:
    assert unordered(Adding()) == ["give"]
    assert unordered(wealth.Bank()) == []
    assert opened(5, Adding()).unordered == ANY


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("kind", ["coroutines", "columns"])
def test_a_run_is_the_one_in_the_fair_order(
    kind: str, shards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    words = Draws.words

    def noted(self: Draws, purpose: str, ids: np.ndarray) -> np.ndarray:
        drawn.append(purpose)
        return words(self, purpose, ids)

    monkeypatch.setattr(Draws, "words", noted)
    text = Path(wealth.__file__).read_text(encoding="utf-8")
    marked = text.replace("RowDigests, action", "RowDigests, action, in_any_order")
    marked = marked.replace("    @action\n", "    @action\n    @in_any_order\n")
    runs = []
    for name, source in (("fair", text), ("marked", marked)):
        drawn.clear()
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        runs.append(run_local(tmp_path / name, f"{tmp_path / name}.py:{kind}", shards=shards, seed=3))
        assert bool(drawn) == (name == "fair")
    one, other = runs
    assert one["trace_hash"] == other["trace_hash"]
    assert one["world_hashes"] == other["world_hashes"]
    assert one["actions"] == other["actions"]
    tables = [read_table(tmp_path / name, "actions") for name in ("fair", "marked")]
    assert tables[0].equals(tables[1])
