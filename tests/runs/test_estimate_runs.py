"""What a pilot says of a run, against the run itself: its counts lie in the intervals, and money is not made up."""

from __future__ import annotations

import io
import json
import tempfile
from typing import Any

import pytest
from support import moderated, voters
from support.asking import ASKERS, asking, here
from support.command import populace
from support.misbehaving import Misbehaving, slow
from support.running import SOCIETIES, run_local, settings_of

from populace.budget.amounts import Rate
from populace.cli.estimate import print_expected
from populace.core.errors import SettingsError
from populace.data.societies import find_society
from populace.runs import prediction as estimates
from populace.runs.estimate import expect, plan_of, play
from populace.runs.prediction import PilotTurn, Plan, Used, estimate, extrapolate

PRICES = {"test-model": {"usd_per_million_tokens_in": 100.0, "usd_per_million_tokens_out": 400.0}}
COUNTS = {"calls": "calls_billed", "tokens_in": "tokens_in", "tokens_out": "tokens_out"}


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def outside(guess: Any, manifest: dict[str, Any]) -> list[str]:
    """The counts of a run that lie outside the intervals."""
    ends = {name: getattr(guess, name) for name in COUNTS}
    return [name for name, key in COUNTS.items() if not ends[name].low <= manifest[key] <= ends[name].high]


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("scenario", ["polarization", SOCIETIES], ids=["polarization", "talkers"])
def test_a_runs_counts_lie_in_the_intervals_of_its_pilot(tmp_path, scenario, seed):
    options = {"agents": 120, "ticks": 12, "seed": seed, "journal": "off"}
    expected = expect(find_society(scenario), settings_of(**options))
    manifest = run_local(tmp_path, scenario, **options)
    assert outside(expected.estimate, manifest) == []
    for name, key in COUNTS.items():
        interval = getattr(expected.estimate, name)
        assert interval.high < 2.0 * manifest[key], "an interval that holds everything says nothing"
    for purpose, part in expected.estimate.purposes.items():
        real = manifest["asks"]["by_purpose"][purpose]["calls"]
        assert part.calls.low <= real <= part.calls.high


def test_control_the_first_ticks_are_not_like_the_others(tmp_path, monkeypatch):
    """The mean over all of a pilot's ticks: nobody has mail in the first, so calls are too few, and surely so."""
    monkeypatch.setattr(estimates, "_growth", lambda *_: 1.0)
    options = {"agents": 150, "ticks": 20, "seed": 3, "journal": "off"}
    origin, settings = find_society("polarization"), settings_of(**options)
    pilot = play(origin, settings, 100, 3, scripted=True)
    plan = plan_of(settings, 150, 20, pilot)
    manifest = run_local(tmp_path, "polarization", **options)
    assert "calls" in outside(estimate(pilot.turns, plan), manifest)
    assert outside(extrapolate(pilot.turns, plan), manifest) == []


def test_prompts_that_grow_move_the_upper_end_and_are_told_of(tmp_path, monkeypatch):
    options = {"agents": 40, "ticks": 40, "journal": "off", "society": {"growth": 60}}
    settings = settings_of(**options)
    expected = expect(find_society(ASKERS), settings)
    manifest = run_local(tmp_path, ASKERS, **options)
    guess = expected.estimate.tokens_in
    assert guess.mid < 0.7 * manifest["tokens_in"] < guess.high
    assert any("grew during the pilot" in note for note in expected.notes)
    monkeypatch.setattr(estimates, "_growth", lambda *_: 1.0)
    blind = expect(find_society(ASKERS), settings).estimate
    assert outside(blind, manifest) == ["tokens_in"], "without the trend it is missed"


