"""Where separate runs share an account's limits (`endpoint.share_limits`): a folder, a bucket, a Ray. Shell.

Opens a run's accounts, joined with the other runs' where the settings say so.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from populace.budget.accounts import accounts_of
from populace.budget.amounts import NOTHING, Amount
from populace.budget.service import AccountService, Mark, account_for
from populace.budget.shares import Register, Terms, read_members
from populace.core.errors import SettingsError
from populace.models.keys import account_names
from populace.settings import Settings
from populace.store.register import ON_RAY, FileRegister
from populace.store.remote.mirror import is_remote

TERMS: Final = {"folder": Terms(0.5, 0.02), "store": Terms(3.0, 0.2), ON_RAY: Terms(0.5, 0.02)}
"""How often parts are renewed: every half a second; in a store, where each time is two requests, every three."""


class Place(NamedTuple):
    """A place where accounts are shared: the register of an account by its name, and the terms."""

    register: Callable[[str], Register]
    terms: Terms


def needs_account(settings: Settings) -> bool:
    """Whether a run has an account to keep to. Raises SettingsError where it is to share limits and has none."""
    if settings.endpoint.share_limits is not None and not settings.asks_nobody:
        if not any(one.is_limited for one in accounts_of(settings)):
            raise SettingsError(
                "endpoint.share_limits says where runs share the account's limits, and there are none: set "
                "endpoint.requests_per_minute or endpoint.tokens_per_minute to what the provider allows."
            )
        if settings.endpoint.share_limits == ON_RAY and settings.transport != "ray":
            raise SettingsError(
                "endpoint.share_limits = 'ray' shares limits among the runs on a Ray cluster, and this run is not on "
                "one: set transport = 'ray' and RAY_ADDRESS, or name a folder or an s3:// address."
            )
    return account_for(settings) is not None


def shared_account(settings: Settings, spent: Amount = NOTHING, mark: Mark | None = None) -> AccountService | None:
    """The accounts of a run, opened; None where nothing is limited. Blocks where they are shared; close it then.

    Raises SettingsError for a place where nothing can be shared, StorageError for one that can't be used.
    """
    if not needs_account(settings):
        return None
    names = [] if settings.endpoint.share_limits is None else account_names(settings)
    if settings.endpoint.share_limits is None or not any(names):
        return account_for(settings, spent, mark)
    place = place_of(settings.endpoint.share_limits)
    shared = {index: (place.register(name), place.terms) for index, name in enumerate(names) if name}
    account = AccountService(settings, spent, mark, shared)
    account.open()
    return account


def runs_at_work(settings: Settings) -> int:
    """How many runs share the limits of these settings' accounts now; a killed one may still count for a moment.

    Raises what `shared_account` does.
    """
    at = settings.endpoint.share_limits
    if at is None or not needs_account(settings):
        return 0
    place = place_of(at)
    texts = (place.register(name).read()[0] for name in account_names(settings) if name)
    return max(len(read_members(text)) for text in texts)


def place_of(share_limits: str) -> Place:
    """The place that a setting names. Raises SettingsError, StorageError."""
    if share_limits == ON_RAY:
        from populace.cluster.ray_register import RayRegister

        return Place(RayRegister, TERMS[ON_RAY])
    if is_remote(share_limits):
        from populace.store.remote.register import ObjectRegister, open_store

        store = open_store(share_limits)
        return Place(lambda name: ObjectRegister(store, f"account-{name}.json"), TERMS["store"])
    folder = Path(share_limits).expanduser()
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"endpoint.share_limits: {folder} is no folder. Name one that all runs share.")
    return Place(lambda name: FileRegister(folder / f"account-{name}.json"), TERMS["folder"])
