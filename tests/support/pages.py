"""The examples of a page of Markdown, found and run: what a reader would type stays true.

Fenced blocks of a page run in order, in one folder, on the scripted model:

- a block with a title (`title="my_society.py"` after its kind) is written to that file, and a Python file is imported;
- ```` ```python ```` is executed; blocks of a page share their names, and those of its files; `await` may stand at the
  top;
- ```` ```sh ```` holds commands, `populace ...` alone, a line each or joined by `&&`. A comment that says
  `exit code 8` says how one ends.

A server on loopback stands in for the endpoint that examples name, and memory for an object store.

Before a block, `<!-- not run: why -->` leaves it out. Its `populace` commands are still parsed, with their settings, so
that no option of theirs can be misspelt.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import inspect
import io
import re
import shlex
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from populace.cli.app import app
from populace.core.errors import PopulaceError
from populace.settings import load_settings, with_levers

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`]*)$")
NOT_RUN = re.compile(r"^\s*<!-- not run: (?P<why>.+) -->$")
TITLE = re.compile(r'title="(?P<title>[^"]+)"')
EXIT = re.compile(r"#.*\bexit code (?P<code>\d+)")
KINDS = ("python", "sh")
ENDPOINT = "http://127.0.0.1:8000/v1"
"""The address of an endpoint in examples."""


@dataclass(frozen=True)
class Block:
    """A fenced block: the line of its first line of text, from 1; `why_not` where it is not to be run."""

    page: str
    line: int
    kind: str
    text: str
    title: str = ""
    why_not: str = ""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of a block, how it is to end, and its line."""

    line: int
    words: list[str]
    exit_code: int = 0


class Broken(AssertionError):
    """An example that does not do what its page says."""


def pages() -> list[str]:
    """Every page whose examples run."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    return sorted(page.relative_to(ROOT).as_posix() for page in found if page.name != "CHANGELOG.md")


def blocks_of(text: str, page: str = "page") -> Iterator[Block]:
    """The fenced blocks of a page in order. Raises Broken for a fence that is never closed."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        opened = FENCE.match(lines[at])
        if not opened:
            at += 1
            continue
        end = next((n for n in range(at + 1, len(lines)) if lines[n].strip() == "```"), None)
        if end is None:
            raise Broken(f"{page}:{at + 1}: this fence is never closed")
        indent, info = len(opened["indent"]), opened["info"].strip()
        titled = TITLE.search(info)
        marked = NOT_RUN.match(lines[at - 1]) if at else None
        yield Block(
            page, at + 2, info.split(" ")[0], "\n".join(line[indent:] for line in lines[at + 1 : end]) + "\n",
            titled["title"] if titled else "", marked["why"] if marked else "",
        )  # fmt: skip
        at = end + 1


def commands_of(block: Block) -> Iterator[Command]:
    """The commands of a block of the shell, with lines that go on joined."""
    begun: list[str] = []
    for n, line in enumerate(block.text.splitlines()):
        begun.append(line.removesuffix("\\"))
        if line.endswith("\\"):
            continue
        text, first = " ".join(begun), block.line + n + 1 - len(begun)
        begun = []
        words = shlex.split(text, comments=True)
        code = EXIT.search(text)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            yield Command(first, words[:end], int(code["code"]) if code else 0)
            words = words[end + 1 :]


