"""While a run goes on the garbage collector leaves alone what was there before, and afterwards all is as it was."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from populace.cluster.collector import FEW, SELDOM, let_go, tuned_collector


@pytest.fixture
def thawed() -> Iterator[None]:
    """Nothing is frozen, before and after."""
    gc.unfreeze()
    yield
    gc.unfreeze()


class Ring:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


def a_ring() -> weakref.ref[Ring]:
    return weakref.ref(Ring())


@pytest.mark.usefixtures("thawed")
def test_what_is_there_is_frozen_for_as_long_as_the_run_lasts():
    before = gc.get_threshold()
    with tuned_collector():
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold() == SELDOM
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before


@pytest.mark.usefixtures("thawed")
def test_what_somebody_has_frozen_stays_so():
    before = gc.get_threshold()
    gc.freeze()
    frozen = gc.get_freeze_count()
    with tuned_collector():
        assert gc.get_threshold() == SELDOM
        with tuned_collector():
            assert gc.get_freeze_count() == pytest.approx(frozen, rel=0.1)
    assert gc.get_freeze_count() == pytest.approx(frozen, rel=0.1)
    assert gc.get_threshold() == before


@pytest.mark.usefixtures("thawed")
def test_a_run_looks_through_what_it_made_itself_and_through_nothing_else():
    """A process that has played many runs, or holds much, pays for none of it when it plays a small one."""
    before = a_ring()
    with tuned_collector():
        made = a_ring()
        gc.collect()
        assert before() is not None
        assert made() is None
        left = a_ring()
    assert left() is None
    assert before() is not None
    gc.collect()
    assert before() is None


def test_garbage_is_looked_for_as_a_run_begins_only_where_its_agents_are_many():
    left = a_ring()
    let_go(FEW - 1)
    assert left() is not None
    let_go(FEW)
    assert left() is None
