"""What runs cost, by experiment, arm and purpose: the parts add up to what the runs' own totals say."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from support.asking import asking, here
from support.command import populace
from support.misbehaving import Misbehaving, slow
from support.monitoring_support import whole_manifest
from support.running import SOCIETIES, run_local

from populace.budget.amounts import Rate
from populace.cli.costs import print_costs
from populace.core.errors import BudgetSpent, SettingsError
from populace.core.records import REASONS, Answer, Counts
from populace.monitoring.summary import caveats
from populace.runs.costs import UNFINISHED, costs_of, folders_of
from populace.settings import LimitSettings
from populace.store.manifest import read_manifest, verdict, write_manifest
from populace.store.tables.tables import read_table

PRICED = {"scripted": {"usd_per_million_tokens_in": 100.0, "usd_per_million_tokens_out": 400.0}}


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three runs in two arms, and one of no experiment."""
    root = tmp_path_factory.mktemp("runs")
    for name, labels in {
        "a": {"experiment": "trial", "arm": "control"},
        "b": {"experiment": "trial", "arm": "treated"},
        "c": {"experiment": "trial", "arm": "treated", "seed": 8},
        "d": {},
    }.items():
        run_local(root / name, budget__prices=PRICED, **labels)
    return [root / name for name in "abcd"]


def test_costs_add_up_over_runs_arms_and_purposes(folders):
    found = costs_of(map(read_manifest, folders))
    manifests = {folder.name: read_manifest(folder) for folder in folders}
    assert [(cost.experiment, cost.arm, cost.purpose, cost.runs) for cost in found] == [
        ("", "", "mood", 1), ("", "", "say", 1),
        ("trial", "control", "mood", 1), ("trial", "control", "say", 1),
        ("trial", "treated", "mood", 2), ("trial", "treated", "say", 2),
    ]  # fmt: skip
    for figure, name in {"calls": "calls_billed", "tokens_in": "tokens_in", "tokens_out": "tokens_out"}.items():
        treated = sum(getattr(cost, figure) for cost in found if cost.arm == "treated")
        assert treated == manifests["b"][name] + manifests["c"][name] > 0
        assert sum(getattr(cost, figure) for cost in found) == sum(one[name] for one in manifests.values())
    rate = Rate.of(100.0, 400.0)
    for cost in found:
        assert cost.cost_usd == pytest.approx(rate.cost(cost.tokens_in, cost.tokens_out).usd)


def test_the_parts_of_a_run_are_those_of_its_table(folders):
    """By the rows of asks.parquet, which are counted on another way."""
    table = read_table(folders[0], "asks").to_pylist()
    for cost in costs_of([read_manifest(folders[0])]):
        rows = [row for row in table if row["purpose"] == cost.purpose]
        assert (cost.asks, cost.calls) == (len(rows), sum(row["calls"] for row in rows))
        assert cost.tokens_in == sum(row["tokens_in"] for row in rows)
        assert cost.abstained == {"refusal": sum(row["reason"] == "refusal" for row in rows)}


def test_what_an_unfinished_tick_cost_is_not_lost(tmp_path):
    with Misbehaving(base=slow(0.01)) as server:
        options = asking(server, agents=40, ticks=50, shards=2, model__max_tokens=20, budget__tokens=9_000)
        with pytest.raises(BudgetSpent):
            here(tmp_path, **options)
    manifest = read_manifest(tmp_path)
    found = {cost.purpose: cost for cost in costs_of([manifest])}
    assert set(found) == {"say"}, "it stands under the purpose it was asked for"
    assert (found["say"].calls, found["say"].tokens_in) == (manifest["calls_billed"], manifest["tokens_in"])
    committed = 40 * manifest["ticks"]
    assert found["say"].asks == committed < found["say"].calls == len(server.seen)

    for figure in ("calls", "tokens_in", "tokens_out"):  # as before, when such calls stood in the totals alone
        manifest["asks"]["by_purpose"]["say"][figure] -= 5
    before = {cost.purpose: cost for cost in costs_of([manifest])}
    assert (before[UNFINISHED].calls, before[UNFINISHED].tokens_in, before[UNFINISHED].asks) == (5, 5, 0)


