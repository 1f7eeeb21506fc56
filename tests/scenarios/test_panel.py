"""Panel on rules: what is told of a person, and not the arm, is what a twin knows; by lot no text is any help."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import populace
from populace import Setup
from populace.core.draws import Stream
from populace.core.errors import ScenarioError
from populace.env.part import Batch
from populace.probes import IPIP25, alphas, retest_scales
from populace.scenarios import _panel_rules as rules
from populace.scenarios import panel
from populace.scenarios._data import anes96
from populace.scenarios._panel_people import people
from populace.scenarios._panel_world import BLOCKS
from populace.testing import check_society

SEEDS = range(3)
ARMS = {
    "demographics": {"about": "demographics"},
    "persona": {"about": "persona"},
    "quarter": {"kept": 0.25},
    "half": {"kept": 0.5},
    "interview": {},
}


@pytest.fixture(autouse=True, scope="module")
def _in_a_folder_of_its_own(tmp_path_factory):
    with contextlib.chdir(tmp_path_factory.mktemp("runs")):
        yield


def played(seed, model="rules", agents=60, **parameters):
    settings = {"agents.respondent": agents, "agents.twin": agents}
    return populace.run("panel", model=model, seed=seed, settings=settings, parameters=parameters, quiet=True)


def last(*args, **more):
    return played(*args, **more).outcomes.iloc[-1]


@pytest.fixture(scope="module")
def ends():
    return {arm: [last(seed, **parameters) for seed in SEEDS] for arm, parameters in ARMS.items()}


def means(ends, outcome):
    return [float(np.mean([one[outcome] for one in rows])) for rows in ends.values()]


def drawn(number=300, seed=0, **parameters):
    counts = {"respondent": number, "twin": number}
    return people(Setup(2 * number, seed, panel.Dials(**parameters), 86_400.0, counts))


def test_it_is_the_same_on_any_shards_and_after_a_resume():
    check_society("panel", model="rules", ticks=18, settings={"agents.respondent": 4, "agents.twin": 4})


def test_more_is_known_of_who_told_more(ends):
    normalised, r = means(ends, "normalised_accuracy"), means(ends, "trait_correlation")
    assert normalised == sorted(normalised)
    assert r == sorted(r)
    assert normalised[-1] > normalised[0] + 0.1
    assert r[0] < 0.2 < 0.6 < r[-1] < means(ends, "retest_r")[-1]
    for poor, rich in zip(ends["demographics"], ends["interview"], strict=True):
        assert poor["normalised_accuracy"] < rich["normalised_accuracy"]


def test_twins_of_whom_less_is_known_are_made_more_alike(ends):
    far = means(ends, "wasserstein")
    assert far[0] > far[1] > far[-1] > 0.0


def test_what_respondents_answer_does_not_go_by_what_their_twins_are_told(ends):
    for outcome in ("consistency", "retest_r"):
        assert len({tuple(one[outcome] for one in rows) for rows in ends.values()}) == 1


def test_where_statements_show_nothing_of_traits_more_of_them_is_no_help(ends):
    silent = [last(seed, candour=0.0)["normalised_accuracy"] for seed in SEEDS]
    assert np.mean(silent) < means(ends, "normalised_accuracy")[0]


def test_on_the_placebo_no_text_is_any_help():
    ends = [last(0, "scripted", **parameters) for parameters in ARMS.values()]
    assert all(one.equals(ends[0]) for one in ends)
    assert abs(ends[0]["trait_correlation"]) < 0.2


def test_surveys_find_the_same_people_and_two_weeks_between_them():
    run = played(1, agents=40)
    waves = populace.survey(run, "ipip25", [0, 14], type="respondent", quiet=True)
    again = waves.retest()
    assert len(again) == 30
    assert 0.6 < np.mean([again[scale.name].r for scale in IPIP25.scales]) < 0.95
    assert str(again).count("\n") == 30
    assert populace.survey(run, "trust", 0, type="twin", sample=3, quiet=True).tally.asks == 3
    talk = populace.interview(run, agent=45, at_tick=0, quiet=True)
    assert talk.ask("Who are you?").endswith(".")


def test_a_twin_has_nothing_of_its_respondent_but_the_text():
    assert panel.Twin.__struct_fields__[-1] == "about"
    assert set(drawn(3)["twin"].columns) == {"about"}


def test_no_twin_is_without_a_respondent():
    with pytest.raises(ScenarioError, match=r"3 twins for 2 respondents: set agents\.twin to 2"):
        people(Setup(5, 0, panel.Dials(), 86_400.0, {"respondent": 2, "twin": 3}))


def test_texts_hold_more_of_one_and_the_same():
    texts = {arm: drawn(20, **parameters)["twin"]["about"] for arm, parameters in ARMS.items()}
    said = {arm: [{one for one in rules.STATEMENTS if one in text} for text in of] for arm, of in texts.items()}
    assert [len(said[arm][0]) for arm in ARMS] == [0, 3, 6, 12, 24]
    for less, more in zip(list(ARMS)[:-1], list(ARMS)[1:], strict=True):
        assert all(one <= other for one, other in zip(said[less], said[more], strict=True))
    assert texts["demographics"][0].startswith("age: ")
    assert texts["interview"][0].startswith("Who I am. I am ")
    assert not any(party in text for text in texts["demographics"] for party in ("Democrat", "Republican", "liberal"))


def test_respondents_politics_are_real_and_their_personality_has_the_structure_of_the_data():
    both = drawn(600)["respondent"]
    table = anes96()
    assert {(a, b) for a, b in zip(both["age"], both["PID"], strict=True)} <= set(
        zip(table["age"], table["PID"], strict=True)
    )
    waves = []
    for wave in range(2):
        draws = [Stream(0, at, wave, "day") for at in range(600)]
        waves.append({
            name: [
                item.low + rules.answer(item, rules.leaning_now(leans[name], day))
                for leans, day in zip(both["leanings"], draws, strict=True)
            ]
            for name, item in rules.ITEMS.items()
        })  # fmt: skip
    found = alphas(IPIP25, waves[0])
    published = {
        "agreeableness": 0.70, "conscientiousness": 0.73, "extraversion": 0.76, "neuroticism": 0.81, "openness": 0.60,
    }  # fmt: skip
    assert found == pytest.approx(published, abs=0.1)
    again = retest_scales(rules.INSTRUMENT, *waves)
    assert np.median([again[item.name].r for item in IPIP25.rated]) == pytest.approx(rules.STABLE, abs=0.06)
    for name, item in rules.ITEMS.items():
        shares = np.bincount(np.array(waves[0][name], int) - int(item.low), minlength=len(item.labels)) / 600
        assert np.abs(shares - rules.DATA["items"][name]["shares"]).max() < 0.1, name


def test_a_reader_goes_by_each_statement_for_what_it_is_worth():
    traits = rules.TRAITS.index("extraversion")
    of = {degree: text for text, (trait, degree) in rules.STATEMENTS.items() if trait == traits}
    nothing, left = rules.read("")
    assert nothing == pytest.approx(0.0)
    assert left[traits, traits] == pytest.approx(1.0, abs=0.01)
    at = [rules.read(of[degree])[0][traits] for degree in range(5)]
    assert at == sorted(at)
    assert at[2] == pytest.approx(0.0)
    mean, less = rules.read(of[4])
    assert less[traits, traits] < left[traits, traits]
    agreeable = rules.TRAITS.index("agreeableness")
    assert 0.0 < mean[agreeable] < mean[traits], "traits go together, so one tells of the other"
    older, younger = rules.read("age: 70")[0], rules.read("You are 20 years old.")[0]
    assert older[agreeable] > younger[agreeable]


def answered(part, tick, *answers):
    """The reasons why these answers of agent 1 are refused, None where they are taken."""
    args = [{"answers": one} if isinstance(one, list) else one for one in answers]
    batch = Batch(np.full(len(args), 1, np.int32), args)
    part.answer(tick, batch)
    return [batch.refused.get(at) for at in range(len(args))]


def test_answers_are_counted_once_on_their_days_and_only_where_they_fit():
    setup = Setup(4, 0, panel.Dials(), 86_400.0, {"respondent": 2, "twin": 2})
    part = panel.world(setup, drawn(2)).panel
    part.respondents, part.twins, part.given = 2, 2, np.full((2, 4, 28), np.nan)
    fine = [float(item.low) for item in BLOCKS[0]]
    assert answered(part, 0, fine, fine) == [None, "answered"]
    assert answered(part, 14, fine) == [None]
    assert answered(part, 4, fine) == answered(part, 28, fine) == ["no_sitting"]
    wrong = [fine[:-1], [*fine[:-1], 9.0], [*fine[:-1], "agree"], {}, {"answers": fine, "more": 1}]
    assert answered(part, 1, *wrong) == ["bad_answers"] * len(wrong)
    assert np.isfinite(part.given[0, 1]).sum() == 7
    assert np.isnan(part.given[:, [0, 2, 3]]).all()
    assert sorted(item.name for block in BLOCKS for item in block) == sorted(rules.ITEMS)


def test_what_is_missing_counts_neither_way():
    part = panel.Panel({"all": ["one", "one"]})
    part.respondents, part.twins, part.given = 2, 2, np.full((2, 4, 28), np.nan)
    assert np.isnan([part.accuracy(), part.normalised_accuracy(), part.wasserstein(), part.trait_correlation()]).all()
    part.given[0, :2] = part.given[1, :2] = 1.0
    part.given[0, 2, :14] = 1.0
    part.given[0, 3, :7] = 2.0
    assert part.accuracy() == part.normalised_accuracy() == pytest.approx(2 / 3)
    assert (part.consistency(), part.gap("all")) == (1.0, 0.0)
    part.given[1, 0] = 2.0
    assert part.normalised_accuracy() == pytest.approx(2.0)
