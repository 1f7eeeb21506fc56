"""Calls for the same standard error: independent runs against a shared warm-up with forks and pairing.

For each replicate a society runs once, and an arm is forked from it where a lever begins. The effect on an outcome is
the mean difference of the pairs. Independent runs give the same effect as the difference of means of runs with other
seeds; how many of them come to the standard error of the pairs follows from the variances, which are measured too:

    n = (s_control^2 + s_arm^2) / SE_paired^2 runs an arm

so calls for the same standard error are 2 n times those of a run, against those that the experiment was billed. The
variances are estimates from as many replicates as there are, so a ratio comes with a 95 % interval (jackknife of its
logarithm over replicates). However well arms are paired, it cannot be less than with a correlation of 1, which is the
`floor`: where arms differ in their spread, what one has more of it stays in the difference,

    Var(arm - control) >= (s_control - s_arm)^2

The scripted model answers, by lot and whatever it is told: of levers that act through what is said it shows no effect.

    python benchmarks/pairing.py --replicates 20
    python benchmarks/pairing.py --society outrage --ticks 30 --replicates 20
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from populace.experiments import Arm, Experiment
from populace.experiments.results import Results

Floats = NDArray[np.float64]


class Case(NamedTuple):
    """`levers` by name, each without its tick: it is `at` where `None`, and else the one that is named."""

    levers: dict[str, tuple[int | None, dict[str, Any]]]
    outcomes: tuple[str, ...]


SUSPEND = {
    "when": {"agents": {"moderation.flagged": {"min": 3}}},
    "set": {"world.moderation.suspended": "matching"},
}
CUT = {"set": {"world.moderation.cutting": True}}

CASES = {
    "polarization": Case(
        {
            "one in twenty silenced": (None, {"block": {"sender": {"share": 0.05}}}),
            "one in five silenced": (None, {"block": {"sender": {"share": 0.2}}}),
            "an appeal to one in ten": (None, {"send": {"to": {"share": 0.1}, "body": "Hear the other side."}}),
            "openness halved": (None, {"set": {"society.openness": 0.15}}),
        },
        ("variance", "moderated"),
    ),
    "outrage": Case(
        {
            "the study's cutting, from the start": (0, CUT),
            "the study's suspension, from the start": (1, SUSPEND),
            "cutting": (None, CUT),
            "suspension": (None, SUSPEND),
        },
        ("reach", "arousal_so_far", "messages"),
    ),
}


def run(out: Path, options: argparse.Namespace, case: Case) -> Results:
    """All arms of the experiment, the control among them."""
    arms = {"control": Arm()}
    for name, (at, lever) in case.levers.items():
        arms[name] = Arm(levers=[{"at": options.at if at is None else at, **lever}])
    experiment = Experiment(
        options.society, arms=arms, outcomes=case.outcomes, replicates=options.replicates, agents=options.agents,
        ticks=options.ticks, model=options.model, accept=["alike", "still_outcome"],
    )  # fmt: skip
    return experiment.run(out, jobs=options.jobs, quiet=True)


def independent_runs(control: Floats, arm: Floats) -> float:
    """How many independent runs a pair of runs is worth, on one outcome; NaN where all pairs differ alike."""
    paired = float(np.var(arm - control, ddof=1))
    return float(np.var(control, ddof=1) + np.var(arm, ddof=1)) / paired if paired else float("nan")


def ratio(pair: float, both: float, control: Floats, arm: Floats) -> str:
    """Calls of pairs over those of independent runs for the same standard error, with its interval."""
    everyone = np.arange(len(control))
    logs = [np.log(independent_runs(control[everyone != i], arm[everyone != i])) for i in everyone]
    whole = independent_runs(control, arm)
    if not np.isfinite([whole, *logs]).all():
        return "no effect"
    error = np.sqrt((len(logs) - 1) / len(logs) * np.sum((np.array(logs) - np.mean(logs)) ** 2))
    made = pair / both / whole
    floor = pair / both * (control.std(ddof=1) - arm.std(ddof=1)) ** 2 / (control.var(ddof=1) + arm.var(ddof=1))
    ends = f"{made * np.exp(-2 * error):.3f} to {made * np.exp(2 * error):.3f}"
    return f"{made:.3f} ({ends}), floor {floor:.3f}"


def main() -> None:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--society", choices=list(CASES), default="polarization")
    parser.add_argument("--model", default="scripted")
    parser.add_argument("--replicates", type=int, default=20)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--ticks", type=int, default=12)
    parser.add_argument("--at", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    case = CASES[options.society]
    table = Table(
        "lever", "calls of a pair / of two runs", *(f"{name}: effect (s.e.)" for name in case.outcomes),
        *(f"{name}: calls, paired / independent" for name in case.outcomes),
        title=f"{options.society}, {options.agents} agents, {options.ticks} ticks, from tick {options.at}, "
        f"{options.replicates} replicates, {options.model}",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        results = run(Path(place) / "out", options, case)
        calls = results.runs.groupby("arm")["calls"].mean()
        asks = results.runs.groupby("arm")["asks"].mean()
        for name in case.levers:
            pair, both = calls["control"] + calls[name], asks["control"] + asks[name]
            effects, ratios = [], []
            for outcome in case.outcomes:
                control, arm = (results.values(outcome, one) for one in ("control", name))
                paired = arm - control
                error = paired.std(ddof=1) / np.sqrt(len(paired))
                effects.append(f"{paired.mean():+.4f} ({error:.4f})")
                ratios.append(ratio(pair, both, control, arm))
            table.add_row(name, f"{pair / both:.2f}", *effects, *ratios)
    Console(width=240).print(table)


if __name__ == "__main__":
    main()
