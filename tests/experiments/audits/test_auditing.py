"""What becomes of claims: true ones, artefacts of a prompt, and ones that are built on a placebo."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.audited_experiment import APPEAL, GREETING, REPLICATES, experiment
from support.command import populace as command
from support.experiments import Seen, run_here

from populace.cli.experiment.shown import conducted
from populace.core.errors import Interrupted, RunFailed, ScenarioError, SettingsError
from populace.experiments import Arm, Audit, conducting
from populace.experiments.audits.arms import settings_audit, with_audit
from populace.experiments.audits.auditing import audit
from populace.experiments.audits.claims import fewest_to_decide, found_in, status_of, tally
from populace.experiments.audits.record import read_audits
from populace.experiments.audits.shown import as_text, claim_line
from populace.experiments.design import read_design
from populace.experiments.report.leads import leads_of
from populace.experiments.report.sections import audits as report_section
from populace.experiments.results import Results
from populace.runs.stop import Stop

LEVEL = 0.7
"""Five replicates that agree decide at this level, ten at 0.95. Chance claims more often, but not with these seeds."""


@pytest.fixture(scope="module")
def held(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("audited") / "appeal"
    run_here(experiment, out, dry=False)
    return out


@pytest.fixture(scope="module")
def audited(held):
    names = ["option order", "half the step", "other words", "persona shuffle", "placebo lever"]
    return audit(held, only=names, also=["society.stepp=2"], level=LEVEL)


def found(audited, name):
    (claim,) = audited.claims
    return next(one for one in claim.audits if one.name == name)


def test_a_claim_that_is_true_outlives_what_should_not_matter(audited, held):
    (claim,) = audited.claims
    assert (claim.shown, claim.declared, claim.direction, claim.measure) == (True, True, "up", "sign")
    assert found(audited, "option order").status == found(audited, "half the step").status == "survived"
    assert (claim.survived, claim.of) == (2, 3)
    half = found(audited, "half the step").effect
    assert half.replicates == REPLICATES - 1
    assert half.mean == pytest.approx(Results(held).paired("mood", "appeal")[:-1].mean() / 2)
    assert claim.range[0] <= half.mean < claim.range[1]
    assert "It survives 2 of 3 perturbations" in as_text(audited)


def test_an_artefact_of_the_wording_is_found(audited):
    assert found(audited, "other words").status in ("open", "reversed", "vanished")
    assert found(audited, "other words").asked_anew > 0


def test_an_artefact_of_the_order_of_options_is_found(tmp_path):
    """The same, where what stands first is answered: an effect of the order of options alone."""
    run_here(replace(experiment, parameters={"ballot": True}), tmp_path / "ballot", dry=False)
    artefact = audit(tmp_path / "ballot", only=["option order"], level=LEVEL)
    assert artefact.claims[0].shown
    assert found(artefact, "option order").status in ("open", "reversed", "vanished")
    assert "It survives 0 of 1" in as_text(artefact)


def test_the_effect_is_gone_under_controls_that_take_its_cause_away(audited):
    (claim,) = audited.claims
    assert found(audited, "persona shuffle").status == found(audited, "placebo lever").status == "holds"
    placebo = found(audited, "placebo lever")
    assert placebo.effect.mean == 0.0
    assert placebo.asked_anew == placebo.calls == 0
    assert claim.controls_hold
    assert "no effect can be claimed" in as_text(audited)


def test_a_control_that_takes_no_cause_away_says_that_the_effect_remains(held, audited):
    """The other side of the one before: the lever itself in the placebo's place, beside one that is a placebo."""
    before = read_design(held)
    sham = replace(
        experiment,
        audits=[Audit("no placebo", levers=[APPEAL]), Audit("good day", levers=[GREETING]), *experiment.audits],
    )
    run_here(sham, held, dry=False)
    assert [one.name for one in read_design(held).audits][:2] == ["no placebo", "good day"]
    assert read_design(held).digest == before.digest
    again = audit(held, only=["no placebo", "good day"], level=LEVEL)
    assert found(again, "no placebo").status == "remains"
    assert found(again, "good day").status == "holds"
    assert again.claims[0].controls_hold is False
    assert "Under no placebo an effect remains" in as_text(again)


def test_a_claim_that_is_built_on_a_placebo_fails(tmp_path):
    built = replace(experiment, arms={"control": Arm(), "greeted": Arm(levers=[GREETING])})
    run_here(built, tmp_path / "x", dry=False)
    claims = audit(tmp_path / "x", only=["half the step"], level=LEVEL)
    assert not claims.claims[0].shown
    assert claims.claims[0].survived == 0
    assert "Not decided by the sequential rule with 6 replicates" in as_text(claims)
    against = msgspec.structs.replace(claims.claims[0].original, verdict="below")
    otherwise = msgspec.structs.replace(claims.claims[0], original=against)
    assert "The experiment itself does not show it: by 6 replicates" in claim_line(otherwise)
    leads = [one.text for one in leads_of(Results(tmp_path / "x"), None, {})]
    assert any("Audits: greeted" in one and "survives 0 of" in one for one in leads)
    (tmp_path / "x" / "audits.json").unlink()
    assert not any("Audits" in one.text for one in leads_of(Results(tmp_path / "x"), None, {}))


