"""What probes cost: apart from the run in `costs` and `estimate`, and under a ceiling of their own."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

import populace
from populace.cli.costs import print_costs
from populace.core.errors import BudgetSpent
from populace.runs.costs import costs_of, probe_costs
from populace.testing import FakeEndpoint

FILE = str(Path(__file__).parent.parent / "support" / "respondents.py")
PRICES = {"budget.prices.scripted": {"usd_per_million_tokens_in": 4.0, "usd_per_million_tokens_out": 8.0}}
SURVEYS = {"surveys": [{"instrument": "cesd10", "at": [0, 3], "sample": 0.5}]}
SCRIPTED = {"model": "scripted", "quiet": True, "seed": 3}


def test_costs_shows_probes_apart_and_the_runs_own_are_what_they_were(tmp_path):
    bare = populace.run(FILE, out=tmp_path / "bare", settings=PRICES, **SCRIPTED)
    asked = populace.run(FILE, out=tmp_path / "asked", settings={**PRICES, **SURVEYS}, **SCRIPTED)
    populace.interview(asked, 3, 2, quiet=True).ask("How are you?")
    assert costs_of([asked.manifest]) == costs_of([bare.manifest])
    assert asked.manifest["cost_usd"] == bare.manifest["cost_usd"]
    found = {one.purpose: one for one in probe_costs([(asked.folder, asked.manifest)])}
    assert set(found) == {"survey", "interview"}
    assert (found["survey"].asks, found["survey"].calls, found["interview"].asks) == (2 * 6 * 10, 2 * 6 * 10, 1)
    assert found["survey"].cost_usd > 0
    assert probe_costs([(bare.folder, bare.manifest)]) == []
    said = io.StringIO()
    print_costs([asked.folder], said)
    rows = [json.loads(line) for line in said.getvalue().splitlines()]
    assert [(row["of"], row["purpose"]) for row in rows] == [
        ("run", "mood"), ("probes", "interview"), ("probes", "survey")
    ]  # fmt: skip


def test_an_estimate_counts_declared_surveys_apart_and_near_what_they_come_to(tmp_path):
    options = {"agents": 40, "settings": {**PRICES, **SURVEYS}, **SCRIPTED}
    expected = populace.estimate(FILE, pilot_agents=10, **options)
    run = populace.run(FILE, out=tmp_path / "run", **options)
    (paid,) = probe_costs([(run.folder, run.manifest)])
    probes = expected.probes
    assert probes.asks == paid.asks == 2 * 20 * 10
    assert probes.tokens_in == pytest.approx(paid.tokens_in, rel=0.05)
    assert probes.tokens_out_low < paid.tokens_out < probes.tokens_out_high
    assert probes.usd_low < paid.cost_usd < probes.usd_high
    assert "Probes, apart from the run: 1 survey, 400 asks" in expected.text()
    without = populace.estimate(FILE, pilot_agents=10, **{**options, "settings": PRICES})
    assert without.probes is None
    assert without.estimate.calls == expected.estimate.calls, "the run's own estimate is what it was"


def test_probes_have_a_ceiling_of_their_own_and_go_on_under_a_higher_one(tmp_path):
    run = populace.run(FILE, out=tmp_path / "run", **SCRIPTED)
    with FakeEndpoint(models=["m"]) as endpoint:
        settings = {**endpoint.settings, "endpoint.concurrency": 4}
        with pytest.raises(BudgetSpent):
            populace.survey(run, "cesd10", 2, model="openai", settings={**settings, "budget.tokens": 9_000}, quiet=True)
        some = len(endpoint.seen)
        assert 0 < some < 120, "it stopped on the way"
        assert run.surveys == [], "a wave that is not whole has no table"
        whole = populace.survey(run, "cesd10", 2, model="openai", settings=settings, quiet=True)
        assert whole.table().abstained.isna().all()
        assert whole.tally.asks == 120
        assert len(endpoint.seen) - some == whole.tally.spent.calls < 120, "what was answered before is not paid twice"
