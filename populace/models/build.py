"""From settings to a gateway."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from populace.budget.amounts import Rate, ceiling
from populace.budget.lease import Purse
from populace.budget.prices import rate_of
from populace.budget.service import OwnShare, is_limited
from populace.core.errors import ModelError, SettingsError
from populace.models.cache.answers import Cache
from populace.models.cache.layer import Cached
from populace.models.chat import LLAMA, OPENAI, Writer
from populace.models.client import Client, Server
from populace.models.completions import Prompts
from populace.models.dialect import EndpointForms
from populace.models.dispatch.backoff import Backoff
from populace.models.dispatch.concurrency import Concurrency
from populace.models.dispatch.lanes import Lane, lane_breaker
from populace.models.dispatch.retry import Retry
from populace.models.dispatch.throttle import Limiter, Link
from populace.models.embedded.host import ModelHost, Probe
from populace.models.history import History
from populace.models.http import Http
from populace.models.keys import Access, accesses, is_loopback, read_key
from populace.models.protocol import Gateway
from populace.models.scripted.gateway import AnswerFunction, Scripted
from populace.models.scripted.rules import Rule, Rules
from populace.settings import Settings

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
) -> Gateway:
    """The gateway of one shard, to be opened in the process that uses it.

    `scripted` is the society's own answer function, if it has one, and `rules` are its rules. `base_url` is where the
    run's `ModelHost` serves. `link` leads to the run's central quota; without one, this shard keeps to an equal part of
    every limit itself. `forms` is what is known of the endpoints, and is added to. Raises SettingsError or ModelError
    for settings that cannot work.
    """
    check_model(settings)
    model, endpoint, seed = settings.model, settings.endpoint, settings.seed
    rate = rate_of(settings)
    if model.kind == "scripted":
        return Scripted(seed=seed, answer=scripted, latency=model.latency, rate=rate)
    if model.kind == "rules":
        return Scripted(seed=seed, rules=Rules(seed, rules or {}), latency=model.latency, rate=rate)
    embedded = model.kind == "embedded"
    if embedded and base_url is None:
        raise ModelError("the embedded model is not served: open a ModelHost first and pass on its base_url.")
    if base_url is not None:
        at = [Access(base_url, "endpoint.base_url", endpoint.api_key_env, endpoint.api_key_file)]
    else:
        at = accesses(endpoint)
    forms = EndpointForms() if forms is None else forms
    servers, lanes = [], []
    for access, calls in zip(at, _concurrency(settings, at), strict=True):
        key = None if embedded else read_key(access, required=not is_loopback(access.base_url))
        http = Http(access.base_url, key=key, connections=calls, timeout_s=endpoint.timeout_s, setting=access.setting)
        known = None if embedded else forms.at(http.base_url)
        writer = Writer(model.label, LLAMA if embedded else OPENAI, known)
        servers.append(Server(http, writer, access.key_source, access.setting, History()))
        permits = Concurrency(calls, start=min(calls, _START_PERMITS))
        lanes.append(Lane(http.base_url, permits, lane_breaker(len(at), settings.shards), access.weight))
    prompts = None
    if settings.forms:
        prompts = Prompts(model.label, model.prompt_form, seed & 0x7FFF_FFFF if model.sampling == "shared" else None)
    client = Client(
        servers=servers,
        lanes=lanes,
        model=model.label,
        retry=Retry(seed, endpoint.retries, model.repairs, rate, Backoff(), model.sampling, model.lenient),
        label_mode=model.choice_probabilities if model.choice_probabilities is not None else embedded,
        outage_s=endpoint.outage_s,
        limiter=_limiter(settings, rate, link, shard, attempt),
        prompts=prompts,
        batch=endpoint.batch_prompts,
    )
    if model.cache is None and model.sampling == "own":
        return client
    return Cached(client, mode=model.sampling, seed=seed, cache=None if model.cache is None else Cache(model.cache))


def check_model(settings: Settings) -> None:
    """Raise SettingsError for a model that cannot be asked: one without a name, or without a price under a ceiling."""
    model, budget = settings.model, settings.budget
    if model.kind == "openai" and not model.name:
        raise SettingsError(
            "model.name is empty: say which model the endpoint at endpoint.base_url is to answer with, for example "
            "--set model.name=gpt-4.1-mini"
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


def _limiter(settings: Settings, rate: Rate, link: Link | None, shard: int, attempt: int) -> Limiter | None:
    if not is_limited(settings):
        return None
    endpoint, shards = settings.endpoint, settings.shards
    requests = endpoint.requests_per_minute or math.inf
    if link is None:
        requests /= shards
        usd, tokens = settings.budget.usd, settings.budget.tokens
        part = ceiling(None if usd is None else usd / shards, None if tokens is None else tokens // shards)
        link = OwnShare(requests, (endpoint.tokens_per_minute or math.inf) / shards, part)
    return Limiter(Purse(shard, attempt), link, rate)
