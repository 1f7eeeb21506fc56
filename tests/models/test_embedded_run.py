"""A whole run on the embedded model: a real model's answers in the tables, and nothing left running."""

from __future__ import annotations

import psutil
import pytest
from support.running import run_local

from populace.store.tables.tables import read_table

pytestmark = pytest.mark.embedded


def test_a_society_runs_on_the_embedded_model(tmp_path):
    pytest.importorskip("xllamacpp")
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    manifest = run_local(tmp_path, "polarization", model__kind="embedded", agents=4, ticks=2, shards=2)
    assert manifest["status"] == "complete"
    asks = read_table(tmp_path, "asks").to_pydict()
    assert asks["settled"] == ["answered"] * len(asks["settled"])
    reasons = [text for text, purpose in zip(asks["answer"], asks["purpose"], strict=True) if purpose == "reason"]
    assert len(set(reasons)) == len(reasons) == 8, "own words for every agent and tick"
    assert all("probabilities" in t for t, p in zip(asks["answer"], asks["purpose"], strict=True) if p == "verdict")
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
