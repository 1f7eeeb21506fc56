"""While a run goes on the garbage collector leaves alone what was there before, and afterwards all is as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from populace.cluster.collector import SELDOM, tuned_collector


@pytest.fixture
def thawed() -> Iterator[None]:
    """Nothing is frozen, as in a process of its own; the session has frozen what its tests hold."""
    gc.unfreeze()
    yield
    gc.freeze()


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
