"""What a perturbation changes of a society, and what it leaves."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from support.audited_experiment import experiment, society

from populace import Parameters, Setup
from populace.core.draws import Draws
from populace.core.errors import ScenarioError
from populace.data.from_python import origin_of
from populace.data.societies import load_society
from populace.experiments.audits.declared import Perturbation
from populace.experiments.audits.perturbed import origin_with, perturbed, reordered, swapped
from populace.experiments.design import Design
from populace.experiments.planning import plan


def setup(agents: int = 12) -> Setup:
    return Setup(agents, 3, society.parameters, 1.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Reply with agree or disagree.", "Reply with disagree or agree."),
        ("(agree/disagree)", "(disagree/agree)"),
        ("Do you agree? agree or disagree", "Do you agree? agree or disagree"),
        ("Do you?", "Do you?"),
    ],
)
def test_labels_change_places_in_a_text_that_has_each_once(text, said):
    assert reordered(text, ("agree", "disagree"), ("disagree", "agree")) == said


def test_three_labels_keep_their_places_filled():
    assert reordered("b, then a, or c", ("a", "b", "c"), ("c", "a", "b")) == "a, then c, or b"


@pytest.mark.parametrize("mutual", [True, False])
def test_swapped_ties_keep_degrees_and_make_no_loop_and_none_twice(mutual):
    edges = {(i, (i + step) % 30) for i in range(30) for step in (1, 2)}
    edges |= {(b, a) for a, b in edges} if mutual else set()
    source, target = np.array(sorted(edges)).T
    new_source, new_target = swapped(source, target, 1.0, Draws(1))
    made = set(zip(new_source.tolist(), new_target.tolist(), strict=True))
    assert len(made) == len(edges)
    assert len(made - edges) > len(edges) / 3
    assert all(a != b for a, b in made)
    assert np.array_equal(np.bincount(new_source), np.bincount(source))
    assert np.array_equal(np.bincount(new_target), np.bincount(target))
    assert all((b, a) in made for a, b in made) == mutual
    assert np.array_equal(swapped(source, target, 0.0, Draws(1)), (source, target))


def test_a_world_is_rewired_before_it_is_opened():
    before = society.world(setup(), society.population(setup())).network.out
    other = perturbed(society, Perturbation(rewire=1.0))
    after = other.world(setup(), other.population(setup())).network.out
    assert not np.array_equal(before.targets, after.targets)
    assert np.array_equal(np.bincount(before.sources()), np.bincount(after.sources()))


def test_personas_are_dealt_anew_whole_and_the_rest_stays():
    people = society.population(setup())
    dealt = perturbed(society, Perturbation(shuffle=["profile"])).population(setup())
    assert sorted(dealt["profile"]) == sorted(people["profile"])
    assert dealt["profile"] != people["profile"]
    assert dealt["side"] == people["side"]
    both = perturbed(society, Perturbation(shuffle=["profile", "side"])).population(setup())
    pairs = set(zip(both["side"], both["profile"], strict=True))
    assert pairs == set(zip(people["side"], people["profile"], strict=True))
    worded = perturbed(society, Perturbation(personas={"You lean": "Leans"})).population(setup())
    assert worded["profile"][0] == "Leans left."
    with pytest.raises(ScenarioError, match=r"no such column; it has side, profile"):
        perturbed(society, Perturbation(shuffle=["persona"])).population(setup())


def test_the_text_of_a_perturbed_society_makes_it_in_any_process():
    origin = origin_of(society)
    again = load_society(origin_with(origin, Perturbation(personas={"You lean": "Leans"})))
    assert again.population(setup())["profile"][1] == "Leans right."
    assert load_society(origin).population(setup())["profile"][1] == "You lean right."
    assert isinstance(again.parameters, Parameters)


def test_bounds_and_audits_are_on_record_as_they_were_declared():
    design = plan(experiment)
    there = msgspec.json.decode(msgspec.json.encode(design), type=Design)
    assert there == design
    assert there.digest == design.digest
    assert there.outcome("people").bounds == (0.0, 100.0)
    assert [one.name for one in there.audits] == ["half the step", "other words"]
