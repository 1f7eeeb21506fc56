"""The report of an experiment: what its first lines say, and that no name or text in it is ever markup."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser

import msgspec
import pytest
from support.command import populace as command
from support.experiments import HOSTILE
from support.pages import parse

from populace.experiments.report import as_html, as_markdown, made, minds
from populace.experiments.report.as_html import page_of
from populace.experiments.report.as_markdown import markdown_of
from populace.experiments.report.document import Figure, Table
from populace.experiments.report.made import report_of, write_report
from populace.experiments.results import Results
from populace.runs import result


@pytest.fixture(scope="module")
def report(told):
    return report_of(told)


@pytest.fixture(scope="module")
def page(report):
    return page_of(report)


class Read(HTMLParser):
    """A page as a browser reads it: tags, attributes, ids, and the text outside of style and pictures."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attributes]

    def handle_data(self, data):
        self.text += data


def is_safe(page: str) -> bool:
    """Whether nothing on a page runs, loads, or turns text round."""
    read = Read(page)
    runs = {"script", "img", "iframe", "object", "embed", "link", "form"} & set(read.tags)
    on = [name for name, _ in read.attributes if name.startswith("on")]
    loads = [value for name, value in read.attributes if name in ("src", "href", "xlink:href") and value[:1] != "#"]
    away = re.search(r"url\((?!#)|@import", page)
    return not (runs or on or loads or away or "\u202e" in page)


def test_the_first_lines_say_what_differs_then_what_was_found_then_for_whom(report):
    kinds = [one.kind for one in report.leads]
    order = ["differs", "found", "whom", "beware"]
    assert kinds == sorted(kinds, key=order.index)
    assert set(kinds) == set(order)
    said = [one.text for one in report.leads]
    assert said[0].startswith("Otherwise than published, clearly:")
    assert "published as -0.3, and here it is +4.02" in said[0]
    assert "lowers 'spread' by 0.545 against 'control'" in said[1]
    assert said[1].endswith("6 pairs): as predicted.")
    whom = " ".join(one.text for one in report.leads if one.kind == "whom")
    assert "'neighbours' (16 agents, 6 ticks), over 6 replicates from seed 0 on, answered by a rule mind" in whom
    assert "No model was asked" in whom
    beware = " ".join(one.text for one in report.leads if one.kind == "beware")
    assert "6 replicates are few" in beware
    assert "6 runs of 12 are marked as not valid" in beware
    assert "Arms fail differently: 'refusal' ended 40 % of asks" in beware


@pytest.mark.parametrize("predicted", ["up", "down"])
def test_against_a_prediction_is_said_first_even_where_it_is_not_clear(ran, predicted):
    results = Results(ran.folder)
    spread = msgspec.structs.replace(ran.design.outcome("spread"), direction={"silenced": predicted})
    results.design = msgspec.structs.replace(ran.design, outcomes=[spread, *ran.design.outcomes[1:]])
    found = results.effects().of("silenced", "spread")
    assert not found.clear
    leads = report_of(results).leads
    against = [one.text for one in leads if one.kind == "differs"]
    if predicted == ("up" if found.effect.difference > 0 else "down"):
        assert not against
    else:
        assert leads[0].text == against[0]
        assert against[0].startswith("Against the prediction, though not clearly: 'silenced' was to move 'spread'")
    assert any("is shown, though a" in one.text for one in leads)


def test_on_the_placebo_nothing_is_claimed(told, monkeypatch):
    read = made.read_manifest
    for module in (made, result):
        monkeypatch.setattr(module, "read_manifest", lambda folder: {**read(folder), "answers": "placebo"})
    report = report_of(told)
    leads = report.leads
    assert {row[-1] for row in report.figures[-1].table.rows} == {"placebo"}
    assert leads[0].text.startswith("On the placebo nothing is claimed: 2 of 3 differences are clear of 0")
    assert not [one for one in leads if one.kind == "differs" or "raises" in one.text or "lowers" in one.text]
    assert any("answered by the placebo" in one.text for one in leads)


def test_where_nothing_was_asked_what_the_code_does_is_claimed(told, monkeypatch):
    read = made.read_manifest
    for module in (made, result):
        monkeypatch.setattr(module, "read_manifest", lambda folder: {**read(folder), "answers": "nothing"})
    report = report_of(told)
    assert "placebo" not in {row[-1] for row in report.figures[-1].table.rows}
    assert any("what differs here is what its code says" in one.text for one in report.leads)


@pytest.mark.parametrize(
    ("answers", "name", "said"),
    [
        ("rules", "rules", "a rule mind (the society's own rules; no model)"),
        ("scripted", "scripted", "the society's script (no model)"),
        ("embedded", "SmolLM2", "the embedded model (SmolLM2)"),
        ("openai", "m-1", "the model 'm-1'"),
        ("nothing", "scripted", "nothing (the society asked nothing)"),
    ],
)
def test_what_answered_is_named_as_what_it_is(answers, name, said):
    one = {"answers": answers, "model": name}
    assert minds.minds_of({"a": [one], "b": [one]}) == said
    assert f"in 'a' {said}; in 'b' the placebo" in minds.minds_of(
        {"a": [one], "b": [{"answers": "placebo", "model": "scripted"}]}
    )