def test_the_command_prints_lines_of_json_and_a_table_on_a_terminal(folders, tmp_path, monkeypatch):
    done = populace("costs", *map(str, folders), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 6
    assert rows[-1]["experiment"] == "trial"
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = _Terminal()
    print_costs(folders, stream)
    *_, total = stream.getvalue().splitlines()
    assert total.startswith("total")
    assert f"{sum(row['tokens_in'] for row in rows):,}" in total
    with pytest.raises(SettingsError, match="twice"):
        print_costs([folders[0], folders[0]], stream)
    assert folders_of(folders[0].parent) == sorted(folders), "a folder of runs stands for them"
    with pytest.raises(SettingsError, match="is no run that has ended and holds none"):
        folders_of(tmp_path / "nowhere")
    for args in ((), ("--release", "a"), ("nowhere",)):
        wrong = populace("costs", *args, cwd=tmp_path)
        assert wrong.returncode == 2
        assert wrong.stderr.startswith("populace:")


def test_too_many_abstentions_make_a_run_invalid_and_do_not_end_it(tmp_path):
    """A tenth of the asks of this society is refused by its script."""
    good = run_local(tmp_path / "good")
    assert (good["valid"], good["why_invalid"]) == (True, None)
    done = populace(
        "run", SOCIETIES, "--model", "scripted", "--out", "bad", "--set", "limits.abstained=0.02",
        "--set", "limits.failed_turns=1.0", "--set", "arm=treated", "--set", "experiment=trial", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 10, done.stderr
    bad = read_manifest(tmp_path / "bad")
    assert (bad["status"], bad["valid"], bad["experiment"], bad["arm"]) == ("complete", False, "trial", "treated")
    assert "limits.abstained allows 2.0%" in bad["why_invalid"]
    assert "refusal" in bad["why_invalid"]
    assert "This run is not valid" in done.stdout
    assert (
        sum(sum(part["abstained"].values()) for part in bad["asks"]["by_purpose"].values())
        == (bad["asks"]["abstained"])
    )


@pytest.mark.parametrize(("abstained", "valid"), [(0, True), (2, True), (3, False)])
def test_the_share_that_is_allowed_is_allowed(abstained, valid):
    total = Counts()
    for nth in range(10):
        total.settle([(Answer(nth, 0, 0, "abstained" if nth < abstained else "answered", reason="schema"), "vote")])
    said = verdict(total, LimitSettings(abstained=0.2))
    assert said["valid"] is valid
    assert ("most of purpose 'vote'" in (said["why_invalid"] or "")) is not valid
    assert verdict(Counts(), LimitSettings(abstained=0.0))["valid"], "a run without asks has none that failed"


@pytest.mark.parametrize("reason", REASONS)
def test_what_was_never_put_to_a_model_says_nothing_about_it(reason):
    total = Counts()
    for nth in range(10):
        total.settle([(Answer(nth, 0, 0, "abstained" if nth < 6 else "answered", reason=reason), "vote")])
    said = verdict(total, LimitSettings(abstained=0.2))
    assert total.abstained == {reason: 6}, "it is counted all the same"
    assert said["valid"] is (reason in {"budget", "interrupted", "unrecorded"})
    assert said["valid"] or said["why_invalid"].startswith(f"6 of 10 asks (60.0%) have no answer ({reason} 6), most")


def test_the_reasons_of_an_invalid_run_are_told_apart():
    total = Counts()
    for nth, reason in enumerate(["refusal"] * 2 + ["schema"] * 4 + ["deadline"] + ["error"] + ["budget"] * 7):
        total.settle([(Answer(nth, 0, 0, "abstained", reason=reason), "vote")])
    why = verdict(total, LimitSettings(abstained=0.2))["why_invalid"]
    assert "8 of 8 asks (100.0%) have no answer (deadline 1, error 1, refusal 2, schema 4)" in why
    assert "could not be read as their types" in why, "the next step is that of the most frequent one"


def test_manifests_of_before_are_read(tmp_path: Path):
    write_manifest(tmp_path, whole_manifest())
    manifest = read_manifest(tmp_path)
    assert not any("not valid" in text for text in caveats(manifest))
    for part in manifest["asks"]["by_purpose"].values():
        del part["abstained"]
    assert costs_of([manifest])[0].abstained == {}
