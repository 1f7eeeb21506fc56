"""From settings to a gateway."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

from populace.budget.accounts import accounts_of, batch_account, roles_of
from populace.budget.amounts import Allowance, Rate, ceiling
from populace.budget.lease import Purse
from populace.budget.prices import rate_of
from populace.budget.service import OwnShare, is_limited
from populace.core.errors import ModelError, SettingsError
from populace.core.records import DEFAULT_ROLE, EMBED_ROLE
from populace.models.batch_chat import Chat, Times
from populace.models.batch_http import BatchApi
from populace.models.batch_purse import BatchPurse
from populace.models.batch_record import BatchLog, BatchRecord
from populace.models.batching import Batching
from populace.models.by_role import ByRole
from populace.models.cache.answers import Cache
from populace.models.cache.layer import Cached
from populace.models.chat import LLAMA, OPENAI, Mode, Writer
from populace.models.client import Client
from populace.models.completions import Prompts
from populace.models.dialect import EndpointForms
from populace.models.dispatch.backoff import Backoff
from populace.models.dispatch.concurrency import Concurrency
from populace.models.dispatch.dispatcher import Dispatcher
from populace.models.dispatch.lanes import Lane, lane_breaker
from populace.models.dispatch.retry import Retry
from populace.models.dispatch.throttle import Limiter, Link
from populace.models.embedded.host import ModelHost, Probe
from populace.models.history import History
from populace.models.http import Http
from populace.models.keys import Access, is_loopback, read_key, role_accesses
from populace.models.protocol import Fence, Gateway
from populace.models.role_model import RoleModel, Server
from populace.models.scripted.gateway import AnswerFunction, Scripted
from populace.models.scripted.rules import Rule, Rules
from populace.settings import Settings, setting_of

__all__ = ["ModelHost", "Probe", "build_gateway", "check_model"]

_START_PERMITS = 256


def build_gateway(
    settings: Settings,
    *,
    scripted: AnswerFunction | None = None,
    rules: Mapping[str, Rule] | None = None,
    base_url: str | None = None,
    link: Link | None = None,
    shard: int = 0,
    attempt: int = 0,
    forms: EndpointForms | None = None,
    fence: Fence | None = None,
    batches: BatchLog | None = None,
) -> Gateway:
    """The gateway of one shard, to be opened in the process that uses it; it takes the asks of every model role.

    `scripted` is the society's own answer function, if it has one, and `rules` are its rules. `base_url` is where the
    run's `ModelHost` serves. `link` leads to the run's central quota; without one, this shard keeps to an equal part of
    every limit itself. `forms` is what is known of the endpoints, and is added to. Where `fence` says no, no call is
    begun. `batches` is where it is written down which batches are out; without it every ask is put directly. Raises
    SettingsError or ModelError for settings that cannot work.
    """
    check_model(settings)
    if base_url is None and any(settings.of_role(role).model.kind == "embedded" for role in roles_of(settings)):
        raise ModelError("the embedded model is not served: open a ModelHost first and pass on its base_url.")
    forms = EndpointForms() if forms is None else forms
    groups = sharing(settings)
    # Each dispatcher is a shard of its own to the quotas, whichever account it spends from.
    links = _Links(settings, link, shard * len(groups) * (1 if batch_account(settings) is None else 2), attempt)
    here: list[_Part] = []
    asked: list[_Part] = []
    for roles in groups:
        own = settings.of_role(roles[0])
        if own.model.asks_nobody:
            here.append((roles, _made_here(own, scripted, rules)))
        else:
            limiter = links.limiter(roles[0], len(asked))
            batching = None
            if batches is not None and own.in_batches:
                record = BatchRecord(batches, own.endpoint.base_url.rstrip("/"), len(asked))
                purse = links.batch_purse(own, len(groups) + len(asked))
                batching = _Batched(own, record, purse, fence)
            asked.append((roles, _client(settings, roles, base_url, limiter, forms, fence, batching)))
    if asked:
        # What no model said is neither kept nor shared.
        here.append(([role for roles, _ in asked for role in roles], _kept(settings, _joined(asked))))
    return _joined(here)


_Part: TypeAlias = tuple[list[str], Gateway]
"""Roles, and the gateway that takes their asks."""


def _joined(parts: Sequence[_Part]) -> Gateway:
    if len(parts) == 1:
        return parts[0][1]
    of = {role: index for index, (roles, _) in enumerate(parts) for role in roles}
    return ByRole([gateway for _, gateway in parts], of)


def _kept(settings: Settings, gateway: Gateway) -> Gateway:
    """The gateway behind a cache, where answers are kept or shared: embeddings always are."""
    model = settings.model
    if model.cache is None and model.sampling == "own" and EMBED_ROLE not in model.roles:
        return gateway
    cache = None if model.cache is None else Cache(model.cache)
    return Cached(gateway, mode=model.sampling, seed=settings.seed, cache=cache)


def sharing(settings: Settings) -> list[list[str]]:
    """The roles whose asks go through one gateway, by the settings of each, the default one first.

    They share how many calls may be open, so they have the same endpoints, asked in the same way.
    """
    found: dict[Hashable, list[str]] = {}
    for role in roles_of(settings):
        own = settings.of_role(role)
        model, endpoint = own.model, own.endpoint.model_copy(update={"retries": 0})
        # What is made here goes by the price of its role's model.
        alike = (model.kind, model.label if model.asks_nobody else endpoint.model_dump_json())
        found.setdefault(alike, []).append(role)
    return list(found.values())


def _made_here(settings: Settings, scripted: AnswerFunction | None, rules: Mapping[str, Rule] | None) -> Scripted:
    """What answers without a model, by these settings of a role."""
    model, seed, rate = settings.model, settings.seed, rate_of(settings)
    if model.kind == "scripted":
        return Scripted(seed=seed, answer=scripted, latency=model.latency, rate=rate)
    return Scripted(seed=seed, rules=Rules(seed, rules or {}), latency=model.latency, rate=rate)


def _client(
    settings: Settings,
    roles: Sequence[str],
    base_url: str | None,
    limiter: Limiter | None,
    forms: EndpointForms,
    fence: Fence | None,
    batched: _Batched | None = None,
) -> Client:
    """The client of these roles, whose endpoints are the same."""
    own = settings.of_role(roles[0])
    endpoint, embedded = own.endpoint, own.model.kind == "embedded"
    at = [_served_here(own, base_url)] if embedded else role_accesses(settings, roles[0])
    https, lanes = [], []
    for access, calls in zip(at, _concurrency(own, at), strict=True):
        key = None if embedded else read_key(access, required=not is_loopback(access.base_url))
        http = Http(access.base_url, key=key, connections=calls, timeout_s=endpoint.timeout_s, setting=access.setting)
        https.append(http)
        permits = Concurrency(calls, start=min(calls, _START_PERMITS))
        lanes.append(Lane(http.base_url, permits, lane_breaker(len(at), settings.shards), access.weight))
    models = {role: _role_model(settings, role, at, https, forms, batched=batched is not None) for role in roles}
    return Client(
        models=models,
        lanes=lanes,
        outage_s=endpoint.outage_s,
        limiter=limiter,
        batch=endpoint.batch_prompts,
        fence=fence,
        batching=None if batched is None else partial(batched.over, https[0]),
        weighs=batched is not None and batched.purse is not None,
    )


class _Batched(NamedTuple):
    """What the chats of a client go in batches with."""

    settings: Settings
    record: BatchRecord
    purse: BatchPurse | None
    fence: Fence | None

    def over(self, http: Http, direct: Dispatcher, chat: Chat) -> Batching:
        """What puts batches before a dispatcher."""
        model, endpoint = self.settings.model, self.settings.endpoint
        return Batching(
            direct, chat, api=BatchApi(http), record=self.record, terms=endpoint.batches,
            times=Times(endpoint.timeout_s, endpoint.outage_s), sampling=model.sampling, seed=self.settings.seed,
            purse=self.purse, fence=self.fence,
        )  # fmt: skip


def _served_here(settings: Settings, base_url: str | None) -> Access:
    """The way to the embedded model's server."""
    assert base_url is not None
    return Access(base_url, "endpoint.base_url", settings.endpoint.api_key_env, settings.endpoint.api_key_file)


