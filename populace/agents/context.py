"""What a turn is given: the author's `Context`, and what stands behind it.

A turn may await effects only (`ctx.ask`, `ctx.look`, `ctx.round`). Messages, actions and timers are put into its
`Draft`, which the kernel holds too and commits when the tick ends; nothing else of a `Context` is the kernel's.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from itertools import islice
from operator import index
from types import MappingProxyType
from typing import Any, Final

import msgpack
import msgspec

from populace.agents.answers import compile_answer, content_key, unusable
from populace.agents.embedding import EMBEDDING, Vectors
from populace.agents.facts import SHARED_FIRST, fill, shared_first
from populace.agents.minds import ARCHETYPES, MODEL, SURROGATE, Minds, mind_of
from populace.agents.surrogate.policy import Policy
from populace.core.draws import WORLD, Draws
from populace.core.errors import BadAction, BadAsk, BadMessage
from populace.core.records import DEFAULT_ROLE, EMBED_ROLE, ROLE_NAME, Abstained, Ask, Look, Message
from populace.core.roster import Roster
from populace.core.rounds import Contribution

UNKNOWN: Final = -2
"""Stands for a recipient that cannot exist."""

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
"""What an agent sees of a world that shows nothing."""

_pack: Final = msgpack.Packer(autoreset=True).pack
_pack_scalars: Final = msgspec.msgpack.Encoder().encode
"""Writes what msgpack writes in half the time; but of more types than plain data."""
_INT32_MAX: Final = 2**31 - 1
_SCALARS: Final = frozenset({str, int, float, bool, bytes, type(None)})
_ROLES: Final = ("system", "user", "assistant")
_CONTAINERS: Final = (dict, list, tuple)
_NO_TYPES: Final = (dict, list, set)
_NOT_PLAIN: Final = (TypeError, ValueError, OverflowError, RecursionError)
_PLAIN: Final = (
    "text, numbers, or lists and dicts of them; a Struct as `msgspec.to_builtins(it)`, NumPy's as `it.tolist()`."
)


class Terms(msgspec.Struct, frozen=True):
    """How asks of one model role are put: what stands of the settings in their content keys.

    `forms` says how asks of a kind of answer are put, where that is not as a chat. `by_rules` says that the society's
    rules answer: what they go by, purpose and facts, then stands in the key too.
    """

    model: str
    max_tokens: int
    temperature: float
    forms: Mapping[str, str] = {}
    by_rules: bool = False


class Scope(msgspec.Struct, frozen=True):
    """What all turns of one tick share.

    `model`, `max_tokens`, `temperature`, `forms` and `by_rules` are the `Terms` of the default role, `roles` those of
    the others that the settings name. `minds` says, by type of agent and purpose, what answers if not the model,
    `surrogate` how surrogates go where there are any, and
    `model_roles`, by type, which role answers asks that name none; `roster` says who is of which type; `rounds` are the
    parts that hold rounds.
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
    rounds: frozenset[str] = frozenset()
    tick: int = 0
    forms: Mapping[str, str] = {}
    by_rules: bool = False
    roles: Mapping[str, Terms] = {}
    model_roles: Mapping[str, str] = {}
    minds: Minds = {}
    surrogate: Policy | None = None
    roster: Roster | None = None


class Draft(msgspec.Struct, eq=False, kw_only=True):
    """What a turn has made that has no effect yet.

    `to` and `bodies` are its messages and actions in their order: receivers (-1, the world, for an action; `UNKNOWN`)
    and packed bodies. `pending` are effects that it has not awaited; `wakes` the ticks it wants to be due in, None for
    none.
    """

    to: list[int] = []
    bodies: list[bytes] = []
    pending: list[Ask | Look | Contribution] = []
    wakes: list[int] | None = None


