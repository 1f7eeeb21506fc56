"""A turn: what an agent sees and does in one tick, and the coroutine that the kernel drives.

The kernel steps the coroutine itself. What a turn yields is an effect (`Ask` or `Look`); anything else that comes
out of it belongs to some event loop, and is an error that names the line. Sends, actions and timers are buffered
here; the shard commits them when the tick ends.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence
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


class Scope(msgspec.Struct):
    """What all turns of a shard share. The shard moves `tick` on."""

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

    __slots__ = ("_agent", "_answers", "_asks", "_before", "_bodies", "_coroutine", "_draws", "_failure", "_made", "_performed",
                 "_scope", "_to", "_wakes", "id", "inbox", "seen", "tick")  # fmt: skip

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
        self._performed = 0
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
        """This agent's draws in this tick: `ctx.draw("partner").choice(friends)`."""
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
            packed = _pack(body)
        except (TypeError, ValueError, OverflowError) as error:
            raise BadMessage(f"ctx.send: the body is not plain data: {error}") from None
        scope = self._scope
        if len(packed) > scope.body_bytes:
            raise BadMessage(f"ctx.send: the body takes {len(packed)} bytes and bus.body_bytes is {scope.body_bytes}")
        addresses = self._to
        if type(to) is int:
            addresses.append(to if 0 <= to <= _INT32_MAX else UNKNOWN)
            self._bodies.append(packed)
        else:
            before = len(addresses)
            try:
                targets = [index(to)] if hasattr(to, "__index__") else [index(one) for one in to]  # type: ignore[arg-type,union-attr]
            except TypeError as error:
                raise BadMessage(f"ctx.send: `to` is an agent's id or several: {error}") from None
            addresses.extend([one if 0 <= one <= _INT32_MAX else UNKNOWN for one in targets])
            self._bodies.extend([packed] * (len(addresses) - before))
        if len(addresses) > scope.sends_per_turn:
            raise BadMessage(f"ctx.send: more than bus.sends_per_turn = {scope.sends_per_turn} messages in one turn")

    def act(self, kind: str, /, **args: Any) -> None:
        """Act on the world, for example `ctx.act("network.follow", target=7)`; it is applied at the tick's end.

        Raises BadAction for an action that no part of the world has, and for arguments that are not plain data
        or exceed `bus.body_bytes`.
        """
        scope = self._scope
        if kind not in scope.actions:
            raise BadAction(f"the world has no action {kind!r}; it has {', '.join(sorted(scope.actions)) or 'none'}")
        try:
            packed = _pack((kind, args))
        except (TypeError, ValueError, OverflowError) as error:
            raise BadAction(f"ctx.act({kind!r}): the arguments are not plain data: {error}") from None
        if len(packed) > scope.body_bytes:
            raise BadAction(f"ctx.act({kind!r}): takes {len(packed)} bytes and bus.body_bytes is {scope.body_bytes}")
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
        this kind of ask in counts and costs. Raises BadAsk for an answer type without a schema.
        """
        scope = self._scope
        try:
            messages = (("system", system), ("user", prompt)) if system else (("user", prompt),)
            spec = compile_answer(answer)
            tokens = scope.max_tokens if max_tokens is None else max_tokens
            heat = scope.temperature if temperature is None else temperature
            key = content_key(scope.model, messages, spec, tokens, heat)
        except TypeError as error:
            raise BadAsk(f"ctx.ask: {error}") from None
        asks = self._asks
        if asks is None:
            asks = self._asks = []
            self._answers = []
        ask = Ask(self.id, self.tick, self._made, purpose, messages, spec, tokens, heat, key)
        self._made += 1
        return ask

    def look(self, query: str, /, **args: Any) -> Awaitable[Any]:
        """Ask the world's snapshot: `friends = await ctx.look("network.neighbors")`.

        Raises LookupError for a query that no part of the world has.
        """
        if query not in self._scope.queries:
            raise LookupError(
                f"the world has no query {query!r}; it has {', '.join(sorted(self._scope.queries)) or 'none'}"
            )
        self._made += 1
        return Look(self.id, query, args)


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
        if ctx._made != ctx._performed:
            n = ctx._made - ctx._performed
            error = NotAwaited(f"{n} effect(s) made and never awaited: write `await ctx.ask(...)`, `await ctx.look(...)`")
            ctx._failure = _failure(ctx, error, _definition(ctx._agent))
        return None
    except Exception as error:  # noqa: BLE001  # an agent may raise anything; it ends its own turn only
        ctx._failure = _failure(ctx, error, _raised_at(error))
        return None
    if (type(effect) is Ask or type(effect) is Look) and effect.agent == ctx.id and ctx._performed < ctx._made:
        ctx._performed += 1
        if type(effect) is Ask:
            ctx._asks.append(effect)  # type: ignore[union-attr]
        return effect
    kind = type(effect).__name__
    error = ForeignAwaitable(
        "a turn may await its own ctx.ask and ctx.look only, each once; "
        f"this awaited something else, which yielded a {kind}"
    )
    ctx._failure = _failure(ctx, error, _waiting_at(coroutine))
    coroutine.close()
    return None


def fail(ctx: Context, error: Exception) -> None:
    """Put down an error that the kernel found in a turn that has ended."""
    ctx._failure = _failure(ctx, error, _definition(ctx._agent))


def _failure(ctx: Context, error: Exception, where: str) -> Failure:
    story = [f"{len(ctx.inbox)} message(s) in the inbox"]
    asks, answers = ctx._asks or [], ctx._answers or []
    for at, ask in enumerate(asks):
        ended = f"{answers[at].settled} {answers[at].reason}".strip() if at < len(answers) else "open"
        story.append(f"asked ({ask.purpose}): {ended}")
    if ctx._to:
        story.append(f"{len(ctx._to)} message(s) and action(s) dropped")
    if error.__traceback__ is not None:
        story.append("".join(traceback.format_exception(error)).rstrip())
    return Failure(ctx.id, ctx.tick, type(error).__name__, str(error)[:2000], where, "\n".join(story)[:20_000])


def _raised_at(error: Exception) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    return f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else "turn"


def _waiting_at(coroutine: Any) -> str:
    """Where in the user's own code a coroutine waits: the innermost frame of an `async def` on the way down."""
    frame: FrameType | None = None
    while isinstance(coroutine, CoroutineType):
        frame, coroutine = coroutine.cr_frame or frame, coroutine.cr_await
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}" if frame else "turn"


def _definition(agent: Agent) -> str:
    code = getattr(type(agent).turn, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno} in {code.co_name}" if code else type(agent).__name__