def _role_model(
    settings: Settings, role: str, at: Sequence[Access], https: Sequence[Http], forms: EndpointForms, *, batched: bool
) -> RoleModel:
    """The model of a role as it is asked over these connections."""
    own = settings.of_role(role)
    model, endpoint, seed = own.model, own.endpoint, settings.seed
    embedded, usual = model.kind == "embedded", settings.of_role(DEFAULT_ROLE).model.label
    servers = []
    for access, http in zip(at, https, strict=True):
        known = None if embedded else forms.at(http.base_url, "" if model.label == usual else model.label)
        shared_first = model.prompt_order == "shared_first"
        writer = Writer(model.label, LLAMA if embedded else OPENAI, known, shared_first=shared_first)
        servers.append(Server(http, writer, access.key_source, access.setting, History()))
    prompts = None
    if own.writes_prompts:
        prompts = Prompts(model.label, model.prompt_form, seed & 0x7FFF_FFFF if model.sampling == "shared" else None)
    rate = rate_of(own, direct=True)
    retry = Retry(seed, endpoint.retries, model.repairs, rate, Backoff(), model.sampling, model.lenient)
    labels = model.choice_probabilities if model.choice_probabilities is not None else embedded
    mode: Mode = "labels" if labels else "schema"
    return RoleModel(role, model.label, tuple(servers), retry, mode, prompts, rate_of(own) if batched else None)


