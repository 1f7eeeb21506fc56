"""Asks probes of agents as they stood between two ticks: surveys and interviews, with a journal of their own. A shell.

An agent comes packed (`kernel.peeking`) and is unpacked here, so that nothing of what is done with it gets back. What
is asked has draws under purposes of its own and an identity in the probes' journal alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.agents.agent import Agent
from populace.agents.answers import AnswerSpec, compile_answer, content_key
from populace.agents.context import Terms
from populace.agents.minds import ARCHETYPES, MODEL, RULES, mind_of
from populace.agents.probes import asking
from populace.agents.probes.asking import Shown
from populace.agents.probes.instrument import Instrument
from populace.agents.probes.persona import Probe, facts_of
from populace.agents.probes.survey import Survey, drawn
from populace.agents.society import Society
from populace.budget.service import LocalLink
from populace.cluster.host import GRACE_S, let_end
from populace.cluster.job import terms_of
from populace.cluster.sampled import check_named
from populace.cluster.shared_limits import shared_account
from populace.cluster.transport import Transport
from populace.core.draws import Stream
from populace.core.errors import NoRule, ScenarioError, SettingsError
from populace.core.fences import disarm
from populace.core.places import raised_at
from populace.core.records import DEFAULT_ROLE, Abstained, Answer, Ask, Counts
from populace.core.roster import ONE
from populace.data.instruments import check_wording, find_instrument
from populace.kernel.peeking import Peeked
from populace.kernel.saving import Keeper
from populace.kernel.snapshot import Past
from populace.kernel.turn import read_answer
from populace.models.build import ModelHost, build_gateway
from populace.models.protocol import Fence, Gateway
from populace.settings import Settings
from populace.settings.minds import plain_minds
from populace.store.journal.recording import OpenPast, Recording, cost_of, open_journal, open_pasts
from populace.store.journal.write import next_attempt
from populace.store.lock import held, is_held
from populace.store.probes import JOURNAL, Reply, check_instrument, past_of, put_wave, spent_on

_AT_ONCE: Final = 5_000
"""How many asks are made before the first of them are put."""
_PATIENCE_S: Final = 60.0
"""How long probes of one run wait for one another."""
_AGAIN_S: Final = 0.02
_SLOTS: Final = 2**20
"""How many asks of an agent in a tick a journal can tell apart."""


class Draft(NamedTuple):
    """What is to be asked of an agent, under a model role ('' for the default one).

    `repeat` tells a retest from what was asked before in the same words.
    """

    agent: int
    tick: int
    purpose: str
    role: str
    messages: tuple[tuple[str, str], ...]
    spec: AnswerSpec
    facts: Mapping[str, Any]
    repeat: int = 0


class Put(NamedTuple):
    """A page of a survey as it is put to an agent, and the agent's weight."""

    draft: Draft
    page: list[Shown]
    weight: float


@dataclass
class Tally:
    """What probes came to: how many asks, and what those cost that were not on record before."""

    asks: int = 0
    spent: Counts = field(default_factory=Counts)


@dataclass(frozen=True)
class AsTheyStood:
    """Agents as they stood before `tick`: who lived, by type, and those that were looked at."""

    tick: int
    there: Mapping[str, NDArray[np.int32]]
    people: Peeked

    def type_of(self, agent: int) -> str:
        """The type of an agent. Raises SettingsError for one who was not there."""
        for of, ids in self.there.items():
            at = int(ids.searchsorted(agent))
            if at < len(ids) and ids[at] == agent:
                return of
        last = max((int(ids[-1]) for ids in self.there.values() if len(ids)), default=-1)
        raise SettingsError(
            f"there is no agent {agent} before tick {self.tick}: ids go from 0 to {last}, less who left"
        )


class Planned(NamedTuple):
    """A survey with its instrument found, its name, and what was checked."""

    survey: Survey
    instrument: Instrument
    name: str


