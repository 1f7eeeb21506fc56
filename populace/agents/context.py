"""A turn: what an agent sees and does in one tick, and the coroutine that the kernel drives.

The kernel steps the coroutine itself. What a turn yields is an effect (`Ask` or `Look`); anything else that comes
out of it belongs to some event loop, and is an error that names the line. Sends, actions and timers are buffered
here; the shard commits them when the tick ends.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from operator import index
from types import CoroutineType, FrameType
from typing import Any, Final

import msgpack
import msgspec

from populace.agents.agent import Agent
from populace.agents.answers import compile_answer, content_key
from populace.core.draws import WORLD, Draws
from populace.core.errors import BadAction, BadAsk, BadMessage, ForeignAwaitable, NotAwaited
from populace.core.records import Answer, Ask, Look, Message

UNKNOWN: Final = -2
"""Stands for a recipient that cannot exist."""

_pack: Final = msgpack.Packer(autoreset=True).pack
_INT32_MAX: Final = 2**31 - 1
_NOTHING: Final[Mapping[str, Any]] = {}
_HEART: Final = frozenset({__name__, Ask.__module__, "populace.agents.answers"})
_SCALARS: Final = frozenset({str, int, float, bool, bytes, type(None)})
_CONTAINERS: Final = (dict, list, tuple)
_NOT_PLAIN: Final = (TypeError, ValueError, OverflowError, RecursionError)


class Scope(msgspec.Struct):
    """What all turns of a shard share. The shard moves `tick` on.

    `forms` says how asks of a kind of answer are put, where that is not as a chat; it stands in their content keys.
    """

    seed: int
    tick_seconds: float
    parameters: Any
    population: int
    model: str
    max_tokens: int
    temperature: float
    body_bytes: int
    sends_per_turn: int
    actions: frozenset[str]
    queries: frozenset[str]
    tick: int = 0
    forms: Mapping[str, str] = {}


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


class Context:
    """What a turn is given.

    `id` is the agent's, `tick` the tick's number, `inbox` the messages sent to this agent in the tick before, in
    the order (sender, nth); `seen` is what the world's parts show the agent, as of the start of the tick.
    """

    __slots__ = ("_agent", "_answers", "_asks", "_before", "_bodies", "_coroutine", "_draws", "_failure", "_made",
                 "_pending", "_scope", "_to", "_wakes", "id", "inbox", "seen", "tick")  # fmt: skip

    def __init__(self, agent: Agent, id: int, scope: Scope, inbox: Sequence[Message]) -> None:  # noqa: A002
        self.id = id
        self.tick = scope.tick
        self.inbox = inbox
        self.seen = _NOTHING
        self._agent = agent
        self._scope = scope
        self._to: list[int] = []
        self._bodies: list[bytes] = []
        self._asks: list[Ask] | None = None
        self._answers: list[Answer] | None = None
        self._draws: Draws | None = None
        self._wakes: list[int] | None = None
        self._before: Any = None
        self._made = 0
        self._pending: list[Ask | Look] = []
        self._failure: Failure | None = None
        self._coroutine: Coroutine[Any, Any, None] | None = None

    @property
    def parameters(self) -> Any:
        """The scenario's parameters."""
        return self._scope.parameters

    @property
    def time_s(self) -> float:
        """Simulated seconds since the run's beginning, at the start of this tick."""
        return self.tick * self._scope.tick_seconds

    @property
    def draw(self) -> Draws:
        """The agent's draws in this tick: `ctx.draw("partner").choice(friends)`."""
        draws = self._draws
        if draws is None:
            draws = self._draws = Draws(self._scope.seed, self.id, self.tick)
        return draws

    def send(self, to: int | Iterable[int], body: Any) -> None:
        """Send `body` (plain data) to an agent, or to several; they read it in the next tick.

        A recipient that does not exist makes the message `refused`, which is counted; it is no error, since it
        may be a model that names the recipient. Raises BadMessage for a body that is not plain data or exceeds
        `bus.body_bytes`, and for more than `bus.sends_per_turn` messages in a turn.
        """
        try:
            packed = _pack_plain(body)
        except _NOT_PLAIN as error:
            raise BadMessage(f"ctx.send: the body is not plain data: {error}") from None
        scope = self._scope
        if len(packed) > scope.body_bytes:
            raise BadMessage(f"ctx.send: the body takes {len(packed)} bytes and bus.body_bytes is {scope.body_bytes}")
        addresses = self._to
        room = scope.sends_per_turn - len(addresses)
        if type(to) is int and room > 0:
            addresses.append(to if 0 <= to <= _INT32_MAX else UNKNOWN)
            self._bodies.append(packed)
            return
        try:
            targets = [index(one) for one in islice(to, room + 1)] if isinstance(to, Iterable) else [index(to)]
        except TypeError as error:
            raise BadMessage(f"ctx.send: `to` is an agent's id or several: {error}") from None
        if len(targets) > room:
            raise BadMessage(f"ctx.send: more than bus.sends_per_turn = {scope.sends_per_turn} messages in one turn")
        addresses.extend([one if 0 <= one <= _INT32_MAX else UNKNOWN for one in targets])
        self._bodies.extend([packed] * len(targets))

    def act(self, kind: str, /, **args: Any) -> None:
        """Act on the world, for example `ctx.act("network.follow", target=7)`; it is applied at the tick's end.

        Raises BadAction for an action that no part of the world has, for arguments that are not plain data or
        exceed `bus.body_bytes`, and where the turn's messages and actions exceed `bus.sends_per_turn`.
        """
        scope = self._scope
        if kind not in scope.actions:
            raise BadAction(f"the world has no action {kind!r}; it has {', '.join(sorted(scope.actions)) or 'none'}")
        try:
            packed = _pack_plain((kind, args))
        except _NOT_PLAIN as error:
            raise BadAction(f"ctx.act({kind!r}): the arguments are not plain data: {error}") from None
        if len(packed) > scope.body_bytes:
            raise BadAction(f"ctx.act({kind!r}): takes {len(packed)} bytes and bus.body_bytes is {scope.body_bytes}")
        if len(self._to) >= scope.sends_per_turn:
            raise BadAction(f"ctx.act({kind!r}): more than bus.sends_per_turn = {scope.sends_per_turn} in one turn")
        self._to.append(WORLD)
        self._bodies.append(packed)

    def wake_at(self, tick: int) -> None:
        """Be due at `tick`, mail or not. Raises ValueError for a tick that is not in the future."""
        if tick <= self.tick:
            raise ValueError(f"ctx.wake_at({tick}): it is tick {self.tick} already")
        if self._wakes is None:
            self._wakes = []
        self._wakes.append(index(tick))

    def ask(
        self,
        prompt: str,
        answer: Any = str,
        *,
        system: str = "",
        purpose: str = "ask",
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> Awaitable[Any]:
        """Ask the model: `opinion = await ctx.ask(prompt, Opinion)`.

        `answer` is the type wanted: a msgspec Struct, a pydantic model, a `Choice`, or `str`. The awaited value is
        of that type (`Chosen` for a `Choice`), or `Abstained` where there is no usable answer. `system` stands
        first in the prompt: put what agents share there, so that a prefix cache can serve it. `purpose` names
        this kind of ask in counts and costs. Raises BadAsk for an answer type without a schema, and for a prompt
        that is not text.
        """
        scope = self._scope
        if not (isinstance(prompt, str) and isinstance(system, str) and isinstance(purpose, str)):
            raise BadAsk("ctx.ask: prompt, system and purpose are text (str)")
        try:
            messages = (("system", system), ("user", prompt)) if system else (("user", prompt),)
            spec = compile_answer(answer)
            tokens = scope.max_tokens if max_tokens is None else max_tokens
            heat = scope.temperature if temperature is None else temperature
            form = scope.forms.get(spec.kind, "") if scope.forms else ""
            key = content_key(scope.model, messages, spec, tokens, heat, form)
        except _NOT_PLAIN as error:
            raise BadAsk(f"ctx.ask: {error}") from None
        if self._asks is None:
            self._asks = []
            self._answers = []
        ask = Ask(self.id, self.tick, self._made, purpose, messages, spec, tokens, heat, key)
        self._made += 1
        self._pending.append(ask)
        return ask

    def look(self, query: str, /, **args: Any) -> Awaitable[Any]:
        """Ask the world's snapshot: `friends = await ctx.look("network.neighbors")`.

        Raises LookupError for a query that no part of the world has, and BadAsk for arguments that are not plain
        data or exceed `bus.body_bytes`.
        """
        if query not in self._scope.queries:
            raise LookupError(
                f"the world has no query {query!r}; it has {', '.join(sorted(self._scope.queries)) or 'none'}"
            )
        if args:
            try:
                packed = _pack_plain(args)
            except _NOT_PLAIN as error:
                raise BadAsk(f"ctx.look({query!r}): the arguments are not plain data: {error}") from None
            if len(packed) > self._scope.body_bytes:
                raise BadAsk(
                    f"ctx.look({query!r}): takes {len(packed)} bytes and bus.body_bytes is {self._scope.body_bytes}"
                )
            args = msgpack.unpackb(packed, strict_map_key=False)
        look = Look(self.id, query, args)
        self._pending.append(look)
        return look


def step(ctx: Context, value: Any) -> Ask | Look | None:
    """Resume a turn with the value of the effect it awaits (None to begin); the next effect, or None at its end.

    A LookupError is raised where the turn awaits: it is a look that could not be answered.

    An exception ends the turn and is put down as `ctx._failure`.
    """
    coroutine = ctx._coroutine
    try:
        if coroutine is None:
            coroutine = ctx._coroutine = ctx._agent.turn(ctx)
        effect = coroutine.throw(value) if isinstance(value, LookupError) else coroutine.send(value)
    except StopIteration:
        if ctx._pending:
            n, write = len(ctx._pending), "write `await ctx.ask(...)`, `await ctx.look(...)`"
            fail(ctx, NotAwaited(f"{n} effect(s) made and never awaited: {write}"))
        return None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # an agent may raise anything; it ends its own turn only
        ctx._failure = _failure(ctx, error, _raised_at(error))
        return None
    for at, pending in enumerate(ctx._pending):
        if pending is effect:
            own = ctx._pending.pop(at)
            if type(own) is Ask:
                ctx._asks.append(own)  # type: ignore[union-attr]
            return own
    foreign = ForeignAwaitable(
        "a turn may await its own ctx.ask and ctx.look only, each once; "
        f"this awaited something else, which yielded a {type(effect).__name__}"
    )
    ctx._failure = _failure(ctx, foreign, _waiting_at(coroutine))
    close(ctx)
    return None


def close(ctx: Context) -> None:
    """End a turn that waits; what it raises while it is closed is dropped, since the turn has ended already."""
    if ctx._coroutine is not None:
        with suppress(Exception):
            ctx._coroutine.close()


def fail(ctx: Context, error: Exception) -> None:
    """Put down an error that the kernel found in a turn that has ended."""
    ctx._failure = _failure(ctx, error, _definition(ctx._agent))


def _failure(ctx: Context, error: BaseException, where: str) -> Failure:
    story = [f"{len(ctx.inbox)} message(s) in the inbox"]
    asks, answers = ctx._asks or [], ctx._answers or []
    for at, ask in enumerate(asks):
        ended = f"{answers[at].settled} {answers[at].reason}".strip() if at < len(answers) else "open"
        story.append(f"asked ({ask.purpose}): {ended}")
    if ctx._to:
        story.append(f"{len(ctx._to)} message(s) and action(s) dropped")
    if error.__traceback__ is not None:
        story.append("".join(traceback.format_exception(error)).rstrip())
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  # an agent's own exception may fail to say what it is
        message = "(its message cannot be read)"
    return Failure(
        ctx.id, ctx.tick, type(error).__name__, _sound(message)[:2000], where, _sound("\n".join(story))[:20_000]
    )


def _sound(text: str) -> str:
    """The text without lone surrogates, which UTF-8 cannot write."""
    return text.encode("utf-8", "replace").decode()


def _pack_plain(value: Any) -> bytes:
    """Pack plain data. Raises TypeError for what its reader could not unpack: a dict whose keys hold lists."""
    kind = type(value)
    flat = value.values() if kind is dict else (value,)
    if not (_SCALARS.issuperset(map(type, flat)) and (kind is not dict or _SCALARS.issuperset(map(type, value)))):
        _check_keys((value,))
    packed: bytes = _pack(value)
    return packed


def _check_keys(value: Any) -> None:
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str and isinstance(key, tuple):
                raise TypeError("a tuple cannot be a key")
        value = value.values()
    for inner in value:
        if type(inner) not in _SCALARS and isinstance(inner, _CONTAINERS):
            _check_keys(inner)


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
    """The innermost of these frames, given outermost first, that lies neither in Python's library nor in the heart."""
    place = "turn"
    for frame, line in frames:
        module = str(frame.f_globals.get("__name__", ""))
        if module not in _HEART and module.partition(".")[0] not in sys.stdlib_module_names:
            place = f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
    return place


def _definition(agent: Agent) -> str:
    code = getattr(type(agent).turn, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno} in {code.co_name}" if code else type(agent).__name__
