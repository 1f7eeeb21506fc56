"""`populace interview`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from populace.cli.shown import QUIET, watched
from populace.cli.survey import code_of
from populace.cli.trust import trusted

if TYPE_CHECKING:
    from populace.runs.probing import Interview


def interview(
    run: Annotated[str, typer.Argument(help="The run's folder.")],
    agent: Annotated[int, typer.Option(help="Whom to talk with, by id.")],
    at_tick: Annotated[
        int | None, typer.Option(help="As it stood before this tick; default: at the run's end.")
    ] = None,
    ask: Annotated[
        list[str] | None, typer.Option(help="A question; repeatable. Default: a line of stdin each.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="embedded, openai, rules or scripted; default: the run's.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting for the asking, key=value.")] = None,
    code: Annotated[str, typer.Option(help="new: the scenario's code as it is now; recorded: the run's.")] = "new",
    trust: Annotated[bool, typer.Option(help="Run the code of a run that was not made here by you.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
) -> None:
    """Talk with an agent as it stood before a tick, without a trace in the run; an empty line ends it."""
    from populace.runs.probing import interview_run

    with watched(quiet=quiet) as observers:
        talk = interview_run(
            run, agent, at_tick, set_ or (), code=code_of(code), trust=trusted(run, "interview", trust),
            observers=observers, model__kind=model,
        )  # fmt: skip
    hold(talk, ask or typed(sys.stdin, sys.stdout), sys.stdout)


def hold(talk: Interview, questions: Iterable[str], stream: TextIO) -> None:
    """Put the questions, one after another, and write an answer a line; on a terminal with who says it."""
    from populace.core.records import Abstained
    from populace.core.text import shown_line, shown_text

    for question in questions:
        said = talk.ask(question)
        if isinstance(said, Abstained):
            detail = f": {said.detail}" if said.detail else ""
            text = shown_line(f"(no answer, {said.reason}{detail})")
        else:
            text = shown_text(said) if stream.isatty() else shown_line(said)
        stream.write(f"agent {talk.agent}: {text}\n" if stream.isatty() else f"{text}\n")
        stream.flush()


def typed(stdin: TextIO, stdout: TextIO) -> Iterator[str]:
    """The questions that are typed, or piped, a line each."""
    both = stdin.isatty() and stdout.isatty()
    while True:
        if both:
            stdout.write("you: ")
            stdout.flush()
        line = stdin.readline().encode(errors="surrogateescape").decode(errors="replace")
        if not line or (both and not line.strip()):
            return
        if line.strip():
            yield line.strip()
