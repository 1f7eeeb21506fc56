"""Who there is, against a list of rows; ids are never given again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.core.errors import ScenarioError
from populace.core.roster import Roster, before

TYPES = ("a", "b", "c")
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("born"), st.sampled_from(TYPES), st.integers(0, 3)),
        st.tuples(st.just("left"), st.lists(st.integers(0, 20), max_size=3), st.just(0)),
    ),
    max_size=8,
)
STAYS = 10**9


@given(st.lists(st.integers(0, 3), min_size=3, max_size=3).filter(sum), EVENTS, st.integers(0, 9))
def test_a_roster_is_what_its_rows_are(counts, events, asked) -> None:
    roster = Roster(dict(zip(TYPES, counts, strict=True)))
    rows = [[of, 0, STAYS] for of, n in zip(TYPES, counts, strict=True) for _ in range(n)]
    for tick, (what, which, n) in enumerate(events, 1):
        if what == "born":
            ids = roster.spawn([(which, n), ("a", 1)], tick)
            assert ids.tolist() == list(range(len(rows), len(rows) + n + 1))
            rows += [[which, tick, STAYS] for _ in range(n)] + [["a", tick, STAYS]]
        else:
            going = sorted({one for one in which if one < len(rows) and rows[one][2] == STAYS})
            roster.retire(np.array(going, np.int32), tick)
            for one in going:
                rows[one][2] = tick
    again = Roster(dict(zip(TYPES, counts, strict=True)))
    again.restore(roster.state())
    for one in (roster, again):
        check(one, rows, asked)
    earlier = Roster(dict(zip(TYPES, counts, strict=True)))
    earlier.restore(before(roster.state(), asked))
    check(
        earlier,
        [[of, born, left if left < asked else STAYS] for of, born, left in rows if born < asked or born == 0],
        0,
    )


def check(roster: Roster, rows: list[list], tick: int) -> None:
    every = range(len(rows))
    assert roster.size == len(rows)
    assert [roster.names[at] for at in roster.types_of(every)] == [row[0] for row in rows]
    assert roster.lives(every).tolist() == [row[2] == STAYS for row in rows]
    assert roster.gone().tolist() == [one for one in every if rows[one][2] != STAYS]
    assert roster.there(tick).tolist() == [row[1] <= tick < row[2] for row in rows]
    for of in TYPES:
        members = [one for one in every if rows[one][0] == of]
        assert roster.members(of).tolist() == members
        assert roster.places(members).tolist() == list(range(len(members)))
        living = [one for one in members if rows[one][2] == STAYS]
        assert roster.ids(of).tolist() == living
        for shards in (1, 2, 5):
            for index in range(shards):
                own = [one for one in living if one % shards == index]
                assert roster.own(of, index, shards).tolist() == own
    assert roster.ids().tolist() == [one for one in every if rows[one][2] == STAYS]


def test_there_is_no_other_type_and_ids_have_an_end() -> None:
    roster = Roster({"firm": 2})
    with pytest.raises(ScenarioError, match="no type of agents 'bank'; there are firm"):
        roster.spawn([("bank", 1)], 1)
    with pytest.raises(ScenarioError, match="ids are 32-bit numbers"):
        roster.spawn([("firm", 2**31 - 3)], 1)
