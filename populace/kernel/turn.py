"""A turn as the kernel drives it: the coroutine, what it asked and was answered, and how it failed.

The kernel steps the coroutine itself. What a turn yields is an effect (`Ask`, `Look` or `Contribution`); anything else
that comes out of it belongs to some event loop, and is an error that names the line.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from types import CoroutineType, FrameType
from typing import Any, Final, TypeAlias, cast

import msgspec

from populace.agents.agent import Agent
from populace.agents.context import Context, Draft
from populace.core.errors import ForeignAwaitable, NotAwaited
from populace.core.records import Abstained, Answer, Ask, Look, Message, Reason
from populace.core.rounds import Contribution, Heard
from populace.core.text import without_texts

_SHIPPED: Final = "populace.scenarios"
_SHARED: Final = "parameters are shared by all agents: keep what changes in a field of the agent"
_REMEDIES: Final = {
    "object NoneType can't be used in 'await' expression": (
        "ctx.send, ctx.act and ctx.wake_at take effect when the tick ends and are not awaited: write them without "
        "`await`"
    ),
    "immutable type": _SHARED,
    "property 'parameters' of 'Context'": _SHARED,
}
"""What to write instead, by what Python says."""


Effect: TypeAlias = Ask | Look | Contribution
"""What a turn may await."""
_CALLED: Final[dict[type, str]] = {Ask: "ask", Look: "look", Contribution: "round"}


class Failure(msgspec.Struct):
    """How one turn went wrong: where, why, and what led to it."""

    agent: int
    tick: int
    error: str
    message: str
    where: str
    story: str

    def __str__(self) -> str:
        return f"tick {self.tick}, agent {self.agent}: {self.error}: {self.message} ({self.where})"


class Turn(Draft, eq=False):
    """One agent's turn in one tick.

    `before` holds the values of the agent's public fields as the turn began. `asks` are those that were awaited, in
    their order, and `answers` how they ended; `exchanged` what it contributed to rounds, each with what came of it;
    None for none. `joined` counts asks that it put together with others. `failure` is set once the turn has failed.
    """

    agent: Agent
    id: int
    tick: int
    inbox: Sequence[Message] = ()
    before: Any = None
    asks: list[Ask] | None = None
    answers: list[Answer] | None = None
    exchanged: list[tuple[Contribution, Heard]] | None = None
    failure: Failure | None = None
    joined: int = 0
    coroutine: Coroutine[Any, Any, None] | None = None

    def begin(self, context: Context) -> Effect | None:
        """Start the turn, of which the agent is given this; see `step`."""
        try:
            coroutine = self.coroutine = self.agent.turn(context)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # an agent may raise anything; it ends its own turn only
            self.failure = _failure(self, error, _raised_at(error))
            return None
        try:
            effect = coroutine.send(None)
        except StopIteration:
            if self.pending:
                self._never_awaited()
            return None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # as above
            self.failure = _failure(self, error, _raised_at(error))
            return None
        return self._awaited(effect)

    def step(self, value: Any) -> Effect | None:
        """Resume with the value of the effect that the turn awaits; the next effect, or None at its end.

        A LookupError is raised where the turn awaits: it is a look, or a round, that could not be had. An exception
        ends the turn and is put down as its `failure`.
        """
        coroutine: Any = self.coroutine
        effect: object
        try:
            effect = coroutine.throw(value) if isinstance(value, LookupError) else coroutine.send(value)
        except StopIteration:
            if self.pending:
                self._never_awaited()
            return None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # an agent may raise anything; it ends its own turn only
            self.failure = _failure(self, error, _raised_at(error))
            return None
        return self._awaited(effect)

    def _awaited(self, effect: object) -> Effect | None:
        """Take an effect that came out of the coroutine, if it is the turn's own; else the turn has failed."""
        pending = self.pending
        for at in range(len(pending)):
            if pending[at] is effect:
                own = pending.pop(at)
                if type(own) is Ask:
                    if self.asks is None:
                        self.asks, self.answers = [], []
                    self.asks.append(own)
                return own
        foreign = ForeignAwaitable(
            "a turn may await its own ctx.ask, ctx.look and ctx.round only, each once; "
            f"this awaited something else, which yielded a {type(effect).__name__}"
        )
        self.failure = _failure(self, foreign, _waiting_at(self.coroutine))
        self.close()
        return None

    def _never_awaited(self) -> None:
        calls = sorted({f"`await ctx.{_CALLED[type(one)]}(...)`" for one in self.pending})
        write = f"write {', '.join(calls)}"
        self.fail(NotAwaited(f"{len(self.pending)} effect(s) made and never awaited: {write}"))

    def close(self) -> None:
        """End a turn that waits; what it raises while it is closed is dropped, since the turn has ended already."""
        if self.coroutine is not None:
            with suppress(Exception):
                self.coroutine.close()

    def fail(self, error: Exception) -> None:
        """Put down an error that the kernel found in a turn that has ended."""
        self.failure = _failure(self, error, _definition(self.agent))


