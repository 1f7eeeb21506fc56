"""An experiment that goes on until it is clear: it ends when it may, and claims by what holds at every look alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy import stats
from support.command import populace as command
from support.experiments import SMALL, Seen, changed, run_here

from populace.core.errors import Interrupted, ScenarioError, SettingsError
from populace.experiments import Stopping, inference
from populace.experiments.design import read_design, write_design
from populace.experiments.front import go_on
from populace.experiments.loading import find_experiment
from populace.experiments.looking import looked_at, next_replicates
from populace.experiments.pilot import plan_from, told
from populace.experiments.planning import plan
from populace.experiments.report.made import report_of
from populace.experiments.results import Results
from populace.experiments.schedule import Schedule
from populace.experiments.stopping import until
from populace.runs.stop import Stop

PLAIN = (
    ('"silenced": Arm(levers=[{"at": 3, "block": {"sender": {"share": 0.3}}}]),', ""),
    ('"moved": Arm(levers=[{"at": 4,', '"moved": Arm(levers=[{"at": 1,'),
    ('"open": Arm(parameters={"openness": 0.9}),', ""),
    ('Outcome("spread", direction={"silenced": "up"}), "mean", "heard"', 'Outcome("mean", bounds=(3, 9.5)), "heard"'),
    ("import Arm, Experiment, Outcome", "import Arm, Experiment, Outcome, Stopping"),
)
CLEAR = (*PLAIN, ("    replicates=3,", "    replicates=40, agents=8, ticks=3, stopping=Stopping(batch=8),"))


@pytest.fixture(scope="module")
def clear(tmp_path_factory):
    """One arm that moves everybody, looked at after each eight replicates."""
    folder: Path = tmp_path_factory.mktemp("clear")
    seen = Seen()
    results = run_here(changed(folder, *CLEAR), folder / "out", dry=False, seen=seen)
    return results, seen


def test_it_ends_at_the_first_look_at_which_every_arm_is_decided(clear):
    results, seen = clear
    looked = looked_at(results)
    many = results.design.replicates
    assert 8 < many < 40
    assert many % 8 == 0
    assert results.status == "complete"
    assert len(seen.started_) == 2 * many
    assert results.design.stopping.ended == "decided"
    assert [one.says for one in looked.looks] == ["open"] * (len(looked.looks) - 1) + ["above"]
    assert [one.replicates for one in looked.looks] == list(range(8, many + 1, 8))
    assert seen.notes[-1].startswith(f"after {many} replicates, mean: moved ")
    sequence = inference.confidence_sequence(results.paired("mean", "moved"), -6.5, 6.5)
    assert (looked.looks[-1].low, looked.looks[-1].high) == (sequence.low[-1], sequence.high[-1])


def test_what_is_claimed_is_of_the_anytime_valid_interval_and_of_no_other(clear):
    results, _ = clear
    effects = results.effects()
    mean, heard = effects.of("moved", "mean"), effects.of("moved", "heard")
    assert (mean.interval.method, mean.clear, mean.anytime) == ("anytime-valid", True, True)
    assert mean.interval.low == effects.looked.looks[-1].low
    assert mean.interval.width > 2.0 * mean.effect.t.width, "it pays for every look"
    assert (heard.verdict, heard.anytime, heard.clear) == ("no claim", False, False)
    assert np.isnan(heard.effect.p_adjusted)
    report = report_of(results)
    section = next(one for one in report.sections if one.title == "Stopping")
    assert "anytime-valid" in section.blocks[0].text
    (figure,) = [one for one in report.figures if one.name == "looks"]
    assert len(figure.table.rows) == len(effects.looked.looks)
    said = " ".join(one.text for one in report.leads)
    assert (
        f"It ended after {results.design.replicates} replicates of at most 40: every arm was decided on 'mean'" in said
    )
    assert "95 % anytime-valid interval" in said
    assert "Nothing is claimed of 'heard', for which no bounds are declared" in said


def test_given_again_it_plays_nothing_more_and_one_that_was_interrupted_ends_at_the_same_look(clear, tmp_path):
    results, _ = clear
    file, again = changed(results.folder.parent, *CLEAR), Seen()
    run_here(file, results.folder, seen=again)
    assert not again.started_
    many, out = results.design.replicates, tmp_path / "out"
    shutil.copytree(results.folder, out)
    for one in out.glob(f"*-{many - 1:03}"):
        shutil.rmtree(one)
    before = msgspec.structs.replace(results.design.stopping, ended="")
    write_design(out, msgspec.structs.replace(results.design, replicates=many - 8, stopping=before))
    stop, seen = Stop(), Seen()
    seen.ended = lambda one: stop()
    with pytest.raises(Interrupted):
        run_here(file, out, seen=seen, stop=stop)
    assert seen.started_ == [f"control-{many - 1:03}"], "the next batch: what stood there is not played again"
    whole = go_on(out, Seen(), Stop(), jobs=1)
    assert (whole.design.replicates, whole.design.stopping) == (many, results.design.stopping)
    assert np.array_equal(whole.paired("mean", "moved"), results.paired("mean", "moved"))


def test_it_ends_at_the_most_replicates_where_nothing_is_to_be_seen(tmp_path):
    """Control: what an arm does is nothing, so nothing is claimed, and the most replicates are played."""
    few = "margin=0.001"
    sham = ('"fields": {"attitude": 9.0}', '"fields": {"group": 1}')
    cap = ("    replicates=3,", "    replicates=3, agents=6, ticks=3, accept=['alike', 'still_outcome'],")
    done = run_here(changed(tmp_path, *PLAIN, sham, cap), tmp_path / "out", dry=False, until=few)
    assert (done.design.replicates, done.design.stopping.ended) == (3, "replicates")
    found = done.effects().of("moved", "mean")
    assert (found.verdict, found.effect.difference) == ("not shown", 0.0)
    assert any("not decided in every arm" in one.text for one in report_of(done).leads)


def test_the_command_plays_batches_and_says_how_it_ended(tmp_path):
    file = changed(tmp_path, *PLAIN, ("    replicates=3,", "    replicates=3, agents=6, ticks=2,"))
    given = ("experiment", "run", file, "--out", "out", "--no-dry", "--jobs", "2", "--until")
    done = command(*given, "width=0.1,batch=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    looks = [json.loads(line)["text"] for line in done.stderr.splitlines() if '"note"' in line]
    assert [one.partition(":")[0] for one in looks] == ["after 2 replicates, mean", "after 3 replicates, mean"]
    design = read_design(tmp_path / "out")
    assert (design.replicates, design.stopping.ended) == (3, "replicates")
    with pytest.raises(SettingsError, match=r"write --until clear, --until width=0\.1"):
        run_here(file, tmp_path / "out", until="peek")
    with pytest.raises(SettingsError, match="holds another experiment than this one: stopping differ"):
        run_here(file, tmp_path / "out", until="width=1")
    narrow = looked_at(Results(tmp_path / "out"))
    (last,) = [one for one in narrow.looks if one.replicates == 3]
    wide = msgspec.structs.replace(design, stopping=Stopping(batch=2, most=3, width=last.high - last.low))
    results = Results(tmp_path / "out")
    results.design = wide
    assert [one.says for one in looked_at(results).looks][-1] == "narrow"


def test_money_that_would_not_last_for_another_batch_ends_it(clear, monkeypatch):
    results, _ = clear
    rich = msgspec.structs.replace(results.design, stopping=Stopping(batch=8, most=40, width=0.001))
    schedule = Schedule(results.folder, rich)
    looked = looked_at(Results(results.folder))
    undecided = msgspec.structs.replace(rich.stopping, width=None)
    assert next_replicates(looked, schedule)[1] == "decided"
    monkeypatch.setattr(type(looked), "decided", property(lambda self: False))
    assert next_replicates(looked, schedule) == (rich.replicates + 8, "")
    settings = {**rich.settings, "budget": {**rich.settings["budget"], "experiment_usd": 1.2}}
    poor = Schedule(results.folder, msgspec.structs.replace(rich, settings=settings, stopping=undecided))
    monkeypatch.setattr(Schedule, "cost_usd", property(lambda self: 1.0))
    assert next_replicates(looked, poor) == (rich.replicates, "money")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((", bounds=(3, 9.5)", ""), r":\d+: outcome 'mean' has no bounds, and an interval that holds at every look"),
        (("Stopping(batch=8)", "Stopping(batch=0)"), r":\d+: batch=0"),
        (("Stopping(batch=8)", "Stopping(outcome='men')"), "'men' is no outcome of it; there are mean, heard"),
        (("replicates=40", "replicates=8"), "8 replicates cannot decide, not even if all of them differ"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_with_its_line(tmp_path, change, said):
    path = Path(changed(tmp_path, *CLEAR))
    path.write_text(path.read_text().replace(*change))
    with pytest.raises((ScenarioError, SettingsError), match=said):
        run_here(str(path), tmp_path / "out")


def test_a_value_out_of_the_bounds_is_named(clear):
    results = Results(clear[0].folder)
    mean = msgspec.structs.replace(results.design.outcomes[0], bounds=(4.0, 6.0))
    results.design = msgspec.structs.replace(results.design, outcomes=[mean])
    with pytest.raises(ScenarioError, match=r"outcome 'mean' of arm 'moved' has declared bounds 4 to 6: value 0"):
        looked_at(results)


def test_the_rule_is_registered_and_how_far_it_came_is_not(clear):
    design = clear[0].design
    assert msgspec.structs.replace(design, replicates=8, stopping=Stopping(batch=8, most=9)).digest == design.digest
    assert msgspec.structs.replace(design, stopping=Stopping(batch=3, most=40)).digest != design.digest
    assert plan(find_experiment(SMALL)).stopping is None
    assert until("margin=0.1,batch=10", Stopping(width=2.0)) == Stopping(width=2.0, margin=0.1, batch=10)


def test_stopping_by_what_is_seen_errs_seldom_and_by_a_plain_t_often():
    """300 experiments without an effect, looked at after each fifth of 60 replicates."""
    looks = np.arange(5, 61, 5)
    draws = np.random.default_rng(8).uniform(-1.0, 1.0, size=(300, 60))
    p = np.array([inference.anytime_p(one, -1.0, 1.0)[looks - 1] for one in draws])
    assert (p <= 0.05).any(axis=1).mean() <= 0.05
    assert (np.diff(p, axis=1) <= 0.0).all()
    peeked = [stats.ttest_1samp(draws[:, :n], 0.0, axis=1).pvalue for n in looks]
    assert (np.array(peeked).T <= 0.05).any(axis=1).mean() > 0.12
    for one in draws[:4] + 0.3:
        sequence = inference.confidence_sequence(one, -2.0, 2.0)
        out = (sequence.low > 0.0) | (sequence.high < 0.0)
        assert ((inference.anytime_p(one, -2.0, 2.0) <= 0.05) == out).all(), "p and interval say the same at every look"


def test_power_counts_by_the_rule_where_there_is_one_and_finds_what_the_experiment_finds(clear):
    results = clear[0]
    pairs = results.paired("mean", "moved")
    (planned,) = plan_from(results, "mean", float(pairs.mean()))
    half, more = planned.sequential
    assert half <= more <= results.design.replicates  # it was clear at this look
    assert planned.needed.replicates < half
    assert "intervals that hold at every look" in told(planned)
    (unbounded,) = plan_from(results, "heard", 1.0)
    assert "claims nothing of 'heard'" in told(unbounded)


def test_how_many_looks_it_takes_goes_by_effect_and_bounds():
    def looks(effect, width=1.0):
        return inference.looks_to_clear(draws, effect, -width, width, most=120)

    draws = np.random.default_rng(3).normal(0.0, 0.05, size=30)
    assert inference.looks_to_clear(np.ones(4), 1.0, -1.0, 1.0, most=120) == (10, 10)  # as many as can decide at best
    half, more = looks(0.2)
    assert looks(0.1)[0] > half > looks(0.2, width=0.5)[0]
    assert looks(0.0) == (None, None)
    fresh = np.random.default_rng(4).normal(0.2, 0.05, size=(30, more))
    assert np.mean([inference.anytime_p(one, -1.0, 1.0)[-1] <= 0.05 for one in fresh]) > 0.6
