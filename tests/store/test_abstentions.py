"""Why an ask has no answer is told in a word, and the words stay apart wherever a run counts."""

from __future__ import annotations

from collections import Counter

import pytest
from support.running import run_local

from populace.core.records import REASONS, UNPUT
from populace.monitoring.metrics import Metrics
from populace.monitoring.summary import summary_text
from populace.store.manifest import read_manifest
from populace.store.tables.tables import read_table

SOCIETY = """
from populace import Abstained, Agent, Choice, Context, Population, Setup, Society, World

class Asker(Agent):
    heard: str = ""

    async def turn(self, ctx: Context) -> None:
        said = await ctx.ask(f"agent {ctx.id}", Choice("yes", "no"), purpose="vote")
        self.heard = said.reason if isinstance(said, Abstained) else said.label
        ctx.send(0, self.heard)

def scripted(ask, draw):
    match ask.agent:
        case 0 | 1 | 2:
            return Abstained("refusal")
        case 3 | 4:
            return Abstained("schema")
        case 5:
            return Abstained("deadline")
        case 6 | 7:
            return Abstained("error", "out of sorts")
    return "yes"

society = Society(
    name="askers", agent=Asker, population=lambda setup: Population({"heard": [""] * setup.agents}),
    world=lambda setup, people: World(), scripted=scripted, size=10, ticks=1,
)
"""
KINDS = {"deadline": 1, "error": 2, "refusal": 3, "schema": 2}


class Page:
    """Reads the metrics page before it goes."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.text = ""

    def begin(self, *_args) -> None: ...
    def pulse(self, _pulse) -> None: ...
    def note(self, _text) -> None: ...
    def tick(self, _report) -> None: ...

    def end(self, _status, _manifest) -> None:
        import urllib.request

        with urllib.request.urlopen(self.metrics.url, timeout=60) as page:
            self.text = page.read().decode()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("askers")
    (folder / "askers.py").write_text(SOCIETY)
    metrics = Metrics(port=0)
    page = Page(metrics)
    run_local(folder / "run", str(folder / "askers.py"), [page, metrics], shards=3)
    return folder / "run", page.text


def test_counts_tables_manifest_and_messages_tell_the_same(run):
    folder, _ = run
    manifest = read_manifest(folder)
    assert manifest["asks"]["by_reason"] == manifest["asks"]["by_purpose"]["vote"]["abstained"] == KINDS
    asks = read_table(folder, "asks").to_pydict()
    assert Counter(filter(None, asks["reason"])) == KINDS
    assert all(
        (answer is None) == (reason is not None) for answer, reason in zip(asks["answer"], asks["reason"], strict=True)
    )
    told = Counter(body.strip('"') for body in read_table(folder, "messages").to_pydict()["body"])
    assert told == {**KINDS, "yes": 2}, "the agent is told the word"
    assert asks["detail"][5:8] == [None, "out of sorts", "out of sorts"]


def test_metrics_and_summary_tell_them_apart(run):
    folder, page = run
    for reason, n in KINDS.items():
        assert f'populace_asks_abstained_total{{reason="{reason}"}} {float(n)}' in page
    text = summary_text(read_manifest(folder), {}, folder)
    assert "8 abstained (deadline 1, error 2, refusal 3, schema 2)" in text
    why = "8 of 10 asks (80.0%) have no answer (deadline 1, error 2, refusal 3, schema 2)"
    assert f"This run is not valid: {why}" in text
    assert "declined" in text


def test_every_reason_is_one_of_the_vocabulary(run):
    assert set(KINDS) | UNPUT == set(REASONS)
