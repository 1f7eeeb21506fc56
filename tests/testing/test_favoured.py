"""Whether ids are favoured: a fair society passes, one that goes by ids is caught, and the tests keep their level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.villages import AGENTS, FILE, IMPORTS, KNOBS, OUTCOMES, SOCIETY

from populace.core.errors import SettingsError
from populace.testing import InvariantBroken, check_no_favoured_id
from populace.testing.favoured import favoured_ids

FAIR = {"agents": 8, "ticks": 3, "seeds": 10}


@pytest.fixture
def village(tmp_path):
    def write(text):
        (tmp_path / "village.py").write_text(text)
        return tmp_path / "village.py"

    return write


def test_a_population_in_the_order_of_its_ids_is_no_favour(village):
    """The rumour begins with row 0, which is another agent in each seed; belief goes by who has heard it."""
    (heard, belief) = check_no_favoured_id(village(FILE), ["heard", "belief"], **FAIR)
    assert (heard.field, heard.seeds, belief.field) == ("heard", 10, "belief")
    assert min(heard.p_trend, heard.p_id, belief.p_trend, belief.p_id) > 0.01


@pytest.mark.parametrize(
    ("favour", "told"),
    [("self.belief += 0.2 * ctx.id", r"correlation of belief with the id is \+"),
     ("self.belief += 9.0 * (ctx.id == 3)", r"agent 3 has mean rank (1\.00|0\.9)")],
    ids=["by rank", "one agent"],
)  # fmt: skip
def test_a_turn_that_goes_by_ids_is_caught(village, favour, told):
    turn = AGENTS.replace("        if self.heard:", f"        {favour}\n        if self.heard:", 1)
    with pytest.raises(InvariantBroken, match=told) as caught:
        check_no_favoured_id(village(IMPORTS + KNOBS + turn + OUTCOMES + SOCIETY), "belief", **FAIR)
    assert caught.value.invariant == "favoured"


def test_the_level_is_kept_where_neighbours_are_alike_and_values_are_tied():
    """60 fair experiments: on a ring, whose neighbours are alike, and with one in ten that has something."""
    draw = np.random.default_rng(5)
    found = 0
    for n in range(60):
        if n % 2:
            noise = draw.normal(size=(9, 12))
            values = noise + np.roll(noise, 1, 1) + np.roll(noise, 2, 1)
        else:
            values = draw.permuted(np.tile(np.arange(12) == 0, (9, 1)).astype(float), axis=1)
        (one,) = favoured_ids({"x": values})
        found += min(one.p_trend, one.p_id) < 0.05
    assert found <= 8, "more than 5% of fair experiments, beyond what chance gives (P < 0.004)"


def test_seeds_too_few_and_fields_that_are_none_are_refused(village):
    with pytest.raises(SettingsError, match=r"with less than 9 nothing can be significant at 0\.01"):
        check_no_favoured_id(village(FILE), "heard", seeds=8)
    with pytest.raises(SettingsError, match=r"'herd' is no public field of numbers. .*heard, belief"):
        check_no_favoured_id(village(FILE), "herd")


MARKET = Path(__file__).parents[1] / "support" / "market.py"


def test_types_are_compared_among_themselves(tmp_path):
    """Firms sell and households do not: that is no favour. A household that is favoured is named by its own id."""
    found = check_no_favoured_id(MARKET, ["sold", "wealth"], ticks=3, seeds=10)
    assert [one.field for one in found] == ["sold of firm", "sold of household", "wealth of household"]
    loop = "        for message in ctx.inbox:"
    unfair = MARKET.read_text().replace(loop, f"        self.wealth += 500 * (ctx.id == 7)\n{loop}")
    (tmp_path / "unfair.py").write_text(unfair)
    with pytest.raises(InvariantBroken, match=r"wealth of household.*\n.*agent 7 has mean rank (1\.00|0\.9)"):
        check_no_favoured_id(tmp_path / "unfair.py", "wealth", ticks=3, seeds=9)


def test_agents_who_leave_cannot_be_compared():
    with pytest.raises(SettingsError, match=r"agents leave.*wealth of household"):
        check_no_favoured_id(MARKET.with_name("births.py"), "wealth", ticks=4, seeds=9)
