"""Two runs that differ by one answer, by failing turns or in nothing, and how their comparison is printed."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow.compute as pc
import pytest

from populace.runs.diff import diff_runs
from populace.runs.diff_text import print_diff
from populace.store.tables.tables import read_table
from support.running import SOCIETIES, run_local

TICKS = 6
CHANGED_TICK = 2
SOURCE = Path(SOCIETIES).read_text(encoding="utf-8")
HEAD = "def scripted(ask: Ask, draw: Stream) -> object:\n"


def changed(folder: Path, old: str, new: str) -> str:
    """A scenario that is the tests' society but for one piece of its source."""
    assert SOURCE.count(old) == 1
    path = folder / "changed.py"
    path.write_text(SOURCE.replace(old, new), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("reference")
    run_local(out, ticks=TICKS)
    return out


@pytest.fixture(scope="module")
def victim(reference) -> tuple[int, str, str]:
    """An agent that was asked in the tick to change, what it was answered, and the other answer."""
    asks = read_table(reference, "asks")
    here = (pc.field("tick") == CHANGED_TICK) & (pc.field("purpose") == "mood") & pc.field("answer").is_valid()
    row = asks.filter(here).slice(7, 1).to_pylist()[0]
    text = row["answer"]
    label = next(one for one in ("up", "down") if one in text)
    other = {"up": "down", "down": "up"}[label]
    return row["agent"], text, text.replace(label, other)


@pytest.fixture(scope="module")
def other(tmp_path_factory, victim) -> Path:
    """The run in which one agent is answered something else in one tick."""
    agent, _, text = victim
    label = "up" if "up" in text else "down"
    folder = tmp_path_factory.mktemp("other")
    rule = f'    if (ask.tick, ask.agent, ask.nth) == ({CHANGED_TICK}, {agent}, 0):\n        return "{label}"\n'
    run_local(folder / "run", changed(folder, HEAD, HEAD + rule), ticks=TICKS)
    return folder / "run"


@pytest.fixture(scope="module")
def failing(tmp_path_factory) -> Path:
    """The run in which more turns fail."""
    folder = tmp_path_factory.mktemp("failing")
    run_local(folder / "run", changed(folder, '("crash").random() < 0.02', '("crash").random() < 0.1'), ticks=TICKS)
    return folder / "run"


def shown(a: Path, b: Path) -> str:
    stream = io.StringIO()
    print_diff(diff_runs(a, b), stream)
    return stream.getvalue()
