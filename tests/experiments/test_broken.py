"""Designs that could show nothing: each is refused with its line before any model is asked."""

from __future__ import annotations

import math

import pytest
from support.command import populace as command
from support.experiments import Seen, changed, line_of, run_here

from populace.core.errors import ScenarioError
from populace.experiments import Arm, Each, Experiment, Outcome, Stopping, Subgroup
from populace.experiments.design import read_design, write_design
from populace.experiments.planning import plan

SILENCED = '{"at": 3, "block": {"sender": {"share": 0.3}}}'
OUTCOMES = '[Outcome("spread", direction={"silenced": "up"}), "mean", "heard"]'
IMPORTS = "from populace.experiments import Arm, Experiment, Outcome"
PAID = {"model.kind": "openai", "model.name": "any", "endpoint.base_url": "http://127.0.0.1:9/v1"}
"""A model that cannot be reached: a design that was let through would end with another error."""

OPEN = 'Arm(parameters={"openness": 0.9})'

BY_DESIGN = {
    "a lever after the horizon": (
        SILENCED, SILENCED.replace("3,", "6,"), "takes effect at tick 6, and the runs end after tick 5",
    ),
    "two identical arms": (OPEN, OPEN.replace("0.9", "0.5"), "'control' and 'open' are the same"),
    "a mistyped outcome": (
        '"mean", "heard"]', '"meen", "heard"]',
        "no outcome 'meen'; it has mean, spread, heard, people. Is 'mean' meant?",
    ),
    "a group without members": (SILENCED, SILENCED.replace('{"share": 0.3}', '{"where": {"group": 7}}'), "group"),
    "an unknown parameter": (SILENCED, '{"at": 3, "set": {"society.opennes": 1}}', "opennes"),
    "a lever of no kind": (SILENCED, '{"at": 3, "blok": {"sender": "all"}}', "one of set, send, block and change"),
    "an arm's own seed": (OPEN, 'Arm(settings={"seed": 9})', "seed is the experiment's"),
}  # fmt: skip