def check_model(settings: Settings) -> None:
    """Raise SettingsError for a model that cannot be asked: one without a name, or without a price under a ceiling."""
    for role in roles_of(settings):
        _check_role(settings.of_role(role), role)


def _check_role(settings: Settings, role: str) -> None:
    model, budget = settings.model, settings.budget
    if model.kind == "openai" and not model.name:
        name, at = setting_of(role, "name"), setting_of(role, "endpoint")
        raise SettingsError(
            f"{name} is empty: say which model the endpoint at {at}.base_url is to answer with, for example "
            f"--set {name}=gpt-4.1-mini"
        )
    if budget.usd is not None and rate_of(settings) == Rate() and not model.asks_nobody:
        price = f"budget.prices.{_toml_key(model.label)}.usd_per_million_tokens_in"
        raise SettingsError(
            f"budget.usd is set and no price is known for {model.label!r}: set its price (--set '{price}=0.4' and "
            "..._out=1.6, or both in a settings file), or limit budget.tokens instead."
        )


def _toml_key(name: str) -> str:
    """A name as a key of TOML."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'


def _concurrency(settings: Settings, at: Sequence[Access]) -> list[int]:
    """How many calls one shard may have open at each endpoint."""
    if settings.model.kind == "embedded":
        # It has one slot: more calls at once would only wait inside it, while their deadlines run.
        return [1]
    weights = math.fsum(access.weight for access in at)
    whole = [access.concurrency or settings.endpoint.concurrency * access.weight / weights for access in at]
    return [max(1, int(calls / settings.shards)) for calls in whole]


class _Links:
    """The ways of one shard's dispatchers to the accounts that they spend from."""

    def __init__(self, settings: Settings, link: Link | None, first: int, attempt: int) -> None:
        self._settings = settings
        self._first, self._attempt = first, attempt
        self._accounts = accounts_of(settings)
        budget, shards = settings.budget, settings.shards
        usd, tokens = budget.usd, budget.tokens
        part = ceiling(None if usd is None else usd / shards, None if tokens is None else tokens // shards)
        allowance = Allowance(part)
        self._links: list[Link] = [
            OwnShare(one.requests_per_minute / shards, one.tokens_per_minute / shards, allowance)
            if link is None
            else link
            for one in self._accounts
        ]
        self._batch_link: Link = OwnShare(math.inf, math.inf, allowance) if link is None else link

    def limiter(self, role: str, nth: int) -> Limiter | None:
        """What the `nth` of the shard's dispatchers may spend, of the account of this role; None for no limit."""
        index = next(at for at, account in enumerate(self._accounts) if role in account.roles)
        if not is_limited(self._settings, self._accounts[index]):
            return None
        return Limiter(Purse(self._first + nth, self._attempt, account=index), self._links[index])

    def batch_purse(self, own: Settings, nth: int) -> BatchPurse | None:
        """What calls in batches are paid from, for the `nth` that spends; None where nothing bounds them."""
        index = batch_account(self._settings)
        if index is None or (own.budget.usd is None and own.budget.tokens is None):
            return None
        purse = Purse(self._first + nth, self._attempt, account=index)
        return BatchPurse(Limiter(purse, self._batch_link), own.endpoint.outage_s)