def check_parsed(block: Block) -> int:
    """Parse the `populace` commands of a block that is not run, and give their number. Raises Broken."""
    if block.kind == "python":
        compile(block.text, block.page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        return 0
    count = 0
    for command in commands_of(block):
        if Path(command.words[0]).name != "populace":
            continue
        count += 1
        try:
            parse(command.words[1:])
        except Exception as error:
            raise Broken(f"{block.page}:{command.line}: {error}") from error
    return count


def parse(words: list[str]) -> None:
    """Read a command line as typer does, and the settings and levers on it, without doing anything."""
    context = _click().make_context("populace", list(words), resilient_parsing=False)
    with context:
        while hasattr(context.command, "resolve_command"):
            rest = [*context._protected_args, *context.args]
            name, command, rest = context.command.resolve_command(context, rest)
            context = command.make_context(name, rest, parent=context)
    given = context.params
    with_levers(load_settings(None, given.get("set_") or ()), _whole(given.get("lever") or ()))


def _whole(levers: list[str]) -> list[str]:
    """A fork's lever may leave out its tick."""
    return [lever if "at" in lever.partition("=")[0] else f"at=0, {lever}" for lever in levers]


def _click() -> Any:
    return typer.main.get_command(app)


class Page:
    """One page's examples at work in one folder; `ran` and `left` count blocks that were run and that were not."""

    def __init__(self, folder: Path, endpoint: str = ENDPOINT) -> None:
        self.folder = folder
        self.ran = 0
        self.left: list[Block] = []
        self._endpoint = endpoint
        self._module = types.ModuleType("page_of_examples")

    def run(self, blocks: Iterator[Block] | list[Block]) -> None:
        """Run a page's blocks, with the folder as the working directory. Raises Broken with page and line."""
        known = set(sys.modules)
        sys.modules[self._module.__name__] = self._module  # types that a block makes are looked up there
        sys.path.insert(0, str(self.folder))
        try:
            with contextlib.chdir(self.folder):
                for block in blocks:
                    self._take(block)
        finally:
            sys.path.remove(str(self.folder))
            del sys.modules[self._module.__name__]
            for name in set(sys.modules) - known:
                if str(getattr(sys.modules[name], "__file__", None)).startswith(str(self.folder)):
                    del sys.modules[name]

    def _take(self, block: Block) -> None:
        if block.why_not:
            check_parsed(block)
            self.left.append(block)
        elif block.title:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._stood_in(block.text), encoding="utf-8")
            if path.suffix == ".py":
                self._import(block, path.stem)
        elif block.kind == "python":
            self._execute(block)
            self.ran += 1
        elif block.kind == "sh":
            for command in commands_of(block):
                self._command(block, command)
            self.ran += 1

    def _import(self, block: Block, name: str) -> None:
        importlib.invalidate_caches()
        try:
            module = importlib.import_module(name)
        except Exception as error:
            raise Broken(f"{block.place}: {type(error).__name__}: {error}") from error
        vars(self._module).update({key: value for key, value in vars(module).items() if not key.startswith("__")})

    def _stood_in(self, text: str) -> str:
        return text.replace(ENDPOINT, self._endpoint).replace("s3://", "memory://")

    def _execute(self, block: Block) -> None:
        text = "\n" * (block.line - 1) + self._stood_in(block.text)
        code = compile(text, block.page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        try:
            with _silent():
                found = eval(code, vars(self._module))
                if inspect.iscoroutine(found):
                    asyncio.run(found)
        except Exception as error:
            line = _line_in(error, block.page) or block.line
            raise Broken(f"{block.page}:{line}: {type(error).__name__}: {error}") from error

    def _command(self, block: Block, command: Command) -> None:
        place = f"{block.page}:{command.line}"
        if command.words[0] != "populace":
            raise Broken(f"{place}: {command.words[0]} is not run here; mark the block <!-- not run: why -->")
        words = on_the_scripted_model([self._stood_in(word) for word in command.words[1:]])
        with _silent() as said:
            try:
                ended = app(words, standalone_mode=False) or 0
            except PopulaceError as error:
                ended = error.exit_code
                said.write(str(error))
            except Exception as error:
                raise Broken(f"{place}: {type(error).__name__}: {error}") from error
        if ended != command.exit_code:
            raise Broken(f"{place}: ends with {ended} and not {command.exit_code}:\n{said.getvalue()[-1500:]}")


def on_the_scripted_model(words: list[str]) -> list[str]:
    """The same command, asking the scripted model where it names none."""
    named = any(word in ("--model", "--scripted", "--settings") or "model.kind" in word for word in words)
    return words if named or words[0] not in ("run", "estimate") else [*words, "--model", "scripted"]


def _line_in(error: BaseException, page: str) -> int | None:
    at, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == page:
            at = trace.tb_lineno
        trace = trace.tb_next
    return at


@contextlib.contextmanager
def _silent() -> Iterator[io.StringIO]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said