def test_a_pilot_with_the_model_costs_what_it_costs_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Misbehaving(base=slow(0.02)) as server:
        options = asking(server, agents=400, ticks=10, model__max_tokens=20, budget__prices=PRICES)
        options |= {"endpoint__requests_per_minute": 12_000.0, "endpoint__concurrency": 10}
        expected = expect(find_society(ASKERS), settings_of(**options), agents=12, ticks=4)
        billed, asked = server.billed, len(server.seen)
        pilot, guess = expected.pilot, expected.estimate
        assert asked == billed.calls == 48
        assert pilot.cost_usd == pytest.approx(Rate.of(100.0, 400.0).cost(billed.tokens_in, billed.tokens_out).usd)
        scripted = expect(find_society(ASKERS), settings_of(**options), agents=12, ticks=4, scripted=True)
        assert len(server.seen) == asked, "a scripted pilot asks nobody"
    assert list(tmp_path.iterdir()) == []
    assert guess.calls.mid == 4_000, "each agent asks once a tick"
    assert 0.8 < guess.calls.low / 4_000 < 1.0, "which 48 turns do not prove"
    assert guess.usd.mid == pytest.approx(guess.tokens_in.mid * 1e-4 + guess.tokens_out.mid * 4e-4)
    assert 0.02 <= guess.wall_s.mid / (4_000 / 10) <= 0.5, "calls * latency / concurrency, whatever a busy machine adds"
    assert scripted.pilot.cost_usd == 0.0
    assert scripted.estimate.usd.mid == pytest.approx(
        scripted.estimate.tokens_in.mid * 1e-4 + scripted.estimate.tokens_out.mid * 4e-4
    ), "at the prices of the model that the run will ask"
    assert scripted.estimate.tokens_in.mid == pytest.approx(guess.tokens_in.mid, rel=0.3)
    assert scripted.estimate.bottleneck in ("requests per minute", "this machine")
    assert scripted.estimate.wall_s.mid >= 4_000 / 12_000 * 60.0
    assert any("scripted" in note for note in scripted.notes)
    assert any("latency" in note for note in scripted.notes)


def test_the_time_of_a_run_under_a_limit(tmp_path):
    """300 calls at 100 a second; bounds are wide, since the machine may be busy."""
    with Misbehaving(base=slow(0.01)) as server:
        options = asking(server, agents=100, ticks=3, model__max_tokens=20)
        options["endpoint__requests_per_minute"] = 6_000.0
        expected = expect(find_society(ASKERS), settings_of(**options), agents=10, ticks=3)
        manifest = here(tmp_path, **options)
    guess = expected.estimate.wall_s
    assert guess.mid >= 3.0
    assert 0.5 * guess.low <= manifest["wall_s"] <= 5.0 * guess.high


