"""The page's own files: text stays text, nothing comes from elsewhere, and what is of others has its licence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import populace.page

STATIC = Path(populace.page.__file__).parent / "static"
OWN = sorted(path for path in STATIC.iterdir() if not path.name.startswith("uPlot"))
MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc"
    r"|createContextualFragment"
)


def test_no_text_is_ever_made_markup():
    assert len(OWN) > 12
    assert not [path.name for path in OWN if MARKUP.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("harm", ["node.innerHTML = text", "eval(text)", "document.write(text)"])
def test_control_it_would_be_found(harm):
    assert MARKUP.search(harm)


def test_nothing_comes_from_elsewhere():
    for path in OWN:
        found = re.findall(
            r"(?:https?:)?//[\w.-]+\.\w+", re.sub(r"(?m)^\s*//.*$", "", path.read_text(encoding="utf-8"))
        )
        assert [one for one in found if "www.w3.org" not in one] == [], path.name


def test_the_page_has_no_inline_script_style_or_handler():
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", html) == []


def test_what_is_of_others_is_small_and_has_its_licence():
    assert (STATIC / "uPlot.iife.min.js").stat().st_size < 60_000
    assert (STATIC / "uPlot.LICENSE.txt").read_text(encoding="utf-8").startswith("The MIT License")
    assert (
        (STATIC / "uPlot.iife.min.js").read_text(encoding="utf-8").startswith("/*! https://github.com/leeoniya/uPlot")
    )


def test_files_are_small():
    long = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in OWN if path.suffix == ".js"}
    assert max(long.values()) < 250, long
