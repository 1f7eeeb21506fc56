"""Makes the pages that are written by what they describe: commands, settings, exit codes, the notebook.

mkdocs runs it as a hook, so a page can't lag behind its code: `pip install -e '.[docs]' && mkdocs build`.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import populace
import populace.env
import populace.testing
from populace.cli.app import app
from populace.cli.shown import INVALID
from populace.core.errors import PopulaceError, TurnError
from populace.core.tables import SCHEMA_VERSION, TABLES
from populace.settings import Settings, may_change
from populace.store.tables.files import SCHEMA

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
FROM_ROOT: Final = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "benchmarks.md": "benchmarks/README.md",
}
"""Pages that stand elsewhere in the repository, where people look for them."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every decision into the navigation."""
    decisions = [f"decisions/{path.name}" for path in sorted(HERE.glob("decisions/*.md"))]
    _fill(config.nav, "Decisions", decisions)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, make in PAGES.items():
        files.append(File.generated(config, name, content=make()))
    for name, source in FROM_ROOT.items():
        files.append(File.generated(config, name, content=moved((ROOT / source).read_text(encoding="utf-8"))))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Put the public names that stand in no group of the reference at its end."""
    return whole(markdown) if page.file.src_uri == "reference/python.md" else markdown


def whole(markdown: str) -> str:
    """The reference of Python with every public name: those that its groups leave out stand at the end."""
    other = (HERE / "reference" / "env.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^::: ([\w.]+)$", markdown + other, flags=re.MULTILINE))
    faces = (populace, populace.env, populace.testing)
    public = {f"{face.__name__}.{name}": getattr(face, name) for face in faces for name in face.__all__}
    known = [value for name, value in public.items() if name in named]
    left = [name for name, value in public.items() if not any(value is one for one in known)]
    return markdown if not left else markdown + "\n## More\n\n" + "\n".join(f"::: {name}" for name in left) + "\n"


def moved(text: str) -> str:
    """The text of a page of the repository's root with its links as they are from `docs/`."""
    back = {source: name for name, source in FROM_ROOT.items()}

    def link(match: re.Match[str]) -> str:
        target = match["target"].removeprefix("../").removeprefix("docs/")
        if not target.endswith(".md"):
            return match["text"]  # a folder or a source file, which the site does not hold
        return f"[{match['text']}]({back.get(target, target)}{match['anchor'] or ''})"

    return re.sub(r"\[(?P<text>[^\]]+)\]\((?P<target>(?!https?:|#)[^)#]+)(?P<anchor>#[^)]*)?\)", link, text)


def commands_page() -> str:
    """Every command with its arguments and options, from typer."""
    about = "What `populace COMMAND --help` prints, for all commands. [Exit codes](exit-codes.md) are a page."
    return "\n".join(["# Command line\n", f"{about}\n", *_commands("populace", typer.main.get_command(app))])


def _commands(path: str, command: Any) -> Iterator[str]:
    for name, one in command.commands.items():
        if one.hidden:
            continue
        whole = f"{path} {name}"
        if hasattr(one, "commands"):
            yield f"## {whole}\n\n{_paragraphs(one.help)}\n"
            yield from _commands(whole, one)
            continue
        context = one.make_context(whole, [], resilient_parsing=True)
        usage = " ".join(one.get_usage(context).split()).removeprefix("Usage: ")
        yield f"## {whole}\n\n{_paragraphs(one.help)}\n\n```text\n{usage}\n```\n"
        records = [parameter.get_help_record(context) for parameter in one.params]
        rows = [_row(f"`{name}`", _code_brackets(about)) for name, about in filter(None, records)]
        if rows:
            yield "| argument or option | what it is |\n|---|---|\n" + "\n".join(rows) + "\n"


def _code_brackets(text: str) -> str:
    """Typer's notes in brackets, such as the default, set off from the help itself."""
    return re.sub(r"\s*\[((?:default: [^\]]+)|required)\]", r" *\1*", text)


def settings_page() -> str:
    """Every setting: key, type, default, when it may change; from the schema."""
    schema = Settings.model_json_schema()
    about = (
        "Given in a TOML file (`--settings file.toml`), as `--set key=value`, or from Python as `settings={...}`. An "
        "unknown key is an error that lists those there are. *May change* says when: on `resume`, since no trace holds "
        "it (then in a fork too); in a `fork` only, since it changes what a run does; or never for a run's life.\n"
    )
    return "\n".join(["# Settings\n", about, *_section("", "Top level", schema, schema["$defs"])])


