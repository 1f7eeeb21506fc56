"""Calls for the same standard error: independent runs against a shared warm-up with forks and pairing.

For each replicate polarization runs once, and an arm is forked from it where a lever begins. The effect on an outcome
is the mean difference of the pairs. Independent runs give the same effect as the difference of means of runs with other
seeds; how many of them come to the standard error of the pairs follows from the variances, which are measured too:

    n = (s_control^2 + s_arm^2) / SE_paired^2 runs an arm

so calls for the same standard error are 2 n times those of a run, against those that the experiment was billed. The
scripted model answers, by lot and whatever it is told: of levers that act through what is said it shows no effect.

    python benchmarks/pairing.py --replicates 20
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from populace.experiments import Arm, Experiment
from populace.experiments.results import Results

LEVERS = {
    "one in twenty silenced": {"block": {"sender": {"share": 0.05}}},
    "one in five silenced": {"block": {"sender": {"share": 0.2}}},
    "an appeal to one in ten": {"send": {"to": {"share": 0.1}, "body": "Hear the other side."}},
    "openness halved": {"set": {"society.openness": 0.15}},
}
OUTCOMES = ("variance", "moderated")


def run(out: Path, options: argparse.Namespace) -> Results:
    """All arms of the experiment, the control among them."""
    arms = {"control": Arm()} | {name: Arm(levers=[{"at": options.at, **lever}]) for name, lever in LEVERS.items()}
    experiment = Experiment(
        "polarization", arms=arms, outcomes=OUTCOMES, replicates=options.replicates, agents=options.agents,
        ticks=options.ticks, model="scripted", accept=["alike", "still_outcome"],
    )  # fmt: skip
    return experiment.run(out, jobs=options.jobs, quiet=True)


def main() -> None:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=20)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--ticks", type=int, default=12)
    parser.add_argument("--at", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    table = Table(
        "lever", "calls of a pair / of two runs", *(f"{name}: effect (s.e.)" for name in OUTCOMES),
        *(f"{name}: calls, paired / independent" for name in OUTCOMES),
        title=f"polarization, {options.agents} agents, {options.ticks} ticks, from tick {options.at}, "
        f"{options.replicates} replicates",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        results = run(Path(place) / "out", options)
        calls = results.runs.groupby("arm")["calls"].mean()
        asks = results.runs.groupby("arm")["asks"].mean()
        for name in LEVERS:
            pair = calls["control"] + calls[name]
            effects, ratios = [], []
            for outcome in OUTCOMES:
                control, arm = (results.values(outcome, one) for one in ("control", name))
                paired = arm - control
                error = paired.std(ddof=1) / np.sqrt(len(paired))
                effects.append(f"{paired.mean():+.4f} ({error:.4f})")
                if not error:
                    ratios.append("no effect")
                    continue
                wanted = (control.var(ddof=1) + arm.var(ddof=1)) / error**2
                independent = wanted * (asks["control"] + asks[name])
                ratios.append(f"{len(paired) * pair / independent:.3f}")
            table.add_row(name, f"{pair / (asks['control'] + asks[name]):.2f}", *effects, *ratios)
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
