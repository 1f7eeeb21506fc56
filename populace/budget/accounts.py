"""Which model roles share an account at a provider, and so its limits. Pure.

Two roles are on one account where their addresses, keys and limits per minute are the same. The ceilings of money and
tokens (`budget`) are the run's, over all its accounts.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import NamedTuple

from populace.core.records import DEFAULT_ROLE
from populace.settings import Settings


class Account(NamedTuple):
    """An account: the roles whose models it pays for, and its limits over all of them, infinite for none."""

    roles: tuple[str, ...]
    requests_per_minute: float
    tokens_per_minute: float

    @property
    def is_limited(self) -> bool:
        """Whether it has a limit."""
        return math.isfinite(self.requests_per_minute) or math.isfinite(self.tokens_per_minute)


def roles_of(settings: Settings) -> list[str]:
    """The model roles that the settings know, the default one first."""
    return [DEFAULT_ROLE, *settings.model.roles]


def accounts_of(settings: Settings) -> list[Account]:
    """The accounts of a run, in the order of its roles; those whose answers are made here have none."""
    found: dict[Hashable, list[str]] = {}
    for role in roles_of(settings):
        own = settings.of_role(role)
        if not own.model.asks_nobody:
            found.setdefault(_identity(own), []).append(role)
    accounts = []
    for roles in found.values():
        endpoint = settings.of_role(roles[0]).endpoint
        limits = endpoint.requests_per_minute or math.inf, endpoint.tokens_per_minute or math.inf
        accounts.append(Account(tuple(roles), *limits))
    return accounts


def batch_account(settings: Settings) -> int | None:
    """The number of the account from which calls in batches are paid, behind all others; None where none go so.

    It has no rates: endpoints bound batches apart.
    """
    batches = any(settings.of_role(role).in_batches for role in roles_of(settings))
    return len(accounts_of(settings)) if batches else None


def _identity(own: Settings) -> Hashable:
    """What an account is known by, from the settings of one of its roles."""
    endpoint = own.endpoint
    keys: list[object] = [(one.api_key_env, one.api_key_file) for one in endpoint.replicas]
    keys.append((endpoint.api_key_env, endpoint.api_key_file))
    at = () if own.model.kind == "embedded" else (*endpoint.urls, *keys)
    return own.model.kind, at, endpoint.requests_per_minute, endpoint.tokens_per_minute
