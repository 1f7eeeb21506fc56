"""What users' files may import: it is pinned here, and importing it loads nothing heavy."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import populace
import populace.env
import populace.experiments
import populace.mind
import populace.probes
import populace.testing

PUBLIC = {
    "populace": [
        "Abstained", "Agent", "Answers", "Ask", "Choice", "Chosen", "Closed", "ColumnarAgent", "ColumnarContext",
        "Consultation", "Context", "Distributions", "Every", "EveryTick", "Households", "Message", "OnMail",
        "OrderedSet", "Parameters", "Persona", "Population", "Public", "Raked", "Run", "Setup", "Society",
        "Sometimes", "World", "assign_employers", "diff", "estimate", "export", "fence", "fork", "interview",
        "load", "panel", "rake", "read_edge_list", "read_places", "read_table", "replay", "resume", "run", "run_async",
        "sample_households", "survey",
    ],
    "populace.env": [
        "Bargain", "Directory",
        "BASIC_VERBS", "Domain", "Master", "PolicyRule", "Refusal", "Stage", "Task", "Tools", "Verb", "pass_hat",
        "telling_rule", "words_rule",
        "Action", "Batch", "BayesNet", "Candidates", "CaseSet", "Cases", "City", "Clock", "Community", "Criterion",
        "Economy", "Exchange", "Fact", "Feed", "Fields", "Flow", "Games", "GridField", "Hazard", "Kind", "LastRound",
        "LookFailed", "Mode", "Network", "Opening", "OrderBook", "Part", "Places", "Platform", "PlatformSettings",
        "Recommender", "Resolved", "Round", "RowDigests", "Storm", "World", "action", "cohen_kappa", "query", "signal",
        "Talk", "Agreement", "Judgement", "in_any_order", "judge", "judge_all",
    ],
    "populace.experiments": [
        "Arm", "Audit", "Each", "Experiment", "Outcome", "Randomised", "Stopping", "Subgroup", "doses", "factorial",
    ],
    "populace.mind": [
        "Attitude", "Built", "DeltaTrust", "Dropped", "Emotion", "Experiences", "Habits", "Intensity", "Memory", "Need",
        "Needs", "Plan", "Prompt", "Recalled", "Risk", "Routine", "Step", "Trust", "estimate_tokens", "memory_rules",
    ],
    "populace.probes": [
        "BFI10", "CESD", "CESD10", "IPIP25", "Instrument", "Item", "LEFT_RIGHT", "LIBERAL_CONSERVATIVE",
        "MultipleChoice", "NET_PROMOTER", "OpenText", "PANAS", "Probe", "Question", "Ranking", "Retest", "Retests",
        "SPANE", "Scale", "Styles", "Survey", "TRUST", "alpha_of_covariance", "alphas", "covariance", "cronbach_alpha",
        "feeling_thermometers", "instrument_of", "intraclass", "likert", "matrix", "response_styles", "retest",
        "retest_scales", "single_choice",
    ],
    "populace.testing": [
        "Act", "Asked", "Checked", "FakeEndpoint", "Favoured", "InvariantBroken", "Plan", "RateLimit", "Seen",
        "check_no_favoured_id", "check_society", "placebo", "relabelled", "slow", "status", "without_script",
    ],
}  # fmt: skip
HEAVY = ("ray", "aiohttp", "pyarrow", "pandas", "scipy", "statsmodels", "igraph", "rich", "typer", "prometheus_client")


def test_the_public_names_are_these() -> None:
    assert sorted(populace.__all__) == PUBLIC["populace"]
    assert sorted(populace.env.__all__) == sorted(PUBLIC["populace.env"])
    assert sorted(populace.probes.__all__) == PUBLIC["populace.probes"]
    assert sorted(populace.experiments.__all__) == PUBLIC["populace.experiments"]
    assert sorted(populace.testing.__all__) == PUBLIC["populace.testing"]
    assert sorted(populace.mind.__all__) == PUBLIC["populace.mind"]
    for module in (populace, populace.env, populace.experiments, populace.mind, populace.probes, populace.testing):
        assert all(hasattr(module, name) for name in module.__all__)


def test_importing_them_loads_nothing_heavy() -> None:
    imports = (
        "import populace, populace.env, populace.experiments, populace.mind, populace.probes, populace.testing, sys"
    )
    code = f"{imports}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.strip() == "[]"


def test_panel_is_the_one_that_reads_tables() -> None:
    from populace.store.tables import tables

    assert populace.panel is tables.panel
    with pytest.raises(AttributeError, match="'no_such_name'"):
        _ = populace.no_such_name


def test_the_module_of_before_names_its_successor() -> None:
    sys.modules.pop("populace.monitoring.tables", None)
    with pytest.warns(DeprecationWarning, match=r"populace\.panel\b"):
        before = importlib.import_module("populace.monitoring.tables")
    assert before.panel is populace.panel
