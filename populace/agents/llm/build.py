"""From settings to a gateway."""

from __future__ import annotations

import math

from populace.agents.llm.backoff import Backoff
from populace.agents.llm.budget import Rate, ceiling
from populace.agents.llm.cache import Cache
from populace.agents.llm.cached import Cached
from populace.agents.llm.chat import LLAMA, OPENAI
from populace.agents.llm.client import Client
from populace.agents.llm.concurrency import Concurrency
from populace.agents.llm.host import ModelHost, Probe
from populace.agents.llm.http import Http
from populace.agents.llm.keys import is_loopback, read_key
from populace.agents.llm.lease import Purse
from populace.agents.llm.ownshare import OwnShare
from populace.agents.llm.prices import rate_of
from populace.agents.llm.protocol import Gateway
from populace.agents.llm.retry import Retry
from populace.agents.llm.scripted import AnswerFunction, Scripted
from populace.agents.llm.throttle import Account, Link
from populace.core.errors import ModelError, SettingsError
from populace.settings import Model

__all__ = ["ModelHost", "Probe", "build_gateway"]

_START_PERMITS = 256


def build_gateway(
    model: Model,
    *,
    seed: int,
    shards: int,
    scripted: AnswerFunction | None,
    base_url: str | None = None,
    link: Link | None = None,
    shard: int = 0,
    attempt: int = 0,
) -> Gateway:
    """The gateway of one shard, to be opened in the process that uses it.

    `scripted` is the society's own answer function, if it has one. `base_url` is where the run's `ModelHost` serves.
    `link` leads to the run's central quota; without one, this shard keeps to an equal part of every limit itself.
    Raises SettingsError or ModelError for settings that cannot work.
    """
    rate = rate_of(model)
    if model.budget.usd is not None and rate == Rate():
        raise SettingsError(
            f"model.budget.usd is set and no price is known for {model.label!r}: put its price into "
            f"model.prices.{model.label}, or limit model.budget.tokens instead."
        )
    if model.kind == "scripted":
        return Scripted(seed=seed, answer=scripted, latency=model.latency, rate=rate)
    embedded = model.kind == "embedded"
    url = base_url or model.base_url
    if embedded and base_url is None:
        raise ModelError("the embedded model is not served: open a ModelHost first and pass on its base_url.")
    if not embedded and not model.name:
        raise SettingsError("model.name is empty: set it to a model that the endpoint at model.base_url serves.")
    key = None if embedded else read_key(model, required=not is_loopback(url))
    # The embedded model has one slot: more calls at once would only wait inside it, while their deadlines run.
    at_once = 1 if embedded else max(1, model.throttle.concurrency // shards)
    choices = model.choice_probabilities if model.choice_probabilities is not None else embedded
    client = Client(
        http=Http(url, key=key, connections=at_once, timeout_s=model.timeout_s),
        model=model.label,
        dialect=LLAMA if embedded else OPENAI,
        retry=Retry(seed, model.retries, model.repairs, rate, Backoff(), model.sampling),
        label_mode=choices,
        permits=Concurrency(at_once, start=min(at_once, _START_PERMITS)),
        outage_s=model.outage_s,
        key_source=_key_source(model),
        account=_account(model, rate, link, shards, shard, attempt),
    )
    if model.cache is None and model.sampling == "own":
        return client
    return Cached(client, mode=model.sampling, seed=seed, cache=None if model.cache is None else Cache(model.cache))


def _account(model: Model, rate: Rate, link: Link | None, shards: int, shard: int, attempt: int) -> Account | None:
    if not is_limited(model):
        return None
    requests = model.throttle.requests_per_minute or math.inf
    if link is None:
        requests /= shards
        usd, tokens = model.budget.usd, model.budget.tokens
        part = ceiling(None if usd is None else usd / shards, None if tokens is None else tokens // shards)
        link = OwnShare(requests, (model.throttle.tokens_per_minute or math.inf) / shards, part)
    return Account(Purse(shard, attempt), link, rate, requests)


def is_limited(model: Model) -> bool:
    """Whether requests, tokens or money are limited, so that calls have to be paid for."""
    return any(
        limit is not None
        for limit in (
            model.throttle.requests_per_minute,
            model.throttle.tokens_per_minute,
            model.budget.usd,
            model.budget.tokens,
        )
    )


def _key_source(model: Model) -> str:
    if model.api_key_file is not None:
        return f"the file {model.api_key_file} (model.api_key_file)"
    return f"the environment variable {model.api_key_env} (model.api_key_env), or model.api_key_file"