BY_A_DRY_PASS = {
    "a trigger that never fires": (
        SILENCED, '{"when": {"outcomes": {"mean": {"min": 100}}}, "block": {"sender": "all"}}', "refuses no message",
        "idle_lever", '{"when"',
    ),
    "a lever that changes nothing": (
        SILENCED, '{"at": 3, "set": {"society.openness": 0.5}}', "its runs are those of 'control'",
        "alike", '"silenced": Arm',
    ),
    "an outcome that no lever can move": (
        '"mean", "heard"]', '"mean", "heard", "people"]', "outcome 'people' is the same in every arm",
        "still_outcome", "outcomes=[",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_DESIGN)
def test_a_broken_design_is_refused_with_its_line(tmp_path, case):
    old, new, said = BY_DESIGN[case]
    file = changed(tmp_path, (old, new))
    with pytest.raises(ScenarioError, match=said) as caught:
        run_here(file, tmp_path / "out", settings=PAID)
    assert str(caught.value).startswith(f"{file}:{line_of(file, new)}: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", BY_A_DRY_PASS)
def test_what_a_dry_pass_finds_is_refused_with_its_line(tmp_path, case):
    old, new, said, _, at = BY_A_DRY_PASS[case]
    file = changed(tmp_path, (old, new))
    with pytest.raises(ScenarioError, match=said) as caught:
        run_here(file, tmp_path / "out", settings=PAID)
    assert str(caught.value).startswith(f"{file}:{line_of(file, at)}: ")
    assert "dry pass on the society's rules" in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("case", BY_A_DRY_PASS)
def test_control_what_is_accepted_and_what_is_not_looked_for_passes(tmp_path, case):
    """So it is the check that refuses them, and nothing else."""
    old, new, said, check, _ = BY_A_DRY_PASS[case]
    accepted = (check,) if check == "still_outcome" else (check, "alike", "still_outcome")
    accept = ("    replicates=3,\n", f"    replicates=3,\n    accept={accepted!r},\n")
    file = changed(tmp_path, (old, new), accept)
    seen = Seen()
    assert run_here(file, tmp_path / "out", seen=seen, replicates=1).status == "complete"
    assert any(said in note for note in seen.notes)
    undried = changed(tmp_path, (old, new))
    assert run_here(undried, tmp_path / "undried", replicates=1, dry=False).status == "complete"


def with_instrument(folder, items, key):
    mood = f'Outcome("mood", instrument=Instrument("mood", "", "", "", [{items}], [Scale("mood", {key})]))'
    return changed(
        folder, (IMPORTS, f"{IMPORTS}\nfrom populace.probes import Instrument, Item, Scale"),
        ('"mean", "heard"]', f'"mean",\n        {mood}]'),
    )  # fmt: skip


def test_an_instrument_with_a_missing_item(tmp_path):
    there, missing = 'Item("attitude", "", 0, 99)', 'Item("calm", "", 0, 3)'
    file = with_instrument(tmp_path, f"{there}, {missing}", '{"attitude": 1, "calm": 1}')
    with pytest.raises(ScenarioError, match="agents of neighbours have no public field calm") as caught:
        run_here(file, tmp_path / "out", settings=PAID)
    line = line_of(file, 'Outcome("mood"')
    assert str(caught.value).startswith(f"{file}:{line}: ")


def test_an_instrument_is_scored_from_public_fields(tmp_path):
    file = with_instrument(tmp_path, 'Item("attitude", "", 0, 99)', '{"attitude": 1}')
    results = run_here(file, tmp_path / "out", replicates=1, dry=False)
    assert results.values("mood", "moved") == pytest.approx(results.values("mean", "moved"))
    assert set(results.outcomes["outcome"]) == {"mean", "spread", "heard", "people", "mood"}


def test_what_is_no_experiment_is_refused_where_it_is_made(tmp_path):
    cases = [
        ('"control": Arm(),', '"control": {},', "arm 'control' has to be an Arm"),
        (OUTCOMES, "[]", "say what is compared"),
        (OUTCOMES, '["mean", "mean"]', "outcome 'mean' is named twice"),
        ('direction={"silenced": "up"}', 'direction={"quiet": "up"}', "a direction is of an arm against the control"),
        ("    replicates=3,", "    replicates=0,", "replicates are 1 or more"),
        ("    replicates=3,", '    primary="men", replicates=3,', "'men' is no outcome"),
        ("    replicates=3,", '    control="none", replicates=3,', "'none' is no arm"),
        ("    replicates=3,", '    accept=["all"], replicates=3,', "'all' is nothing that is checked"),
    ]
    for old, new, said in cases:
        file = changed(tmp_path, (old, new))
        with pytest.raises(ScenarioError, match=said) as caught:
            run_here(file, tmp_path / "out")
        assert f"{file}:{line_of(file, new.strip())}" in str(caught.value), said


def test_names_of_what_is_not_there(tmp_path):
    with pytest.raises(ScenarioError, match="holds no experiment"):
        run_here("games", tmp_path / "out")
    with pytest.raises(ScenarioError, match="no scenario 'nowhere'"):
        run_here("nowhere", tmp_path / "out")
    done = command("experiment", "run", "nowhere", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "no scenario 'nowhere'" in done.stderr


def test_a_society_that_fails_in_the_dry_pass_is_named_with_its_arm(tmp_path):
    line = "        self.heard += len(ctx.inbox)\n"
    file = changed(tmp_path, (line, f"{line}        assert self.attitude < 8.5\n"))
    with pytest.raises(ScenarioError, match=r"arm 'moved': \d+ of \d+ turns failed") as caught:
        run_here(file, tmp_path / "out", settings=PAID)
    line = line_of(file, '"moved": Arm')
    assert str(caught.value).startswith(f"{file}:{line}: ")


ODD = {
    "a stopping rule that is none": (lambda: {"stopping": {"batch": 2}}, r"has to be a Stopping\(...\), not a dict"),
    "half a replicate a batch": (lambda: {"stopping": Stopping(batch=2.5)}, "Stopping, batch: Expected int"),
    "a margin without end": (lambda: {"stopping": Stopping(margin=math.inf)}, "margin: inf is no finite number"),
    "a width in words": (lambda: {"stopping": Stopping(width="x")}, "Stopping, width: Expected float"),
    "bounds without end": (lambda: outcome(bounds=(0, math.inf)), r"bounds \(0, inf\): two numbers"),
    "one bound": (lambda: outcome(bounds=(0,)), "two numbers"),
    "bounds in words": (lambda: outcome(bounds="ab"), "two numbers"),
    "a direction of no kind": (lambda: outcome(direction={"open": "sideways"}), "'up' or 'down', not 'sideways'"),
    "read in no way": (lambda: outcome(read="last"), "not 'last'"),
    "a tick between two": (lambda: outcome(at=1.5), r"outcomes\[0\].at: Expected int"),
    "each that is none": (lambda: outcome(each=3), "has to be a Each"),
    "each read in no way": (lambda: outcome(each=Each("attitude", read="moved")), "Each, read: Invalid enum value"),
    "each by less than nothing": (lambda: outcome(each=Each("attitude", read="rose", by=-1.0)), "by=-1: more than"),
    "each by more of what has none": (lambda: outcome(each=Each("attitude", by=1.0)), "with read='rose'"),
    "a distance from nothing": (lambda: outcome(each=Each("attitude", distance_from=math.nan)), "nan is no finite"),
    "subgroups that are none": (lambda: {"subgroups": None}, "subgroups=\\['income'"),
    "cuts that go down": (lambda: grouped(cuts=(50, 30)), "each cut lies above"),
    "a cut at nothing": (lambda: grouped(cuts=(math.nan,)), r"cuts\[0\]: nan is no finite number"),
    "one cut, not in a row": (lambda: grouped(cuts=40), "Subgroup, cuts: Expected array"),
    "fewer parts than none": (lambda: grouped(parts=-1), "parts=-1: from 2 to 100"),
    "more parts than memory": (lambda: grouped(parts=10**9), "from 2 to 100"),
    "cuts and parts": (lambda: grouped(cuts=(40,), parts=2), "cuts or parts, not both"),
    "one name for two groups": (lambda: grouped(cuts=(40,), names=("a", "a")), "a name of its own"),
    "replicates in words": (lambda: {"replicates": "3"}, "a whole number, not '3'"),
    "a number for an arm": (lambda: {"arms": {1: Arm(), 2: Arm()}}, "an arm's name is a text"),
    "a name without end": (lambda: {"name": "x" * 101}, "at most 100 characters"),
    "a parameter of nothing": (
        lambda: {"arms": {"control": Arm(), "open": Arm(parameters={"openness": math.nan})}},
        "arms.open.parameters.openness: nan is no finite number",
    ),
    "a figure without end": (lambda: {"published": {"variance": {"open": math.inf}}}, "published.variance.open: inf"),
}  # fmt: skip


def outcome(**given):
    return {"outcomes": [Outcome("variance", **given)]}


def grouped(**given):
    return outcome(each="attitude") | {"subgroups": [Subgroup("age", **given)]}


def planned(**given):
    arms = {"control": Arm(), "open": Arm(parameters={"openness": 0.9})}
    given = {"arms": arms, "outcomes": ["variance"], "agents": 8, "ticks": 2} | given
    return plan(Experiment("polarization", **given))


@pytest.mark.parametrize("case", ODD)
def test_what_could_not_be_written_down_and_read_again_is_refused_with_its_line(case):
    """Each was an error of Python's, or was written to experiment.json so that nothing could read it any more."""
    given, said = ODD[case]
    with pytest.raises(ScenarioError, match=said) as caught:
        planned(**given())
    assert str(caught.value).startswith(f"{__file__}:")


def test_what_is_refused_has_neighbours_that_are_written_and_read_again(tmp_path):
    design = planned(
        outcomes=[Outcome("variance", bounds=(0, 25), each=Each("attitude", read="rose", by=1))],
        subgroups=[Subgroup("age", cuts=[30, 50], names=["young", "<b>\u202e", "old"]), Subgroup("income", parts=100)],
        stopping=Stopping(batch=2, width=1, margin=0), name="x" * 100,
    )  # fmt: skip
    write_design(tmp_path, design)
    assert read_design(tmp_path) == design
    assert read_design(tmp_path).digest == design.digest  # else the same file would be another experiment