def test_no_name_or_text_is_markup_on_the_page(page):
    assert is_safe(page)
    text = Read(page).text
    assert HOSTILE.replace("\u202e", "\\u202e") in text
    assert "</style><script>alert(2)</script>Is it?" in text
    assert "<img src=x onerror=alert(1)>" in text


@pytest.mark.parametrize("where", ["escaped", "html"])
def test_control_a_page_that_did_not_escape_is_caught(report, monkeypatch, where):
    if where == "escaped":
        monkeypatch.setattr(as_html, "escaped", str)
    else:
        monkeypatch.setattr(as_html.html, "escape", str)
    assert not is_safe(page_of(report))


def columns(markdown: str) -> set[tuple[int, int]]:
    """Cells of a table's head and of each of its rows, where they differ."""
    found, head = set(), 0
    for line in markdown.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        if cells and head and cells != head:
            found.add((head, cells))
        head = cells and (head or cells)
    return found


def test_no_name_or_text_is_markup_in_markdown(report):
    text = markdown_of(report)
    assert not re.search(r"(?<!\\)<(script|img|b)", text)
    assert not columns(text)
    assert "\u202e" not in text
    assert "\\_m\\_" in text
    assert "\\`b\\`" in text


def test_control_markdown_that_did_not_escape_is_caught(report, monkeypatch):
    monkeypatch.setattr(as_markdown, "_cell", str)
    assert columns(markdown_of(report))


def test_a_line_that_begins_like_a_list_or_a_heading_is_none():
    assert [as_markdown.escaped(one) for one in ("# a", "- a", "1. a", "+ a", "a - b")] == [
        "\\# a", "\\- a", "1\\. a", "\\+ a", "a - b",
    ]  # fmt: skip


def test_every_figure_has_its_words_and_its_table_under_it(report, page):
    assert [one.name for one in report.figures] == ["trajectory-1", "trajectory-2", "trajectory-3", "effects"]
    assert page.count('<svg role="img"') == 4
    for one in report.figures:
        assert len(one.table.rows[0]) == len(one.table.columns)
        begins = page.index(f'aria-labelledby="{one.name}-alt"')
        assert page.index("<table>", begins) > page.index("</figure>", begins)
    assert len(re.findall(r"<caption>", page)) == len(re.findall("<table>", page))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for used in re.findall(r'(?:href="|url\()#([^")]+)', page):
        assert used in ids
    for block in (block for section in report.sections for block in section.blocks):
        if isinstance(block, Table):
            assert all(len(row) == len(block.columns) for row in block.rows), block.caption


def test_it_says_how_it_was_made_and_is_made_again(told, report):
    titles = [one.title for one in report.sections]
    assert titles == [
        "Question", "Design", "Treatment fidelity", "Trajectories", "Effects", "Failures", "Cost", "Provenance",
    ]  # fmt: skip
    text = markdown_of(report)
    for run in told.runs.itertuples():
        assert run.trace_hash in text
    assert told.design.digest in text
    assert "version of numpy" in text
    lines = re.findall(r"^populace .*$", text, flags=re.MULTILINE)
    assert [line.split()[1] for line in lines] == ["experiment", "replay"]
    for line in lines:
        parse(line.split()[1:])


def test_the_folders_report_is_the_same_bytes_from_the_command(told, tmp_path):
    write_report(told, tmp_path / "one")
    done = command("experiment", "report", str(told.folder), "--out", "two", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Otherwise than published")
    names = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert [str(one) for one in names] == sorted([
        *(f"figures/{name}.{kind}" for name in ("effects", "trajectory-1", "trajectory-2", "trajectory-3")
          for kind in ("png", "svg")),
        "report.html", "report.md",
    ])  # fmt: skip
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert (tmp_path / "one" / "figures" / "effects.png").read_bytes()[:4] == b"\x89PNG"
    done = command("experiment", "power", str(told.folder), "--outcome", "mean", "--effect", "0.3", cwd=tmp_path)
    assert "replicates to be safe" in done.stdout
    assert "\u202e" not in done.stdout


def test_audits_are_shown_where_there_are_any(told, report, tmp_path):
    assert "Audits" not in [one.title for one in report.sections]
    shutil.copytree(told.folder, tmp_path / "out")
    path = tmp_path / "out" / "audits.json"
    path.write_text('{"text": ["It survives 3 of 4."], "columns": ["audit"], "rows": [["<script>"]]}')
    section = next(one for one in report_of(Results(tmp_path / "out")).sections if one.title == "Audits")
    assert section.blocks[0].text == "It survives 3 of 4."
    assert section.blocks[1].rows == (("<script>",),)
    path.write_text("[1]")
    section = next(one for one in report_of(Results(tmp_path / "out")).sections if one.title == "Audits")
    assert "cannot be read" in section.blocks[0].text


def test_of_one_replicate_it_says_that_nothing_can_be_told(told, monkeypatch):
    monkeypatch.setattr(Results, "complete", property(lambda self: [0]))
    report = report_of(told)
    assert any("Fewer than two replicates are complete" in one.text for one in report.leads)
    assert not [one for one in report.leads if one.kind in ("differs", "found")]
    assert not [one for section in report.sections for one in section.blocks if isinstance(one, Figure)]
    assert is_safe(page_of(report))
