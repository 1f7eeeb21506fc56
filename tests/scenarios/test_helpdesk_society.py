"""The helpdesk: one run on any shards, and pass^k, which falls convexly as steps slip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.running import run_local

import populace


def last(out: Path, **society: Any) -> Any:
    """Outcomes of 16 tasks that are tried eight times each."""
    agents = {"clerk": 16, "customer": 16}
    society = {"tasks": 16, **society}
    run_local(out, "helpdesk", model__kind="rules", agents=agents, ticks=8, seed=1, society=society)
    return populace.load(out).outcomes.iloc[-1]


def curve(outcomes: Any) -> np.ndarray:
    return np.array([outcomes[f"pass_{k}"] for k in range(1, 9)])


@pytest.mark.parametrize("kind", ["rules", "scripted"])
def test_one_run_on_one_shard_and_on_three(kind: str, tmp_path: Path):
    hashes = {
        run_local(
            tmp_path / str(shards), "helpdesk", model__kind=kind, agents={"clerk": 3, "customer": 3}, ticks=2,
            shards=shards, society={"desk": "airline", "user_slip": 0.2, "show_policy": False},
        )["trace_hash"]
        for shards in (1, 3)
    }  # fmt: skip
    assert len(hashes) == 1


@pytest.mark.parametrize("desk", ["shop", "airline"])
def test_pass_k_falls_convexly_and_not_where_no_step_slips(desk: str, tmp_path: Path):
    slips = curve(last(tmp_path / "slips", desk=desk))
    assert np.all(np.diff(slips) < 0)
    assert np.all(np.diff(slips, 2) > 0)
    assert np.all(slips[1:] > slips[0] ** np.arange(2, 9) + 0.02)  # tasks differ: some are nearly always done
    sure = last(tmp_path / "sure", desk=desk, slip=1e-9, user_slip=0.0)
    assert np.all(curve(sure) == 1.0)
    assert sure.breaks == sure.user_slips == 0


def test_a_policy_that_is_not_shown_is_broken(tmp_path: Path):
    shown, hidden = (
        last(tmp_path / f"shown{one}", desk="airline", show_policy=one, recall=0.5) for one in (True, False)
    )
    assert hidden.breaks > shown.breaks + 0.3
    assert hidden.pass_1 < shown.pass_1
    known = last(tmp_path / "known", desk="airline", show_policy=False, recall=1.0)
    assert (known.breaks, known.pass_1) == (shown.breaks, shown.pass_1)


def test_customers_who_say_ids_wrong_get_something_else(tmp_path: Path):
    clear, muddled = (last(tmp_path / f"slip{one}", user_slip=one) for one in (0.0, 0.3))
    assert clear.user_slips == 0 < muddled.user_slips
    assert muddled.pass_1 < clear.pass_1 - 0.1


def test_a_customer_without_patience_leaves(tmp_path: Path):
    assert last(tmp_path / "short", patience=3, slip=1e-9).calls <= 3
