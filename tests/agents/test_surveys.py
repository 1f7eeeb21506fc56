"""What a survey is as data: kinds of questions, how they are put and read, who is asked, instruments from files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.respondents import EVERY, HOW, MOODS, Respondent

from populace import probes
from populace.agents.probes import asking
from populace.agents.probes.declared import instrument_of, plain
from populace.agents.probes.persona import Probe, described, facts_of
from populace.agents.probes.survey import drawn
from populace.core.draws import Stream
from populace.core.errors import ScenarioError, SettingsError
from populace.data.instruments import SHIPPED, check_wording, find_instrument
from populace.mind import Memory

TOML = """
name = "canteen"
instruction = "Think of this week."

[[items]]
name = "taste"
text = "How did it taste?"
labels = ["vile", "fair", "good"]

[[items]]
name = "dull"
text = "How dull was it?"
labels = ["bad", "fair", "good"]

[[items]]
name = "dish"
kind = "single"
text = "Which dish?"
options = ["soup", "rice"]

[[items]]
name = "news"
kind = "multiple"
text = "What do you read?"
options = ["paper", "web", "wall"]
at_most = 2

[[items]]
name = "price"
text = "What would you pay?"
low = 0

[[items]]
name = "why"
kind = "open"
text = "Why?"

[[scales]]
name = "liking"
items = ["taste", "-dull"]
how = "sum"
"""


def asked(item, said, *, order=None, ruled=False):
    """What an answer to one item comes to."""
    shown = asking.Shown(item, asking.options_of(item) if order is None else order)
    spec = asking.page_spec([shown], ruled=ruled)
    return asking.answers_of([shown], spec.read(said))[0]


ITEMS = {one.name: one for one in EVERY.items}


@pytest.mark.parametrize(
    ("item", "said", "number", "label"),
    [
        ("dish", {"label": "stew"}, 3, "stew"),
        ("glad", {"label": "often"}, 2, "often"),
        ("warm", {"answer": 62.5}, 62.5, None),
        ("stars", {"answer": 5}, 5, "superb"),
        ("stars", {"answer": 4}, 4, None),
        ("age", {"answer": 107}, 107, None),
        ("news", {"answer": ["wall", "paper"]}, None, '["paper","wall"]'),
        ("order", {"answer": ["song", "bread", "peace"]}, None, '["song","bread","peace"]'),
    ],
)
def test_each_kind_of_question_reads_its_answer(item, said, number, label):
    assert asked(ITEMS[item], json.dumps(said)) == (number, label)
    plainly = said.get("answer", said.get("label"))
    assert asked(ITEMS[item], json.dumps(plainly), ruled=True) == (number, label), "as a rule says it"


def test_an_open_question_is_answered_by_a_text():
    assert asked(ITEMS["why"], "  since it rains ") == (None, "since it rains")


@pytest.mark.parametrize(
    ("item", "said", "why"),
    [
        ("dish", {"label": "pie"}, "pie"),
        ("warm", {"answer": 101}, "from 0 to 100"),
        ("stars", {"answer": 2.5}, "whole"),
        ("stars", {"answer": True}, "True"),
        ("age", {"answer": -1}, "from 0"),
        ("news", {"answer": []}, "1 to 2"),
        ("news", {"answer": ["paper", "web", "wall"]}, "1 to 2"),
        ("news", {"answer": ["paper", "paper"]}, "twice"),
        ("news", {"answer": ["radio"]}, "list of some"),
        ("order", {"answer": ["song", "bread"]}, "3 to 3"),
        ("order", {"answer": ["song", "bread", "bread"]}, "twice"),
        ("order", {"said": []}, "no answer to 'answer'"),
    ],
)
def test_what_is_no_answer_is_refused_in_words_for_the_model(item, said, why):
    with pytest.raises(ValueError, match=why):
        asked(ITEMS[item], json.dumps(said))


def test_a_matrix_is_one_page_and_a_whole_instrument_may_be():
    pages = [[one.name for one in page] for page in asking.pages_of(EVERY)]
    assert ["week.mon", "week.tue"] in pages
    assert len(pages) == len(EVERY.items) - 1
    assert [len(page) for page in asking.pages_of(EVERY, together=True)] == [len(EVERY.items)]
    assert [len(page) for page in asking.pages_of(EVERY, together=True, apart=True)] == [1] * len(EVERY.items)
    page = asking.shown(next(one for one in asking.pages_of(EVERY) if len(one) == 2), None)
    text = asking.text_of(page, "Look back.")
    assert text.splitlines() == [
        "Look back.", "For each of these: Choose one of these: bad; fair; good", "q1: On Monday?", "q2: On Tuesday?"
    ]  # fmt: skip
    read = asking.page_spec(page).read('{"q1": "good", "q2": "bad"}')
    assert asking.answers_of(page, read) == [(3, "good"), (1, "bad")]
    with pytest.raises(ValueError, match="no answer to 'q2'"):
        asking.page_spec(page).read('{"q1": "good"}')


def test_nothing_that_is_put_names_the_instrument_or_its_items():
    """A model that knows a scale by its name would answer the scale and not the question."""
    for together in (False, True):
        for page in asking.pages_of(probes.CESD10, together=together):
            text = asking.text_of(asking.shown(page, None), probes.CESD10.instruction)
            assert "cesd" not in text + json.dumps(asking.page_spec(asking.shown(page, None)).schema)


def test_options_are_shuffled_by_the_draw_and_scales_only_turned():
    def order(item, at):
        return asking.shown([item], Stream(1, at, 0, "order"))[0].order

    dishes = {order(ITEMS["dish"], at) for at in range(60)}
    assert len(dishes) == 6, "every order of three comes"
    assert {order(ITEMS["glad"], at) for at in range(60)} == {tuple(HOW.values()), tuple(HOW.values())[::-1]}
    assert order(ITEMS["dish"], 3) == order(ITEMS["dish"], 3)
    assert asking.shown([ITEMS["dish"]], None)[0].order == ("soup", "rice", "stew")
    assert asked(ITEMS["dish"], '{"label": "soup"}', order=("stew", "rice", "soup")) == (1, "soup")


def test_who_is_asked_is_drawn_and_a_larger_sample_holds_a_smaller():
    there = np.arange(100, dtype=np.int32)
    some, more = drawn(0.1, there, "a", 7), drawn(25, there, "a", 7)
    assert (len(some), len(more)) == (10, 25)
    assert set(some) < set(more)
    assert set(drawn(0.1, there, "b", 7)) != set(some), "another survey asks others"
    left = there[there != some[0]]
    assert set(some[1:]) < set(drawn(0.1, left, "a", 7)), "who leaves is replaced, and the rest stay"
    assert drawn([3, 200, 1], there, "a", 7).tolist() == [1, 3]
    assert drawn(None, there, "a", 7) is there


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sample": 0.0}, "share"), ({"sample": 1.5}, "share"), ({"sample": 0}, "nobody"),
        ({"sample": []}, "each once"),
        ({"sample": [1, 1]}, "each once"), ({"sample": "all"}, "a share"), ({"sample": True}, "a share"),
        ({"at": [-1]}, "from 0 on"), ({"name": "a/b"}, "letters"),
    ],
)  # fmt: skip
def test_a_survey_that_cannot_be_is_refused(given, said):
    with pytest.raises(ScenarioError, match=said):
        probes.Survey(MOODS, **given)


def test_a_tick_that_is_given_twice_is_asked_twice():
    assert probes.Survey(MOODS, [20, 10, 10]).waves() == [(10, 0), (10, 1), (20, 0)]


def test_an_instrument_of_a_file_is_scored_like_any_other(tmp_path):
    (tmp_path / "canteen.toml").write_text(TOML)
    canteen = find_instrument(str(tmp_path / "canteen.toml"))
    assert canteen.item_names == ["taste", "dull", "dish", "price"]
    answers = {"taste": ["good", "vile"], "dull": ["bad", "good"], "dish": ["soup", "rice"], "price": [4, 5.5]}
    assert canteen.score(answers)["liking"].tolist() == [6, 2]
    assert canteen.matrix(answers)[:, 2:].tolist() == [[1, 4], [2, 5.5]]


@pytest.mark.parametrize("name", list(SHIPPED))
def test_an_instrument_comes_back_from_plain_data(name):
    again = instrument_of(json.loads(json.dumps(plain(SHIPPED[name]))))
    assert plain(again) == plain(SHIPPED[name])
    values = [[item.low for item in again.items], [item.high for item in again.items]]
    for scale, scores in SHIPPED[name].score(values).items():
        assert again.score(values)[scale].tolist() == scores.tolist()


def test_every_kind_of_question_comes_back_from_plain_data():
    assert instrument_of(json.loads(json.dumps(plain(EVERY)))).items == [*EVERY.items]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "taste"', 'nme = "taste"', r"unknown field `nme` - at `\$.items\[0\]`"),
        ('"-dull"', '"-dul"', r"\['dul'\]"),
        ('labels = ["vile", "fair", "good"]', "", "'taste': says not how"),
        ('options = ["soup", "rice"]', 'options = ["soup"]', "two or more"),
        ('options = ["soup", "rice"]', "", "no options"),
        ("at_most = 2", "at_most = 5", "0 to 5 of 3"),
        ("low = 0", 'low = 0\noptions = ["a", "b"]', "no 'options'"),
        ('name = "dull"', 'name = "taste"', "names of their own"),
        ('text = "Why?"', "", "no text"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, old, new, said):
    assert TOML.count(old) == 1
    (tmp_path / "own.toml").write_text(TOML.replace(old, new, 1))
    with pytest.raises((ScenarioError, SettingsError), match=said) as told:
        check_wording(find_instrument(str(tmp_path / "own.toml")))
    assert "own.toml" in str(told.value)


def test_an_unknown_instrument_names_those_there_are_and_one_without_words_says_why():
    with pytest.raises(SettingsError, match=r"Is 'cesd' meant\?.*spane"):
        find_instrument("cesdd")
    with pytest.raises(SettingsError, match=r"bfi1, bfi2.*not for commercial use"):
        check_wording(find_instrument("bfi10"))


def as_fields(self, probe):
    return described(self, probe)


def test_an_agent_is_its_fields_and_the_memories_that_bear_on_the_question():
    class Person(Respondent):
        profile: str = ""
        _hidden: int = 3
        blob: bytes = b"x"
        gone: float = float("nan")

        interviewed = as_fields

    person = Person(mood=2, profile="a nurse", memory=Memory())
    for at in range(30):
        person.memory.note(at, f"number {at}")
    person.memory.note(3, "the tram to Delft was late")
    facts = described(person, Probe(0, 40, "Which tram was late?"))
    assert facts["profile"] == "a nurse"
    assert facts["mood"] == 2
    assert len(facts["memory"]) == 10
    assert facts["memory"][0] == "the tram to Delft was late"
    assert facts.keys().isdisjoint({"_hidden", "blob", "gone", "heard"})


def test_what_an_agent_says_of_itself_is_a_text_or_plain_data():
    class Says(Respondent):
        def interviewed(self, probe):
            return self.mood or "I am nobody"

    assert facts_of(Says(mood=0), Probe(0, 0, "?")) == {"persona": "I am nobody"}
    with pytest.raises(TypeError, match="gives a text"):
        facts_of(Says(mood=1), Probe(0, 0, "?"))


def test_a_whole_instrument_is_retested_scale_by_scale_and_item_by_item():
    rng = np.random.default_rng(3)
    first = rng.integers(0, 4, (80, 2)).astype(float)
    second = first.copy()
    second[:, 1] = rng.integers(0, 4, 80)
    second[0, 0] = np.nan
    found = probes.retest_scales(MOODS, first, second)
    assert list(found) == ["gladness", "glad", "low"]
    assert (found["glad"].n, found["glad"].agreement) == (79, 1.0)
    assert str(found).splitlines()[0].split() == ["n", "r", "icc", "agreement", "shift", "mean_change"]
    assert str(found).splitlines()[2].split()[:5] == ["glad", "79", "1", "1", "1"]
    assert found.frame().loc["glad", "n"] == 79
    assert found["low"].icc < 0.4 < found["gladness"].icc < 0.9
    second[:, 0] = np.nan
    assert list(probes.retest_scales(MOODS, first, second)) == ["low"], "what nobody answered twice is left out"
