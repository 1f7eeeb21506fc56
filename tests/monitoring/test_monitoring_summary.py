"""The closing lines of a run."""

from __future__ import annotations

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.monitoring_support import whole_manifest

from populace.monitoring.summary import (
    ASKED_NOTHING_CAVEAT,
    EMBEDDED_CAVEAT,
    SCRIPTED_CAVEAT,
    caveats,
    print_summary,
    sparkline,
    summary_text,
)

OUTCOMES = {"variance": [2.0, 2.5, 4.0, 8.25], "bimodality": [math.nan, 0.5, 0.5, 0.5]}


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_text_names_everything_a_line_each(tmp_path: object) -> None:
    stream = io.StringIO()
    print_summary(whole_manifest(), OUTCOMES, tmp_path, stream)
    assert stream.getvalue() == summary_text(whole_manifest(), OUTCOMES, tmp_path)
    assert stream.getvalue().splitlines() == [
        "outcome variance: 2 -> 8.25",
        "outcome bimodality: undefined -> 0.5",
        "status: completed",
        "run: polarization, 20 agents, 4 ticks, 80 turns in 2 min 05 s",
        "messages: 40 sent: 24 delivered, 4 expired, 12 refused (inbox 8, size 4)",
        "actions: 20 taken: 16 applied, 4 refused (unknown 4)",
        "asks: 4 answered, 4 cached, 4 replayed, 4 abstained (deadline 2, schema 2)",
        "cost: $0.004 for 8 calls, 1,976 tokens in, 88 out",
        "memory: 313 MB at most",
        "trace hash: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        f"tables: {tmp_path}",
        SCRIPTED_CAVEAT,
        "25% of the asks have no answer: see reason and detail in asks.parquet.",
        "2 turns ended by an exception: see failures.parquet.",
    ]
    assert stream.getvalue().isascii()


def test_a_terminal_gets_a_table_with_sparklines(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    stream = _Terminal()
    print_summary(whole_manifest(), OUTCOMES, tmp_path, stream)
    text = stream.getvalue()
    assert "▁▂▃█" in text
    assert whole_manifest()["trace_hash"] in text
    assert str(tmp_path) in text.replace("\n", "").replace(" ", "")
    assert "no model was asked" in text.replace("\n", " ")


def test_a_run_without_outcomes_or_asks_has_its_lines_too(tmp_path: object) -> None:
    manifest = whole_manifest(0, cost_usd=0.0)
    text = summary_text(manifest, {}, tmp_path)
    assert "asks: 0 answered, 0 cached, 0 replayed, 0 abstained\n" in text
    assert "cost: $0 for 0 calls" in text
    assert "no answer" not in text
    assert "exception" not in text
    assert "0 refused\n" in text
    assert "actions" not in text


def test_the_embedded_model_is_not_mistaken_for_people() -> None:
    embedded = {"model": {"kind": "embedded", "path": None}}
    assert EMBEDDED_CAVEAT in caveats(whole_manifest(settings=embedded))
    assert "135 million parameters" in EMBEDDED_CAVEAT
    other = {"model": {"kind": "embedded", "path": "/models/bigger.gguf"}}
    remote = {"model": {"kind": "openai"}}
    for settings in (other, remote):
        assert not {EMBEDDED_CAVEAT, SCRIPTED_CAVEAT} & set(caveats(whole_manifest(settings=settings)))


@pytest.mark.parametrize("kind", ["embedded", "openai", "rules", "scripted"])
def test_a_society_that_asks_nothing_is_told_so_whatever_would_have_answered(kind) -> None:
    manifest = whole_manifest(settings={"model": {"kind": kind, "path": None}}, answers="placebo")
    silent = manifest | {"asks": manifest["asks"] | {"made": 0}}
    assert caveats(silent)[0] == ASKED_NOTHING_CAVEAT
    assert ASKED_NOTHING_CAVEAT not in caveats(manifest)
    assert caveats(silent | {"turns": 0})[:1] == caveats(manifest)[:1], "it may ask yet"


def test_actions_whose_arguments_do_not_fit_are_told() -> None:
    """A run in which nothing could be done is complete all the same: a slip in the code must not pass for a finding."""
    manifest = whole_manifest()
    before = caveats(manifest)
    actions = manifest["actions"] | {"refused_by_reason": {"bad_arguments": 3, "unknown": 1}}
    (told,) = [text for text in caveats(manifest | {"actions": actions}) if text not in before]
    assert told.startswith("3 actions had arguments")


def test_sparklines() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5.0, 5.0, 5.0]) == "▄▄▄"
    assert sparkline([1.0, math.nan, 2.0]) == "▁ █"
    assert sparkline([math.nan, math.inf]) == "  "
    assert sparkline([]) == ""
    assert sparkline(range(100), cells=4) == "▁▃▆█"
    assert sparkline([-1.7e308, 0.0, 1.7e308]) == "▁▅█"
    assert sparkline([1.7e308] * 3, cells=1) == "▄"
    assert sparkline([0.0, 5e-324]) == "▁█"
    assert sparkline([0.0, 0.0]) == "▄▄"


@given(st.lists(st.floats(), max_size=200), st.integers(1, 40))
def test_a_sparkline_has_a_cell_for_each_value_up_to_its_width(values: list[float], cells: int) -> None:
    assert len(sparkline(values, cells)) == min(cells, len(values))