def _section(at: str, title: str, section: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {title}\n\n{_paragraphs(section.get('description', ''))}\n"
    inner: list[tuple[str, str, Mapping[str, Any]]] = []
    rows = []
    for name, field in section["properties"].items():
        key = f"{at}{name}"
        if key == "levers":
            rows.append(_row("`levers`", "list of tables: see [levers](../guides/levers.md)", "`[]`", _changes(key)))
            continue
        found = _section_in(field)
        if found is not None:
            suffix, target = found
            shown = f"{key}{suffix}"
            inner.append((f"{shown}.", f"[[{key}]]" if suffix == "[]" else f"[{key}]", known[target]))
            anchor = re.sub(r"[^a-z0-9 _-]", "", inner[-1][1].lower())
            rows.append(_row(f"`{key}`", f"section: [{inner[-1][1]}](#{anchor})", "", _changes(key)))
            continue
        default = field.get("default")
        shown = "none" if default is None else f"`{json.dumps(default)}`"
        rows.append(_row(f"`{key}`", _type(field), shown, _changes(key)))
    yield "| key | type | default | may change |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    for prefix, heading, one in inner:
        yield from _section(prefix, heading, one, known)


def _section_in(field: Mapping[str, Any]) -> tuple[str, str] | None:
    """The definition of a section that a field holds, and whether one (''), a list ('[]') or one by name ('.NAME')."""
    named = field.get("additionalProperties") or next(iter(field.get("patternProperties", {}).values()), None)
    for suffix, inside in (("", field), ("[]", field.get("items")), (".NAME", named)):
        if isinstance(inside, Mapping) and "$ref" in inside:
            return suffix, inside["$ref"].rpartition("/")[2]
    return None


def _changes(key: str) -> str:
    plain = key.replace("[]", "")
    return "resume" if may_change(plain, "resume") else "fork" if may_change(plain, "fork") else "never"


def _type(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"] if one.get("type") != "null")
    if "enum" in field:
        return ", ".join(f"`{one}`" for one in field["enum"])
    if field.get("format") == "path":
        return "path"
    name = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`",
            "object": "table", "array": "list"}[field.get("type", "object")]  # fmt: skip
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    told = [f"{word} {field[key]:,}" for key, word in bounds.items() if key in field and abs(field[key]) < 2**31]
    return f"{name}, {' and '.join(told)}" if told else name


def exit_codes_page() -> str:
    """Every exit code with the errors that end with it, from the tree of errors."""
    codes: dict[int, list[str]] = {0: ["The run is complete (of `replay`: every hash agrees)."]}
    codes[INVALID] = ["The run is complete and its manifest calls it invalid: too many asks have no answer."]
    codes[9] = ["`diff --exit-code` found a difference."]
    codes[1] = ["`doctor` found something wrong; or the machine has no memory left."]
    for error in _subclasses(PopulaceError):
        about = " ".join((error.__doc__ or "").split())
        codes.setdefault(error.exit_code, []).append(f"`{error.__name__}`: {about}")
    rows = [_row(f"{code}", "<br>".join(codes[code])) for code in sorted(codes)]
    return (
        "# Exit codes\n\nWhat a command ends with, and the error that Python code catches in its place (all are in "
        "`populace.core.errors`, and subclasses of `PopulaceError`). Whatever ends a run, what it had committed is "
        "saved and its manifest holds every billed call.\n\n| code | what ended it |\n|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def tables_page() -> str:
    """Every table with its columns, from their declarations."""
    about = (
        f"What a run leaves, as Parquet. Schema version {SCHEMA_VERSION}: it stands in each file's metadata "
        f"(`{SCHEMA}`), and a table of a newer one is refused. A column is private where it may tell who somebody is; "
        "`populace export` leaves those out. In a society with types `run.table` adds each agent's type beside its id. "
        "[Reading tables](../guides/tables.md) shows how to."
    )
    said = [f"# Tables\n\n{about}\n"]
    for name, table in TABLES.items():
        by = f" Kept by `record.{table.record}`." if table.record else ""
        said.append(f"## {name}\n\nA row is {table.about}. Rows stand in the order of {', '.join(table.order)}.{by}\n")
        said.append("| column | type | null | private | what it is |\n|---|---|---|---|---|")
        said += [
            _row(f"`{one.name}`", one.type, "yes" if one.nullable else "", "yes" if one.private else "", one.about)
            for one in table.columns
        ]
        if name == "agents":
            said.append(_row("each public field", "float64, int64, bool or text", "yes", "text", "its value"))
        said.append("")
    return "\n".join(said)


def _subclasses(error: type[PopulaceError]) -> Iterator[type[PopulaceError]]:
    for one in error.__subclasses__():
        if one.__module__.startswith("populace.") and one is not TurnError:
            yield one
            yield from _subclasses(one)


def notebook_page(name: str = "notebook") -> str:
    """A notebook as a page: its texts and its code."""
    notebook = json.loads((HERE / f"{name}.ipynb").read_text(encoding="utf-8"))
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def _paragraphs(text: str | None) -> str:
    return textwrap.dedent(text or "").strip()


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _fill(nav: Any, title: str, entries: list[str]) -> None:
    for item in nav or ():
        if isinstance(item, dict):
            for key, value in item.items():
                if key == title:
                    item[key] = entries
                elif isinstance(value, list):
                    _fill(value, title, entries)


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "notebook.md": notebook_page,
    "experiment-notebook.md": lambda: notebook_page("experiment-notebook"),
    "reference/commands.md": commands_page,
    "reference/settings.md": settings_page,
    "reference/exit-codes.md": exit_codes_page,
    "reference/tables.md": tables_page,
}