def _failure(turn: Turn, error: BaseException, where: str) -> Failure:
    story = [f"{len(turn.inbox)} message(s) in the inbox"]
    asks, answers = turn.asks or [], turn.answers or []
    for at, ask in enumerate(asks):
        ended = f"{answers[at].settled} {answers[at].reason}".strip() if at < len(answers) else "open"
        story.append(f"asked ({ask.purpose}): {ended}")
    if turn.to:
        story.append(f"{len(turn.to)} message(s) and action(s) dropped")
    if error.__traceback__ is not None:
        told = "".join(traceback.format_exception(error)).rstrip()
        story.append(told.replace(f'File "{_folder(type(turn.agent))}', 'File "'))
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  # an agent's own exception may fail to say what it is
        message = "(its message cannot be read)"
    message += next((f"; {remedy}" for said, remedy in _REMEDIES.items() if said in message), "")
    missing = re.fullmatch(rf"'{re.escape(type(turn.agent).__name__)}' object has no attribute '(\w+)'", message)
    if missing is not None:
        message += f"; declare it as a field of the class with its type, such as `{missing[1]}: int = 0`"
    message = without_texts(message, own := _texts_of(turn.agent))
    message += _not_shown(turn, error)
    for effect in turn.pending or ():
        if f"'{type(effect).__name__}'" in message:
            message += f". This is what was asked and not its answer: write `await ctx.{_CALLED[type(effect)]}(...)`"
            break
    return Failure(
        turn.id,
        turn.tick,
        type(error).__name__,
        _sound(message)[:2000],
        where,
        _sound(without_texts("\n".join(story), own))[:20_000],
    )


def _texts_of(agent: Agent) -> list[tuple[str, str]]:
    """The agent's fields of text, by name: what a failure says is shown, and an agent's persona is not."""
    names = type(agent).__struct_fields__
    return [(name, value) for name in names if type(value := getattr(agent, name, None)) is str]


def _folder(kind: type[Agent]) -> str:
    """The folder of the society's file: a story names files from there, so that it reads the same wherever they lie."""
    code = getattr(kind.turn, "__code__", None)
    return "" if code is None else code.co_filename[: code.co_filename.rfind(os.sep) + 1]


def _not_shown(turn: Turn, error: BaseException) -> str:
    """What the world's parts show an agent, where it looked for something else in `ctx.seen`."""
    key = error.args[0] if type(error) is KeyError and error.args else None
    if not isinstance(key, str) or not re.fullmatch(r"\w+\.\w+", key):
        return ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for local in frame.f_locals.values():
            if type(local) is Context and local.id == turn.id:
                return "" if key in local.seen else f"; in ctx.seen there are: {', '.join(local.seen) or 'none'}"
    return ""


def _sound(text: str) -> str:
    """The text without lone surrogates, which UTF-8 cannot write."""
    return text.encode("utf-8", "replace").decode()


def _raised_at(error: BaseException) -> str:
    return _own_place(traceback.walk_tb(error.__traceback__))


def _waiting_at(coroutine: Any) -> str:
    """Where in the user's own code a coroutine waits."""
    frames: list[tuple[FrameType, int]] = []
    while isinstance(coroutine, CoroutineType):
        if coroutine.cr_frame is not None:
            frames.append((coroutine.cr_frame, coroutine.cr_frame.f_lineno))
        coroutine = coroutine.cr_await
    return _own_place(frames)


def _own_place(frames: Iterable[tuple[FrameType, int]]) -> str:
    """The innermost of these frames, given outermost first, that lies neither in Python's library nor in populace."""
    place = "turn"
    for frame, line in frames:
        module = str(frame.f_globals.get("__name__", ""))
        inside = module.startswith("populace.") and not module.startswith(_SHIPPED)
        if not inside and module.partition(".")[0] not in sys.stdlib_module_names:
            place = f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
    return place


def _definition(agent: Agent) -> str:
    code = getattr(type(agent).turn, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno} in {code.co_name}" if code else type(agent).__name__


def read_answer(ask: Ask, answer: Answer) -> tuple[Answer, Any]:
    """How an ask ended, and the value that whoever asked is given: of the ask's type, or `Abstained`."""
    if ask.model_role:
        answer.model_role = ask.model_role
    if answer.settled == "abstained":
        return answer, Abstained(cast("Reason", answer.reason), answer.detail)
    try:
        text = answer.text
        value = ask.take(text)
        if not text.isascii():
            text.encode()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # a validator of the user's may raise anything
        answer = _unreadable(answer, error)
        return answer, Abstained("schema", answer.detail)
    return answer, value


def said_of(asks: Sequence[Ask], answers: Sequence[Answer]) -> list[tuple[bytes, bool, str, str]]:
    """What stands in the trace of asks and how each ended."""
    if len(asks) == 1:  # as most turns
        (ask,), (answer,) = asks, answers
        return [(ask.key, answer.settled == "abstained", answer.reason, answer.text)]
    return [
        (ask.key, answer.settled == "abstained", answer.reason, answer.text)
        for ask, answer in zip(asks, answers, strict=True)
    ]


def _unreadable(answer: Answer, error: BaseException) -> Answer:
    """The answer as it counts where it cannot be read as its type, or holds lone surrogates."""
    detail = str(error).encode("utf-8", "replace").decode()[:500]
    text = answer.text.encode("utf-8", "replace").decode()
    return msgspec.structs.replace(answer, settled="abstained", text=text, reason="schema", detail=detail)
