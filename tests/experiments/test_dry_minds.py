"""Which mind a dry pass plays: rules where the runs would go by them, the scripted model elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.experiments import run_here

from populace.core.errors import ScenarioError

SOCIETY = """
from populace import Agent, Choice, Population, Public, Society
from populace.experiments import Arm, Experiment


class Asker(Agent):
    purpose = "mood"
    glad: Public[int] = 0

    async def turn(self, ctx):
        said = await ctx.ask("Well, {at}?", Choice("yes", "no"), facts={"at": ctx.tick}, purpose=self.purpose)
        self.glad += said == "yes"


class Helper(Asker):
    MIND
    purpose = "help"


def helps(facts, draw):
    return "yes" if draw.bernoulli(0.5) else "no"


society = Society(
    name="helped", types={"asker": Asker, "helper": Helper},
    population=lambda setup: {of: Population({"glad": [0] * setup.count(of)}) for of in setup.counts},
    rules={"help": helps}, outcomes={"glad": lambda world: float(world.columns["asker"]["glad"].sum())},
    size={"asker": 6, "helper": 2}, ticks=3,
)
experiment = Experiment(
    name="helping", society=society, question="Does it help?",
    arms={"control": Arm(), "silent": Arm(levers=[{"at": 1, "block": {"sender": "all"}}])},
    outcomes=["glad"], replicates=1, accept=("idle_lever", "alike", "still_outcome"),
)
"""


def written(folder: Path, mind: str) -> str:
    path = folder / "helping.py"
    path.write_text(SOCIETY.replace("MIND", mind), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("mind", "said"),
    [
        ('mind = "rules"', "the society's rules for 'helper' and the placebo for the others"),
        ('mind = {"help": "rules"}', "the society's rules for 'helper' (help) and the placebo for the others"),
        ("", "the placebo"),
    ],
)
def test_rules_answer_where_the_runs_go_by_them_and_the_scripted_model_elsewhere(tmp_path, mind, said):
    ran = run_here(written(tmp_path, mind), tmp_path / "out", {"model.kind": "scripted"})
    assert ran.status == "complete"
    assert ran.dry_pass.mind == said


def test_control_a_rule_that_the_runs_would_miss_is_refused_by_the_dry_pass(tmp_path):
    file = written(tmp_path, "")
    with pytest.raises(
        ScenarioError, match=r"No rule answers the purpose 'mood'.*dry pass, on the society's rules"
    ) as why:
        run_here(file, tmp_path / "out", {"model.kind": "rules"})
    assert "--no-dry" in str(why.value)


def test_what_breaks_in_a_dry_pass_is_a_sentence_of_its_own(tmp_path):
    file = Path(written(tmp_path, 'mind = "rules"'))
    file.write_text(
        file.read_text().replace("        said = await", "        ctx.seen['gone']\n        said = await", 1)
    )
    with pytest.raises(ScenarioError, match=r"KeyError: 'gone'\. This was the dry pass"):
        run_here(str(file), tmp_path / "out", {"model.kind": "scripted"})
