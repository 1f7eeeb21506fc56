"""Runs a society of `verification/societies` for a check, and rival programs beside it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import populace
from verification.verdicts import Skipped, Verdict

SOCIETIES: Final = Path(__file__).parent / "societies"
MESA: Final = "POPULACE_MESA_PYTHON"
"""The environment variable that says which Python has Mesa."""


@contextmanager
def ran(
    name: str,
    *,
    agents: int,
    ticks: int,
    seed: int,
    parameters: Mapping[str, Any] | None = None,
    record: str = "changed",
) -> Iterator[populace.Run]:
    """A run of a society by the name of its file, which no model is asked in; gone once the block is left.

    Of a file with several, `name` is as in "flocking:each"; it is `society` that is run else. `record` is what is kept
    of agents ("changed", or "none" where outcomes say all).
    """
    settings = {"record.messages": False, "record.asks": False, "record.actions": False, "record.agents": record}
    file, _, variable = name.partition(":")
    scenario = f"{SOCIETIES / file}.py:{variable or 'society'}"
    with tempfile.TemporaryDirectory(prefix="populace-verification-") as folder:
        run = populace.run(
            scenario, agents=agents, ticks=ticks, seed=seed, parameters=parameters,
            model="scripted", settings=settings, out=Path(folder) / "run", quiet=True,
        )  # fmt: skip
        if run.manifest["turns_failed"]:
            raise RuntimeError(f"{name}: {run.manifest['turns_failed']} turns failed")
        yield run


def final(name: str, field: str, **options: Any) -> NDArray[Any]:
    """A public field of all agents at a run's end; see `ran`."""
    with ran(name, **options) as run:
        return np.asarray(run.panel(field).iloc[-1].to_numpy())


def outcomes(name: str, **options: Any) -> dict[str, float]:
    """The outcomes at a run's end; see `ran`."""
    with ran(name, record="none", **options) as run:
        return {key: float(value) for key, value in run.outcomes.iloc[-1].items()}


def mesa(program: str, seeds: Sequence[int], **given: Any) -> tuple[list[dict[str, float]], str]:
    """What a program gives for each seed under Mesa, and Mesa's version.

    `program` defines `measure(seed, **given)`, which gives figures by name. Raises Skipped where no Python that has
    Mesa is named by the environment.
    """
    python = os.environ.get(MESA)
    if not python:
        raise Skipped(f"no Mesa: python -m venv V && V/bin/pip install 'mesa[network]', then {MESA}=V/bin/python")
    text = "\n".join((
        "import json, sys, mesa", program, "seeds, given = json.loads(sys.argv[1])",
        "print(json.dumps([[measure(seed, **given) for seed in seeds], mesa.__version__]))",
    ))  # fmt: skip
    done = subprocess.run(  # noqa: S603 - what is run is the person's own Python, and text of this folder
        [python, "-c", text, json.dumps([list(seeds), given])], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{MESA}={python}: {done.stderr.strip().splitlines()[-1:]}")
    figures, version = json.loads(done.stdout)
    return figures, f"Mesa {version}"


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean of some seeds' figures, and its standard error."""
    column = np.asarray(values, np.float64)
    return float(column.mean()), float(column.std(ddof=1) / np.sqrt(len(column)))


def compared(
    ours: Sequence[dict[str, float]], theirs: Sequence[dict[str, float]], names: dict[str, str], source: str
) -> list[Verdict]:
    """The means of both over seeds: apart by no more than three standard errors of their difference."""
    verdicts = []
    for name, what in names.items():
        mean, error = mean_and_error([one[name] for one in ours])
        other, other_error = mean_and_error([one[name] for one in theirs])
        verdicts.append(Verdict(what, mean, other, 3 * float(np.hypot(error, other_error)), source))
    return verdicts
