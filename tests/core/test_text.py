"""What is shown in a terminal cannot steer it."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.monitoring_support import whole_manifest

from populace.core.text import shown_json, shown_line, shown_text
from populace.monitoring.progress import Bar, JsonLines
from populace.monitoring.summary import print_summary
from populace.runs.diff import Diff, OutcomeDiff
from populace.runs.diff_text import print_diff
from populace.runs.differences import Difference
from populace.runs.replay import Replayed

EVIL = "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202eback"


@given(st.text(st.characters(), max_size=30))
def test_nothing_that_steers_is_left_and_plain_text_stays(text):
    line, whole = shown_line(text), shown_text(text)
    for shown, kept in ((line, ""), (whole, "\n\t")):
        assert not [one for one in shown if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") and one not in kept]
        assert not set(shown) & set("\u202a\u202e\u2066\u200f")
        shown.encode()
    if text.isprintable():
        assert line == whole == text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_json_is_the_same_data_without_what_steers(text):
    shown = shown_json(msgspec.json.encode({text: text}).decode())
    assert msgspec.json.decode(shown) == {text: text}
    assert shown_line(shown) == shown


def test_lines_of_progress_cannot_steer_a_terminal():
    stream = io.StringIO()
    JsonLines(stream).note(EVIL)
    line = stream.getvalue().removesuffix("\n")
    assert shown_line(line) == line
    assert msgspec.json.decode(line)["text"] == EVIL


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def steers(shown: str, plain: str) -> bool:
    """Whether what is shown holds more that steers than the same with a plain name, or anything from the evil one."""
    return "\x1b[31mred" in shown or "\x07" in shown or "\x9b" in shown or "\u202e" in shown or plain not in shown


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_names_are_escaped_in_summary_and_diff(stream):
    shown = stream()
    print_summary({**whole_manifest(), "scenario": EVIL}, {EVIL: [1.0, 2.0]}, Path("runs") / "a", shown)
    assert not steers(shown.getvalue(), "\\x1b[31mred")
    shown = stream()
    first = Difference(0, 1, "field", EVIL, None, about=EVIL)
    outcomes = [OutcomeDiff(0, EVIL, 1.0, 2.0, 1.0)]
    print_diff(Diff(EVIL, "b", 1, 1, 0, first, [], outcomes, {EVIL: (EVIL, 1)}, [EVIL], 0, [EVIL]), shown)
    assert not steers(shown.getvalue(), "\\x1b[31mred")


def test_names_are_escaped_in_progress_and_replay():
    shown = Terminal()
    bar = Bar(Console(file=shown, force_terminal=True, width=200))
    bar.begin(EVIL, 1, 1, 1, EVIL)
    bar.note(f"{EVIL}\nline two")
    bar.close()
    assert not steers(shown.getvalue(), "\\x1b[31mred")
    assert "line two" in shown.getvalue()
    said = Replayed(1, 2, 0, None, "", (EVIL,)).text()
    assert not steers(said, "\\x1b[31mred")
    assert msgspec.structs.replace(Replayed(1, 2, 0), notes=("a", "b")).text().startswith("a\nb\n")