def test_the_command_prints_lines_of_json_and_leaves_no_folder(tmp_path):
    command = ["estimate", "polarization", "--model", "scripted", "--agents", "1000", "--ticks", "50", "--seed", "3"]
    priced = ["--set", "model.name=m", "--set", "budget.prices={m={usd_per_million_tokens_in=1.0}}"]
    done = populace(*command, *priced, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    about, *figures = map(json.loads, done.stdout.splitlines())
    assert (about["agents"], about["ticks"], about["pilot_agents"], about["pilot_ticks"]) == (1000, 50, 20, 6)
    rows = {(row["figure"], row["purpose"]): row for row in figures}
    assert rows["usd", ""]["mid"] == pytest.approx(rows["tokens_in", ""]["mid"] / 1e6)
    assert rows["calls", ""]["low"] < rows["calls", ""]["mid"] < rows["calls", ""]["high"]
    assert rows["calls", ""]["mid"] == pytest.approx(rows["calls", "reason"]["mid"] + rows["calls", "verdict"]["mid"])
    assert rows["wall_s", ""]["high"] > 0.0
    kept = populace(*command, "--out", "kept", "--pilot-ticks", "1", "--pilot-agents", "5", cwd=tmp_path)
    assert kept.returncode == 0, kept.stderr
    assert (tmp_path / "kept" / "manifest.json").exists()
    for wrong, word in ((["--pilot-agents", "1"], "two agents"), (["--confidence", "1.0"], "between 0 and 1")):
        refused = populace(*command, *wrong, cwd=tmp_path)
        assert refused.returncode == 2
        assert word in refused.stderr
    assert "holds a run already" in populace(*command, "--out", "kept", cwd=tmp_path).stderr


def test_a_terminal_gets_a_table_and_what_to_know(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = _Terminal()
    expected = expect(find_society("polarization"), settings_of(agents=500, ticks=30), agents=5, ticks=3)
    print_expected(expected, stream)
    text = stream.getvalue()
    for words in ("at least", "expected", "at most", "tokens in", "wall time", "verdict", "pilot had 5 agents"):
        assert words in text
    assert "scripted, at no cost" in text


def test_a_run_no_longer_than_its_pilot_is_its_pilot():
    turns = [PilotTurn(agent, tick, {"a": Used(1, 10 + agent, 1)}) for tick in range(4) for agent in range(10)]
    plan = Plan(turns=100.0, ticks=2, agents=50)
    short = [turn for turn in turns if turn.tick < 2]
    assert extrapolate(turns, plan) == estimate(short, plan)
    with pytest.raises(SettingsError, match="one agent"):
        expect(find_society(ASKERS), settings_of(agents=1))


def test_what_columnar_types_ask_together_is_in_the_estimate_and_does_not_grow_with_the_agents():
    scenario, many = f"{voters.__file__}:society", settings_of(agents={"writer": 3, "voter": 2000}, ticks=4)
    expected = expect(find_society(scenario), many, agents=40, ticks=4)
    parts = {name: part.calls.mid for name, part in expected.estimate.purposes.items()}
    assert 0 < parts["vote"] < 400
    assert "Columnar types asked" in " ".join(expected.notes)


def test_what_the_world_asks_is_in_the_estimate(tmp_path):
    scenario = f"{moderated.__file__}:society"
    expected = expect(find_society(scenario), settings_of(agents=20, ticks=6), agents=20, ticks=6)
    run = run_local(tmp_path, scenario, agents=20, ticks=6)
    assert expected.estimate.calls.mid == run["calls_billed"]
    parts = {name: part.calls.mid for name, part in expected.estimate.purposes.items()}
    assert parts == {name: spent["calls"] for name, spent in run["asks"]["by_purpose"].items()}
    assert parts["moderate"] > 0, "control: the world's own"
    assert "The world's parts asked" in " ".join(expected.notes)


SELDOM = """
from populace import Agent, Choice, Population, Society, Sometimes

class Reader(Agent):
    async def turn(self, ctx):
        await ctx.ask("Do you read it?", Choice("yes", "no"), purpose="read")

society = Society(
    name="seldom", agent=Reader, population=lambda setup: Population.of_defaults(setup.agents),
    activation=Sometimes(0.005), size=20_000, ticks=8,
)
"""


def test_a_pilot_in_which_hardly_an_agent_is_due_says_which_one_would_tell(tmp_path):
    place = tmp_path / "seldom.py"
    place.write_text(SELDOM, encoding="utf-8")
    origin = find_society(str(place))
    settings = settings_of(seed=3)
    nothing = expect(origin, settings, scripted=True)
    assert (nothing.pilot.asks, nothing.estimate.calls.high) == (0, 0.0)
    assert nothing.notes[0].startswith("The pilot asked nothing")
    assert "--pilot-agents 2000 " in nothing.notes[0]

    few = expect(origin, settings, agents=400, scripted=True)
    assert 0 < few.pilot.asks < 30
    assert few.notes[0].startswith(f"The pilot asked {few.pilot.asks} times only")

    enough = expect(origin, settings, agents=2_000, scripted=True)
    assert not [note for note in enough.notes if "--pilot-agents" in note]
    assert enough.estimate.calls.low < 0.005 * 20_000 * 8 < enough.estimate.calls.high
