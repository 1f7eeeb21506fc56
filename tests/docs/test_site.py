"""The site builds, strictly: no broken link or anchor, nothing loaded from elsewhere; generated pages are whole."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
import typer
from support.pages import ROOT

import populace
import populace.env
import populace.testing
from populace.cli.app import app
from populace.core import errors
from populace.core.tables import SCHEMA_VERSION, TABLES

pytest.importorskip("mkdocs", reason="the site needs the extra `docs`")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site's folder."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Loads(HTMLParser):
    """What a page loads by itself, what it links to, and what can be linked to in it."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids.update(value for key, value in given.items() if key in ("id", "name") and value)
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(given.get("href") or "")
        elif tag in ("script", "img", "iframe", "source", "video"):
            self.loads.append(given.get("src") or "")


def read(page) -> Loads:
    parser = Loads()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    away = {(page.name, load) for page in pages for load in read(page).loads if urlsplit(load).netloc}
    assert not away
    sheets = [sheet for sheet in site.rglob("*.css") if re.search(r"url\([\"']?(https?:)?//", sheet.read_text())]
    assert not sheets


def test_every_link_within_the_site_leads_somewhere(site):
    read_pages = {page.resolve(): read(page) for page in site.rglob("*.html") if page.name != "404.html"}
    broken = []
    for page, loads in read_pages.items():
        for link in loads.links + loads.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            known = read_pages.get(target)
            if not target.exists() or (parts.fragment and known and unquote(parts.fragment) not in known.ids):
                broken.append(f"{page.name}: {link}")
    assert not broken


def test_every_public_name_is_in_the_reference(site, generate):
    ids = set().union(*(read(site / "reference" / page).ids for page in ("python.html", "env.html")))
    for face in (populace, populace.env, populace.testing):
        short = {name for name in face.__all__ if f"{face.__name__}.{name}" not in ids}
        assert not {name for name in short if f"populace.{name}" not in ids and f"populace.env.{name}" not in ids}
    text = (ROOT / "docs/reference/python.md").read_text()
    assert "::: populace.fence\n" in generate.whole(text.replace("::: populace.fence\n", "")).split("## More")[1]


def test_every_column_of_every_table_is_on_its_page(generate):
    text = generate.tables_page()
    for name, table in TABLES.items():
        section = text.split(f"## {name}\n")[1].split("\n## ")[0]
        assert [one.name for one in table.columns if f"| `{one.name}` | {one.type} |" not in section] == []
    assert f"Schema version {SCHEMA_VERSION}:" in text


def test_every_command_and_option_is_on_its_page(generate):
    text = generate.commands_page()

    def leaves(path, group):
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from leaves(f"{path} {name}", command)
            elif not command.hidden:
                yield f"{path} {name}", command

    for path, command in leaves("populace", typer.main.get_command(app)):
        section = text.split(f"## {path}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            assert all(option in section for option in parameter.opts if option.startswith("--")), path


@pytest.mark.parametrize(
    ("key", "row"),
    [
        ("seed", "| `seed` | whole number, at least 0 | `0` | never |"),
        ("shards", "| `shards` | whole number, above 0 and at most 10,000 | `1` | resume |"),
        ("model.temperature", "| `model.temperature` | number, at least 0 | `0.8` | fork |"),
        ("model.repairs", "| `model.repairs` | whole number, at least 0 and at most 2 | `2` | resume |"),
        ("model.path", "| `model.path` | path | none | fork |"),
        ("transport", '| `transport` | `local`, `ray` | `"local"` | resume |'),
        ("bus.body_bytes", "| `bus.body_bytes` | whole number, above 0 | `65536` | never |"),
        ("budget.prices", "| `budget.prices.NAME.usd_per_million_tokens_in` |"),
        ("replicas", "| `endpoint.replicas[].weight` |"),
    ],
)
def test_a_setting_is_told_as_the_schema_has_it(generate, key, row):
    assert row in generate.settings_page()


def test_every_setting_is_on_the_page(generate):
    from populace.settings.load import _leaves
    from populace.settings.schema import Settings

    keys = _leaves(Settings().model_dump(mode="json"))
    text = generate.settings_page()
    left = [key for key in keys if f"`{key}`" not in text and f"[{key}]" not in text and f"`{key}.NAME" not in text]
    assert not left


def test_every_exit_code_is_on_the_page(generate):
    text = generate.exit_codes_page()
    for name, error in vars(errors).items():
        ends = isinstance(error, type) and issubclass(error, errors.PopulaceError)
        if ends and not issubclass(error, errors.TurnError):
            assert f"| {error.exit_code} |" in text, name
    assert re.search(r"^\| 0 \|.*complete", text, flags=re.MULTILINE)
    assert re.search(r"^\| 10 \|.*invalid", text, flags=re.MULTILINE)