class Context(msgspec.Struct, eq=False):
    """What a turn is given.

    `id` is the agent's, `tick` the tick's number; `seen` is what the world's parts show the agent, as of the start of
    the tick. `inbox` holds the messages sent to this agent in the tick before: the world's first, then by sender, in an
    order that is drawn for this agent and tick, and one sender's in the order in which they were sent.
    """

    id: int
    tick: int
    _scope: Scope
    _draft: Draft
    inbox: Sequence[Message] = ()
    seen: Mapping[str, Any] = NOTHING
    _draws: Draws | None = None
    _made: int = 0
    _together: Mapping[str, int] = NOTHING
    """How often it has asked by archetype, by purpose."""

    def __repr__(self) -> str:
        return f"<the context of agent {self.id} in tick {self.tick}>"

    @property
    def parameters(self) -> Any:
        """The society's parameters."""
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
            raise BadMessage(f"ctx.send: the body is not plain data: {error}. Send {_PLAIN}") from None
        scope = self._scope
        if len(packed) > scope.body_bytes:
            raise BadMessage(
                f"ctx.send: the body takes {len(packed)} bytes and bus.body_bytes is {scope.body_bytes}: send less, or "
                "raise it with --set bus.body_bytes"
            )
        draft = self._draft
        addresses = draft.to
        room = scope.sends_per_turn - len(addresses)
        if type(to) is int and room > 0:
            addresses.append(to if 0 <= to <= _INT32_MAX else UNKNOWN)
            draft.bodies.append(packed)
            return
        try:
            targets = [index(one) for one in islice(to, room + 1)] if isinstance(to, Iterable) else [index(to)]
        except TypeError as error:
            raise BadMessage(f"ctx.send: `to` is an agent's id or several: {error}") from None
        if len(targets) > room:
            raise BadMessage(f"ctx.send: more than bus.sends_per_turn = {scope.sends_per_turn} messages in one turn")
        addresses.extend([one if 0 <= one <= _INT32_MAX else UNKNOWN for one in targets])
        draft.bodies.extend([packed] * len(targets))

    def act(self, kind: str, /, **args: Any) -> None:
        """Act on the world, for example `ctx.act("network.follow", target=7)`; it is applied at the tick's end.

        Raises BadAction for an action that no part of the world has, for arguments that are not plain data or
        exceed `bus.body_bytes`, and where the turn's messages and actions exceed `bus.sends_per_turn`.
        """
        scope, draft = self._scope, self._draft
        if kind not in scope.actions:
            raise BadAction(f"the world has no action {kind!r}; it has {', '.join(sorted(scope.actions)) or 'none'}")
        try:
            if not _SCALARS.issuperset(map(type, args.values())):
                _check_keys(args.values())
                packed: bytes = _pack((kind, args))
            else:
                packed = _pack_scalars((kind, args))
        except _NOT_PLAIN as error:
            raise BadAction(f"ctx.act({kind!r}): the arguments are not plain data: {error}. Give {_PLAIN}") from None
        if len(packed) > scope.body_bytes:
            raise BadAction(f"ctx.act({kind!r}): takes {len(packed)} bytes and bus.body_bytes is {scope.body_bytes}")
        if len(draft.to) >= scope.sends_per_turn:
            raise BadAction(f"ctx.act({kind!r}): more than bus.sends_per_turn = {scope.sends_per_turn} in one turn")
        draft.to.append(WORLD)
        draft.bodies.append(packed)

    def wake_at(self, tick: int) -> None:
        """Be due at `tick`, mail or not. Raises ValueError for a tick that is not in the future."""
        if tick <= self.tick:
            raise ValueError(f"ctx.wake_at({tick}): it is tick {self.tick} already")
        draft = self._draft
        if draft.wakes is None:
            draft.wakes = []
        draft.wakes.append(index(tick))

    def ask(
        self,
        prompt: str | None = None,
        answer: Any = str,
        *,
        messages: Iterable[tuple[str, str] | Mapping[str, str]] | None = None,
        facts: Mapping[str, Any] | None = None,
        system: str = "",
        purpose: str = "ask",
        model_role: str = "",
        archetype: bool | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> Awaitable[Any]:
        """Ask the model: `opinion = await ctx.ask(prompt, Opinion)`.

        `answer` is the type wanted: a msgspec Struct, a pydantic model, a `Choice`, or `str`. The awaited value is
        of that type (`Chosen` for a `Choice`), or `Abstained` where there is no usable answer.

        `messages` holds a conversation in place of a prompt: pairs (role, content), or dictionaries with these keys, of
        the roles `system`, `user` and `assistant`, the last one the user's. With `facts` the prompt, or each message,
        is a template, in which `{name}` stands for a fact (see `populace.agents.facts`): a rule of the society is
        handed the facts where a model is handed the text. Without, it is taken as it stands. `system` stands first, as
        it is: put what agents share there, so that a prefix cache can serve it. `purpose` names this kind of ask in
        counts and costs, and the rule that answers it. `model_role` names the model that is asked, as the settings
        call it (`[model.roles.judge]`); without it, it is that of the society's `model_roles`, or else `[model]`, which
        "default" always names and which stands in for a role that the settings do not name.

        With `archetype` all agents of the type that ask the same in the tick, for the same purpose, share one ask: of a
        `Choice` with probabilities each draws its own label from them, any other answer is shared. None leaves it to
        the agent's mind.

        Raises BadAsk for an answer type without a schema, for what is neither a prompt nor a conversation, and for
        facts that do not fit their template.
        """
        scope = self._scope
        if messages is None:
            if not (isinstance(prompt, str) and isinstance(system, str) and isinstance(purpose, str)):
                raise BadAsk("ctx.ask: prompt, system and purpose are text (str)")
            said: tuple[tuple[str, str], ...] = (("user", prompt),)
        else:
            said = _conversation(prompt, messages, system, purpose)
        told, surrogate = "", False
        try:
            if isinstance(answer, _NO_TYPES):
                raise BadAsk(unusable(f"a {type(answer).__name__}"))
            spec = compile_answer(answer)
            terms: Scope | Terms = scope
            if scope.minds and scope.roster is not None:
                own = scope.minds.get(scope.roster.type_of(self.id))
                mind = MODEL if own is None else mind_of(own, purpose, model_role)
                if mind == ARCHETYPES:
                    archetype = archetype is not False
                elif mind == SURROGATE:
                    surrogate = True
                elif mind != MODEL:
                    model_role = mind
            if not model_role and scope.model_roles and scope.roster is not None:
                model_role = scope.model_roles.get(scope.roster.type_of(self.id), "")
            if model_role:
                model_role = _role(model_role)
                terms = scope.roles.get(model_role, scope)
            tokens = terms.max_tokens if max_tokens is None else max_tokens
            heat = terms.temperature if temperature is None else temperature
            form = terms.forms.get(spec.kind, "") if terms.forms else ""
            if facts is not None:
                templates = [content for _, content in said]
                if form.endswith(SHARED_FIRST) and messages is None:
                    templates = [shared_first(templates[0])]
                texts, told = fill(templates, facts)
                said = tuple([(role, text) for (role, _), text in zip(said, texts, strict=True)])
            if system:
                said = (("system", system), *said)
            ruled = (purpose, told) if terms.by_rules else None
            key = content_key(terms.model, said, spec, tokens, heat, form, ruled)
        except _NOT_PLAIN as error:
            raise BadAsk(f"ctx.ask: {error}") from None
        ask = Ask(self.id, self.tick, self._made, purpose, said, spec, tokens, heat, key, told, model_role)
        ask.surrogate = surrogate
        if archetype:
            if self.id < 0:
                raise BadAsk("ctx.ask: archetype=True is for agents; a part asks for itself")
            ask.again = self._together.get(purpose, 0)
            self._together = {**self._together, purpose: ask.again + 1}
        self._made += 1
        self._draft.pending.append(ask)
        return ask

    def embed(
        self, texts: Iterable[str], *, purpose: str = "embed", model_role: str = EMBED_ROLE
    ) -> Awaitable[Vectors | Abstained]:
        """Embed texts: `vectors = await ctx.embed([one, other])`.

        The awaited value is a float32 array of shape (texts, dimension), read-only, in the order of the texts, or
        `Abstained`. The model is that of the role `embed` (`[model.roles.embed]`), or of another `model_role`. Vectors
        are on record to the bit, so a replay gives the same; a field of an agent holds them as `vector.tolist()`.

        Raises BadAsk for what is no list of texts that say something.
        """
        scope = self._scope
        given = None if isinstance(texts, str) or not isinstance(texts, Iterable) else tuple(texts)
        if given is None:
            raise BadAsk("ctx.embed: takes a list of texts: await ctx.embed([text])")
        for nth, text in enumerate(given):
            if not isinstance(text, str) or not text.strip():
                what = "is empty" if isinstance(text, str) else f"is a {type(text).__name__}"
                raise BadAsk(f"ctx.embed: text {nth} {what}; give texts (str) that say something")
        if not given or not isinstance(purpose, str):
            raise BadAsk("ctx.embed: there is no text to embed" if not given else "ctx.embed: purpose is a text (str)")
        said = tuple([("text", text) for text in given])
        role = _role(model_role)
        terms = scope.roles.get(role, scope)
        try:
            key = content_key(terms.model, said, EMBEDDING, 0, 0.0)
        except _NOT_PLAIN as error:
            raise BadAsk(f"ctx.embed: {error}") from None
        ask = Ask(self.id, self.tick, self._made, purpose, said, EMBEDDING, 0, 0.0, key, "", role)
        self._made += 1
        self._draft.pending.append(ask)
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
                raise BadAsk(f"ctx.look({query!r}): the arguments are not plain data: {error}. Give {_PLAIN}") from None
            if len(packed) > self._scope.body_bytes:
                raise BadAsk(
                    f"ctx.look({query!r}): takes {len(packed)} bytes and bus.body_bytes is {self._scope.body_bytes}"
                )
            args = msgpack.unpackb(packed, strict_map_key=False)
        look = Look(self.id, query, args)
        self._draft.pending.append(look)
        return look

    def round(self, part: str, body: Any = None, /, *, group: str | int | None = None) -> Awaitable[Any]:
        """Contribute to a round that a part holds: `heard = await ctx.round("talk", "Good morning")`.

        The turn goes on once every member of the agent's group has contributed or left, within the tick. The awaited
        value is what the part gives this member to hear, as plain data; or `Closed`, where the group holds no round any
        more. `group` says which, where the agent is in several of that part.

        Raises LookupError for a part that holds no rounds, and where it is awaited for an agent that is in no such
        group, or has left it for a later one; BadAsk for a body that is not plain data or exceeds `bus.body_bytes`.
        """
        scope = self._scope
        if part not in scope.rounds:
            raise LookupError(
                f"no part called {part!r} holds rounds; these do: {', '.join(sorted(scope.rounds)) or 'none'}"
            )
        if type(group) not in (str, int, type(None)):
            raise BadAsk(f"ctx.round({part!r}): a group's name is a text or a whole number, not {group!r:.100}")
        try:
            _pack(group)
        except (OverflowError, UnicodeError):
            raise BadAsk(
                f"ctx.round({part!r}): a group's name is a text that UTF-8 can write, or a number of 64 bits, not "
                f"{group!r:.100}"
            ) from None
        try:
            packed = _pack_plain(body)
        except _NOT_PLAIN as error:
            raise BadAsk(f"ctx.round({part!r}): the body is not plain data: {error}. Give {_PLAIN}") from None
        if len(packed) > scope.body_bytes:
            raise BadAsk(f"ctx.round({part!r}): takes {len(packed)} bytes and bus.body_bytes is {scope.body_bytes}")
        contribution = Contribution(self.id, part, group, packed)
        self._draft.pending.append(contribution)
        return contribution


def _conversation(prompt: Any, messages: Any, system: Any, purpose: Any) -> tuple[tuple[str, str], ...]:
    """The messages of a conversation as pairs. Raises BadAsk, naming the message, for what is none."""
    if prompt is not None:
        raise BadAsk("ctx.ask: a prompt and messages are both given: put the prompt last among the messages")
    if not (isinstance(system, str) and isinstance(purpose, str)):
        raise BadAsk("ctx.ask: system and purpose are text (str)")
    form = "(role, content), or {'role': ..., 'content': ...}, both text"
    if isinstance(messages, str | Mapping) or not isinstance(messages, Iterable):
        raise BadAsk(f"ctx.ask: messages is a list, of {form}")
    said = []
    for nth, one in enumerate(messages):
        pair = [one.get("role"), one.get("content")] if isinstance(one, Mapping) and len(one) == 2 else one
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise BadAsk(f"ctx.ask: message {nth} has to be {form}, and is {one!r:.100}")
        if pair[0] not in _ROLES:
            raise BadAsk(f"ctx.ask: message {nth} has the role {pair[0]!r}; there are {', '.join(_ROLES)}")
        said.append((pair[0], pair[1]))
    if not said or said[-1][0] != "user":
        raise BadAsk("ctx.ask: the last of the messages is the user's, which the model is to answer")
    return tuple(said)


def _role(name: Any) -> str:
    """A model role as asks hold it: '' for the default one. Raises BadAsk for what cannot be one's name."""
    if name == DEFAULT_ROLE:
        return ""
    if not (isinstance(name, str) and re.fullmatch(ROLE_NAME, name)):
        raise BadAsk(
            f"ctx.ask: model_role={name!r:.100} is no role's name: it is a word of letters, digits, _ and -, such as "
            f'model_role="judge", which [model.roles.judge] of the settings then gives a model'
        )
    return name


def _pack_plain(value: Any) -> bytes:
    """Pack plain data. Raises TypeError for what its reader could not unpack: a dict whose keys hold lists."""
    kind = type(value)
    if kind not in _SCALARS:
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
