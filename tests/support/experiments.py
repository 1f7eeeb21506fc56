"""Experiments for tests: a small one, and ones that a test writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from populace.experiments.declared import Experiment
from populace.experiments.front import begin
from populace.experiments.loading import find_experiment
from populace.experiments.progress import Silent
from populace.experiments.results import Results
from populace.runs.stop import Stop

SMALL = str(Path(__file__).parent / "small_experiment.py")
HOSTILE = "<script>alert('arm')</script> | $x^{$ `b` _m_\u202e"
"""A name that is markup in HTML, in Markdown and in matplotlib, and that turns the text after it round."""


class Seen(Silent):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.started_: list[str] = []
        self.ended_: list[Any] = []
        self.notes: list[str] = []

    def started(self, task: Any) -> None:
        self.started_.append(task.run)

    def ended(self, one: Any) -> None:
        self.ended_.append(one)

    def note(self, text: str) -> None:
        self.notes.append(text)


def run_here(
    experiment: Experiment | str, out: Path, settings: dict[str, Any] | None = None, seen: Any = None, **options: Any
) -> Results:
    """Run it in this process, one run after another unless `jobs` says otherwise."""
    declared = find_experiment(experiment) if isinstance(experiment, str) else experiment
    given = list((settings or {}).items())
    stop = options.pop("stop", None) or Stop()
    return begin(declared, out, given, seen or Silent(), stop, **{"jobs": 1, **options})


def changed(folder: Path, *changes: tuple[str, str]) -> str:
    """A file that is the small experiment but for some pieces of its text."""
    text = Path(SMALL).read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / "changed_experiment.py"
    path.write_text(text, encoding="utf-8")
    return str(path)


def line_of(path: str, piece: str) -> int:
    """The line of a file on which a piece of text begins."""
    text = Path(path).read_text(encoding="utf-8")
    return text[: text.index(piece)].count("\n") + 1