def test_too_few_replicates_are_refused_before_anything_is_played(held, tmp_path):
    """Six that agree cannot decide at 95 %, and can at 70 %; only what is asked for by name plays them all the same."""
    assert fewest_to_decide(None) == fewest_to_decide((0.0, 3.0)) == 10
    assert found_in(np.ones(9), None).verdict == "open"
    run = command("experiment", "audit", str(held), "--out", "few", cwd=tmp_path)
    assert run.returncode == 2, run.stderr
    assert "6 replicates cannot decide any audit" in run.stderr
    assert "--replicates 10" in run.stderr
    assert not (tmp_path / "few").exists()
    lower = float(run.stderr.partition("or claim less surely: --level ")[2].split(". ")[0])
    assert fewest_to_decide(None, level=lower) == 6
    told = []
    played = audit(held, only=["option order"], out=tmp_path / "few", anyway=True, note=told.append)
    assert "cannot decide" in told[0]
    assert found(played, "option order").asked_anew > 0  # and yet each run is as it was: nothing was tried
    assert found(played, "option order").status == "idle"
    assert played.claims[0].of == 0


def test_forks_pay_only_for_what_is_asked_otherwise_and_no_run_is_played_twice(held, audited):
    assert found(audited, "half the step").asks > found(audited, "other words").asked_anew > 0
    assert found(audited, "half the step").asked_anew < found(audited, "other words").asked_anew
    assert audited.calls == sum(one.calls for one in audited.claims[0].audits)
    then = {path: path.stat().st_mtime_ns for path in held.glob("audits/*/manifest.json")}
    again = audit(held, only=["half the step", "other words"], level=LEVEL)
    assert found(again, "other words") == found(audited, "other words")
    assert {path: path.stat().st_mtime_ns for path in held.glob("audits/*/manifest.json")} == then
    assert read_audits(held) == again


def test_each_audit_ends_once_it_is_decided(held, audited, tmp_path):
    assert found(audited, "half the step").effect.replicates == REPLICATES - 1
    assert len(list(held.glob("audits/half-the-step.*/manifest.json"))) == 2 * (REPLICATES - 1)
    elsewhere = audit(held, only=["placebo lever"], replicates=2, level=LEVEL, anyway=True, out=tmp_path / "elsewhere")
    assert len(list((tmp_path / "elsewhere" / "audits").glob("*/manifest.json"))) == 2
    assert read_audits(tmp_path / "elsewhere") == elsewhere


def test_what_cannot_be_played_says_why(audited):
    one = found(audited, "society.stepp=2")
    assert one.status == "not done"
    assert "Is 'society.step' meant?" in one.why


def test_perturbations_that_rules_cannot_read_try_nothing(ran, tmp_path):
    shutil.copytree(ran.folder, tmp_path / "small")
    tried = audit(tmp_path / "small", only=["option order"], arms=["moved"], outcome="mean", replicates=3, anyway=True)
    assert found(tried, "option order").status == "idle"
    assert tried.claims[0].of == 0


def test_what_no_fork_can_change_is_played_by_itself(held):
    design = read_design(held)
    smaller = settings_audit("agents=8")
    derived, pairs = with_audit(design, smaller, ["appeal"])
    pair = pairs["appeal"]
    assert derived.arm(pair.control).base == ""
    assert (derived.arm(pair.treated).base, derived.arm(pair.treated).at_tick) == (pair.control, 2)
    derived, pairs = with_audit(design, settings_audit("model.temperature=0.1"), ["appeal"])
    assert derived.arm(pairs["appeal"].control).base == "control"