def planned(survey: Survey, society: Society, settings: Settings) -> Planned:
    """A survey that can be asked of a society. Raises SettingsError and ScenarioError for one that cannot be."""
    instrument = check_wording(find_instrument(survey.instrument))
    name = survey.name or instrument.name
    types = society.classes
    if survey.type is not None and survey.type not in types:
        raise SettingsError(
            f"survey {name!r}: there is no type of agents {survey.type!r}; there are {', '.join(types)}"
        )
    if survey.weight is not None:
        of = [survey.type] if survey.type is not None else list(types)
        lacking = [one for one in of if survey.weight not in types[one].__struct_fields__]
        if lacking:
            fields = ", ".join(types[lacking[0]].__struct_fields__)
            raise SettingsError(
                f"survey {name!r}: weight={survey.weight!r} is no field of {types[lacking[0]].__name__}, which has: "
                f"{fields}"
            )
    of = list(types) if survey.type is None else [survey.type]
    check_rules(society, settings, of, survey.model_role, asking.PURPOSE)
    return Planned(survey, instrument, name)


def role_of(society: Society, settings: Settings, type: str, role: str, purpose: str) -> str:  # noqa: A002
    """Which model role answers probes of agents of a type, '' for the default one: `role`, or that of their mind."""
    own = plain_minds(settings).get(type)
    mind = MODEL if own is None else mind_of(own, purpose, role)
    if mind not in (MODEL, ARCHETYPES):
        role = mind
    role = role or society.model_roles.get(type, "")
    return "" if role == DEFAULT_ROLE else role


def check_rules(society: Society, settings: Settings, types: Iterable[str], role: str, purpose: str) -> None:
    """Raise NoRule where the society's rules are to answer probes of these types and have no rule that does."""
    if purpose in society.rules:
        return
    by_role = {one: settings.of_role(role_of(society, settings, one, role, purpose)).model.kind for one in types}
    ruled = [one for one, kind in by_role.items() if kind == "rules"]
    if not ruled:
        return
    there = ", ".join(sorted(society.rules)) or "none"
    minded = [one for one in ruled if mind_of(plain_minds(settings).get(one, {}), purpose, role) == RULES]
    ways = ["--model embedded"] if settings.model.kind == "rules" else []
    advice = " ".join([*ways, *(f"--set minds.{one}.{purpose}=model" for one in minded)])
    if minded:
        advice += " (once a run is over, --model embedded alone does for all)"
    others = [one for one, kind in by_role.items() if kind != "rules"]
    if others:
        advice += f"; or ask only a type that a model answers for: --type {others[0]}"
    whose = f" of agents of type {', '.join(map(repr, ruled))}" if society.types else ""
    raise NoRule(
        f"{society.name}: no rule answers the purpose {purpose!r}{whose}; there are rules for: {there}. Add one, "
        f"Society(rules={{{purpose!r}: rule}}) with `def rule(facts, draw)`, or have a model answer: {advice}"
    )


async def look(
    transport: Transport,
    tick: int,
    agents: Iterable[int] | None,
    survey: Planned | None,
    seed: int,
    strict: bool = False,
) -> AsTheyStood:
    """The agents that a survey asks, or those that are named, as they stand before `tick`.

    Where it is `strict`, SettingsError names agents of the survey's sample that never were, or are of another type.
    """
    there = await transport.present()
    if survey is not None:
        of = survey.survey.type
        if strict:
            check_named(survey.survey, survey.name, tick, there)
        everybody = np.sort(np.concatenate([ids for name, ids in there.items() if of in (None, name)]))
        chosen = drawn(survey.survey.sample, everybody, survey.name, seed)
        if not len(chosen):
            raise SettingsError(f"survey {survey.name!r}: nobody of its sample is there before tick {tick}")
    else:
        chosen = np.array(sorted(set(agents or ())), np.int32)
    standing = AsTheyStood(tick, there, Peeked({}, {}))
    for agent in () if survey is not None else chosen.tolist():
        standing.type_of(agent)
    return AsTheyStood(tick, there, await transport.peek(chosen))