def test_the_command_tells_and_refuses(held, tmp_path):
    given = ("experiment", "audit", str(held), "--only", "placebo lever", "--only", "other words")
    run = command(*given, "--replicates", "2", "--anyway", "--jobs", "2", "--out", "here", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "| placebo lever (control) | holds" in run.stdout
    assert "placebo lever, appeal: holds" in run.stderr
    (begun,) = [one for one in map(json.loads, run.stderr.splitlines()) if one["event"] == "begin"]
    assert (begun["jobs"], begun["runs"]) == (2, 6), "one progress over all audits"
    here = {one.name: one for one in read_audits(tmp_path / "here").claims[0].audits}
    alone = audit(held, only=["placebo lever", "other words"], replicates=2, anyway=True, out=tmp_path / "alone")
    assert here == {one.name: one for one in alone.claims[0].audits}, "side by side as one after another"
    plain = json.loads((tmp_path / "here" / "audits.json").read_text())
    assert len(plain["columns"]) == len(plain["rows"][0])
    shutil.copy(tmp_path / "here" / "audits.json", held)
    (section,) = [one for one in [report_section(Results(held))] if one is not None]
    assert "Under the controls no effect can be claimed" in str(section)
    assert plain["claims"][0]["audits"][0]["status"] == "holds"
    wrong = command("experiment", "audit", str(held), "--only", "placbo", cwd=tmp_path)
    assert wrong.returncode != 0
    assert "there is no such audit; there are option order" in wrong.stderr


def test_an_audit_that_is_ended_says_how_all_of_it_goes_on(held, tmp_path):
    stop, seen = Stop(), Seen()
    seen.started = lambda task: stop()
    with pytest.raises(Interrupted) as ended, conducted(io.StringIO(), quiet=True, again="populace experiment audit x"):
        audit(held, only=["other words"], level=LEVEL, out=tmp_path / "ended", watcher=seen, stop=stop)
    assert ended.value.__notes__ == ["to go on: populace experiment audit x"]
    done = audit(held, only=["other words"], level=LEVEL, out=tmp_path / "ended")
    assert found(done, "other words").effect is not None


def test_a_run_that_fails_ends_its_audit_alone(held, tmp_path, monkeypatch):
    as_it_is = conducting.play

    def play(folder, design, task, *args, **ways):
        if "other words" in task.arm:
            raise RunFailed("too many turns failed")
        return as_it_is(folder, design, task, *args, **ways)

    monkeypatch.setattr(conducting, "play", play)
    done = audit(held, only=["other words", "placebo lever"], level=LEVEL, out=tmp_path / "failing")
    assert (found(done, "other words").status, found(done, "placebo lever").status) == ("not done", "holds")
    assert "too many turns failed" in found(done, "other words").why


def test_errors_name_what_is_wrong(held, tmp_path):
    with pytest.raises(SettingsError, match="is the control"):
        audit(held, arms=["control"])
    with pytest.raises(SettingsError, match=r"no outcome 'moood'"):
        audit(held, outcome="moood")
    with pytest.raises(SettingsError, match="write it as key=value"):
        audit(held, also=["temperature"])
    (tmp_path / "audits.json").write_text("{}")
    with pytest.raises(SettingsError, match=r"audits\.json: is not what populace wrote"):
        read_audits(tmp_path)


@pytest.mark.parametrize(
    ("audits", "said"),
    [
        ([Audit("topology", reword={"a": "b"})], "another one has this name"),
        ([Audit("x")], "changes nothing"),
        ([Audit("x", levers=[APPEAL], reword={"a": "b"})], "stand alone"),
        (["x"], "an audit is an Audit"),
    ],
)
def test_audits_that_cannot_be_are_refused_with_their_line(audits, said):
    with pytest.raises(ScenarioError, match=rf"test_auditing.py:\d+: .*{said}"):
        replace(experiment, audits=audits)


def test_looking_often_claims_nothing_by_itself():
    """Of 60 experiments without any effect, looked at after each of 20 replicates, at most 5 % claim one.

    The control looks at a plain t-interval after each.
    """
    draws = np.random.default_rng(5).normal(size=(60, 20))
    claims = sum(found_in(one, None).verdict != "open" for one in draws)
    assert claims <= 3
    looks = np.arange(5, 21)
    means = np.cumsum(draws, axis=1)[:, looks - 1] / looks
    errors = np.array([[one[:n].std(ddof=1) / n**0.5 for n in looks] for one in draws])
    assert (np.abs(means / errors) > 2.05).any(axis=1).mean() > 0.1


def test_with_bounds_the_mean_difference_is_looked_at():
    strong = found_in(np.full(40, 3.0), (0.0, 5.0))
    assert strong.verdict == "above"
    assert strong.low > 0.0
    assert found_in(np.zeros(60), (0.0, 1.0), margin=0.4).verdict == "negligible"
    with pytest.raises(ScenarioError, match="outside"):
        found_in(np.full(4, 7.0), (0.0, 5.0))
    with pytest.raises(ScenarioError, match="finite"):
        found_in(np.array([1.0, np.nan]), None)


def test_what_a_verdict_makes_of_a_claim():
    up, down = found_in(np.ones(12), None), found_in(-np.ones(12), None)
    nothing, unknown = found_in(np.zeros(30), None), found_in(np.zeros(3), None)
    assert [status_of(one, "perturbation", "up") for one in (up, down, nothing, unknown)] == [
        "survived", "reversed", "vanished", "open",
    ]  # fmt: skip
    assert [status_of(one, "control", "up") for one in (up, down, nothing)] == ["remains", "remains", "holds"]
    assert tally(up, [])["of"] == 0