class Prober:
    """Asks agents of one run. `folder` is where its probes are kept, `run` its name, `elsewhere` other records.

    Where models are `hosted` already, the embedded one is at `base_url`; else it is served when it is needed.
    """

    def __init__(
        self,
        society: Society,
        settings: Settings,
        folder: Path,
        run: str,
        elsewhere: Sequence[Past] = (),
        *,
        hosted: bool = False,
    ) -> None:
        self.society = society
        self.settings = settings.model_copy(update={"shards": 1})
        self.folder = folder
        self.run = run
        self.base_url: str | None = None
        self.fence: Fence | None = None
        self._hosted = hosted
        self._elsewhere = elsewhere
        self._parameters = society.with_parameters(settings.society)
        self._keepers = {of: Keeper(kind) for of, kind in society.classes.items()}

    async def wave(self, planned: Planned, standing: AsTheyStood, repeat: int = 0) -> tuple[list[Reply], Tally]:
        """Ask a wave of a survey of those agents, keep it, and give its replies in the order of agents and items.

        Raises what the model's refusal raises; what was answered until then is on record.
        """
        async with _working_in(self.folder):
            check_instrument(self.folder, planned.name, planned.instrument)
            replies, tally = await self._wave(planned, standing, repeat)
            await asyncio.to_thread(
                put_wave, self.folder, planned.name, planned.instrument, standing.tick, repeat, replies
            )
        return replies, tally

    async def _wave(self, planned: Planned, standing: AsTheyStood, repeat: int) -> tuple[list[Reply], Tally]:
        put = self.drafted(planned, standing, repeat)
        values, tally = await self.ask([one.draft for one in put])
        replies = []
        for one, value in zip(put, values, strict=True):
            why = value.reason if isinstance(value, Abstained) else None
            given = [None] * len(one.page) if why is not None else asking.answers_of(one.page, value)
            for shown, said in zip(one.page, given, strict=True):
                answer, label = (None, None) if said is None else said
                replies.append(Reply(one.draft.agent, shown.item.name, answer, label, shown.order, why, one.weight))
        return replies, tally

    def drafted(self, planned: Planned, standing: AsTheyStood, repeat: int = 0) -> list[Put]:
        """What a wave asks, in the order of agents and pages. Raises ScenarioError for what `interviewed` raises."""
        survey, instrument = planned.survey, planned.instrument
        put = []
        for agent in sorted(standing.people.agents):
            role = self._role(standing, agent, survey.model_role, asking.PURPOSE)
            ruled = self._terms(role).by_rules
            pages = asking.pages_of(instrument, together=survey.together, apart=ruled)
            weight = self._weight(planned, standing, agent)
            for nth, page in enumerate(pages):
                draw = None
                if survey.shuffle:
                    purpose = f"probes/order/{planned.name}/{repeat}/{nth}"
                    draw = Stream(self.settings.seed, agent, standing.tick, purpose)
                shown = asking.shown(page, draw)
                text = asking.text_of(shown, instrument.instruction)
                item = page[0].name if len(page) == 1 else page[0].page
                facts = self._facts(standing, agent, text, planned.name, item)
                told = asking.survey_facts(facts, planned.name, instrument, shown) if ruled else {}
                messages = asking.survey_messages(facts, text, disarm)
                spec = asking.page_spec(shown, ruled=ruled)
                draft = Draft(agent, standing.tick, asking.PURPOSE, role, messages, spec, told, repeat)
                put.append(Put(draft, shown, weight))
        return put

    async def interview(
        self,
        standing: AsTheyStood,
        agent: int,
        question: str,
        transcript: Sequence[tuple[str, str]] = (),
        role: str = "",
    ) -> tuple[str | Abstained, Tally]:
        """An agent's answer to a question, after the questions and answers so far."""
        facts = self._facts(standing, agent, question)
        messages = asking.interview_messages(facts, transcript, question, disarm)
        told: dict[str, Any] = {}
        role = self._role(standing, agent, role, asking.INTERVIEW)
        if self._terms(role).by_rules:
            told = {"self": facts, "question": question, "transcript": [list(pair) for pair in transcript]}
        draft = Draft(agent, standing.tick, asking.INTERVIEW, role, messages, compile_answer(str), told)
        async with _working_in(self.folder):
            (value,), tally = await self.ask([draft])
        return value, tally

    async def ask(self, drafts: Sequence[Draft]) -> tuple[list[Any], Tally]:
        """The answers, each of its draft's type or `Abstained`, in the order of the drafts.

        What is on record is not asked again. Raises ModelError and what else ends all further asking.
        """
        own = past_of(self.folder, self.run)
        opened = open_pasts([*([] if own is None else [own]), *self._elsewhere])
        tally = Tally(asks=len(drafts))
        try:
            terms = {role: self._terms(role) for role in {draft.role for draft in drafts}}
            asks = _named(drafts, terms, opened)
            known = [_on_record(ask, opened) for ask in asks]
            if all(known):
                answers = await _answered(Recording(None, None, opened), asks)
            else:
                answers = await self._put(asks, opened)
        finally:
            for past in opened:
                past.index.close()
        values = []
        for ask, answer, paid in zip(asks, answers, known, strict=True):
            values.append(read_answer(ask, answer)[1])
            if not paid:
                tally.spent.bill(answer, ask.purpose)
        return values, tally

    async def _put(self, asks: list[Ask], opened: list[OpenPast]) -> list[Answer]:
        settings, folder = self.settings, self.folder / JOURNAL
        host = None
        account = await asyncio.to_thread(shared_account, settings, cost_of(spent_on(self.folder, self.run)))
        base_url = self.base_url
        if not self._hosted:
            host = ModelHost(settings)
            base_url = await host.open()
        try:
            attempt = next_attempt(folder)
            inner: Gateway = build_gateway(
                settings, rules=self.society.rules, base_url=base_url,
                link=None if account is None else LocalLink(account), attempt=attempt,
                fence=self.fence,
            )  # fmt: skip
            journal = open_journal(
                str(folder), run=self.run, shard=0, attempt=attempt,
                policy="machine" if settings.journal == "machine" else "process",
            )  # fmt: skip
            recording = Recording(inner, journal, opened, self.fence)
            await recording.open()
            try:
                return await _answered(recording, asks)
            finally:
                await let_end(recording, GRACE_S)
                await recording.close()
        finally:
            if account is not None:
                await asyncio.to_thread(account.close)
            if host is not None:
                await host.close()

    def _role(self, standing: AsTheyStood, agent: int, role: str, purpose: str) -> str:
        of = standing.type_of(agent) if self.society.types else ONE
        return role_of(self.society, self.settings, of, role, purpose)

    def _terms(self, role: str) -> Terms:
        return terms_of(self.settings.of_role(role or DEFAULT_ROLE))

    def _agent(self, standing: AsTheyStood, agent: int) -> Agent:
        """A copy of an agent. Raises SettingsError for one who is not there."""
        of = standing.type_of(agent) if self.society.types else ONE
        return self._keepers[of].read(standing.people.agents[agent])

    def _facts(self, standing: AsTheyStood, agent: int, text: str, survey: str = "", item: str = "") -> dict[str, Any]:
        one = self._agent(standing, agent)
        seen = standing.people.seen.get(agent, {})
        probe = Probe(agent, standing.tick, text, survey, item, seen, self._parameters)
        try:
            return facts_of(one, probe)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            place = raised_at(error, type(one).interviewed)
            where = f"{place}: " if place else ""
            raise ScenarioError(
                f"{where}{type(one).__name__}.interviewed, agent {agent} before tick {standing.tick}: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _weight(self, planned: Planned, standing: AsTheyStood, agent: int) -> float:
        if planned.survey.weight is None:
            return 1.0
        value = getattr(self._agent(standing, agent), planned.survey.weight)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0.0:
            raise SettingsError(
                f"survey {planned.name!r}: the weight {planned.survey.weight!r} of agent {agent} is {value!r}: weights "
                "are numbers from 0 on"
            )
        return float(value)


@asynccontextmanager
async def _working_in(folder: Path) -> AsyncIterator[None]:
    """Keep the folder of a run's probes for this asking; whoever else asks is waited for.

    Raises StorageError where that takes longer than `_PATIENCE_S`.
    """
    until_s = time.monotonic() + _PATIENCE_S
    while is_held(folder) and time.monotonic() < until_s:  # noqa: ASYNC110 - another process may hold it
        await asyncio.sleep(_AGAIN_S)
    with held(folder):
        yield


def _named(drafts: Sequence[Draft], by_role: Mapping[str, Terms], opened: Sequence[OpenPast]) -> list[Ask]:
    """Drafts as asks. An ask's number is drawn from what is asked, and the next that is free where another has it.

    So what is asked finds its answer again whatever else was asked of the agent before that tick.
    """
    taken: dict[tuple[int, int, int], bytes] = {}
    asks = []
    for draft in drafts:
        terms = by_role[draft.role]
        facts = msgspec.json.encode(draft.facts, order="deterministic").decode() if draft.facts else ""
        ruled = (draft.purpose, facts) if terms.by_rules else None
        form = terms.forms.get(draft.spec.kind, "")
        key = content_key(terms.model, draft.messages, draft.spec, terms.max_tokens, terms.temperature, form, ruled)
        mark = blake2b(key + draft.repeat.to_bytes(4, "little"), digest_size=8, person=b"populace.probe").digest()
        nth = int.from_bytes(mark, "little") % _SLOTS
        while not _is_free(draft, nth, mark, key, taken, opened):
            nth = (nth + 1) % _SLOTS
        taken[draft.agent, draft.tick, nth] = mark
        asks.append(
            Ask(
                draft.agent, draft.tick, nth, draft.purpose, draft.messages, draft.spec, terms.max_tokens,
                terms.temperature, key, facts, draft.role,
            )
        )  # fmt: skip
    return asks


def _is_free(
    draft: Draft,
    nth: int,
    mark: bytes,
    key: bytes,
    taken: Mapping[tuple[int, int, int], bytes],
    opened: Sequence[OpenPast],
) -> bool:
    if taken.get((draft.agent, draft.tick, nth), mark) != mark:
        return False
    found = [past.index.find(draft.agent, draft.tick, nth) for past in opened]
    return all(one is None or one.key == key for one in found)


def _on_record(ask: Ask, opened: Sequence[OpenPast]) -> bool:
    found = (past.index.find(ask.agent, ask.tick, ask.nth) for past in opened)
    return any(one is not None and one.key == ask.key for one in found)


async def _answered(gateway: Recording, asks: Sequence[Ask]) -> list[Answer]:
    """The answers to these asks in their order. Raises the gateway's failure."""
    found: dict[tuple[int, int, int], Answer] = {}
    arrived = asyncio.Event()

    def deliver(answers: Sequence[Answer]) -> None:
        found.update(((one.agent, one.tick, one.nth), one) for one in answers)
        arrived.set()

    for start in range(0, len(asks), _AT_ONCE):
        some = {(ask.agent, ask.tick, ask.nth): ask for ask in asks[start : start + _AT_ONCE]}
        gateway.offer(list(some.values()), deliver)
        while not found.keys() >= some.keys():
            arrived.clear()
            await arrived.wait()
        if gateway.failure is not None:
            raise gateway.failure
    return [found[ask.agent, ask.tick, ask.nth] for ask in asks]
