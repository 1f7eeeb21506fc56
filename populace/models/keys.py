"""Endpoints as the settings name them, and their API keys: read where they are used, from environment or file."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import socket
from pathlib import Path
from typing import Final, NamedTuple

from populace.budget.accounts import accounts_of
from populace.core.errors import ModelError, SettingsError
from populace.models.safety import Secret, check_base_url, host_of
from populace.settings import EndpointSettings, Settings

_DIGEST_ROUNDS: Final = 200_000
_DIGEST_BYTES: Final = 12


class Access(NamedTuple):
    """How one endpoint is reached: its address, its share, where its key is kept, how many calls it takes at once.

    `setting` names, for errors, the setting that gives the address. `concurrency` is None where nothing is said.
    """

    base_url: str
    setting: str
    api_key_env: str
    api_key_file: Path | None
    weight: float = 1.0
    concurrency: int | None = None

    @property
    def key_source(self) -> str:
        """Where the key is to be put, for errors."""
        at = self.setting.removesuffix("base_url")
        if self.api_key_file is not None:
            return f"the file {self.api_key_file} ({at}api_key_file)"
        return f"the environment variable {self.api_key_env} ({at}api_key_env), or {at}api_key_file"


def accesses(endpoint: EndpointSettings, at: str = "endpoint") -> list[Access]:
    """Every endpoint that the settings name, in their order; `at` is the section that they stand in.

    Raises SettingsError for an address not to be called.
    """
    if not endpoint.replicas:
        setting = f"{at}.base_url"
        check_base_url(endpoint.base_url, setting)
        return [Access(endpoint.base_url, setting, endpoint.api_key_env, endpoint.api_key_file)]
    found = []
    for index, replica in enumerate(endpoint.replicas):
        setting = f"{at}.replicas[{index}].base_url"
        check_base_url(replica.base_url, setting)
        own = replica.api_key_env is not None or replica.api_key_file is not None
        file = replica.api_key_file if own else endpoint.api_key_file
        env = replica.api_key_env or endpoint.api_key_env
        found.append(Access(replica.base_url, setting, env, file, replica.weight, replica.concurrency))
    return found


def role_accesses(settings: Settings, role: str) -> list[Access]:
    """Every endpoint of a model role, named by the section that says where it is; raises what `accesses` raises."""
    own = settings.model.roles.get(role)
    said = () if own is None else (own.endpoint.base_url, own.endpoint.api_key_env, own.endpoint.api_key_file)
    is_own = own is not None and (bool(own.endpoint.replicas) or any(said))
    return accesses(settings.of_role(role).endpoint, f"model.roles.{role}.endpoint" if is_own else "endpoint")


def read_key(access: Access, *, required: bool) -> Secret | None:
    """The key from the access's file, else from the environment variable that it names.

    None when there is none and none is required. Raises SettingsError, naming file or variable, for a file that cannot
    be read and for what cannot be a key, ModelError for a required key that is missing.
    """
    at = access.setting.removesuffix("base_url")
    if access.api_key_file is not None:
        try:
            text = access.api_key_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{at}api_key_file: {access.api_key_file} cannot be read ({error}).") from None
        return Secret(text, f"{at}api_key_file: {access.api_key_file}")
    text = os.environ.get(access.api_key_env, "")
    if text.strip():
        return Secret(text, f"the environment variable {access.api_key_env}")
    if required:
        raise ModelError(
            f"{access.base_url} needs an API key: set the environment variable {access.api_key_env}, or put the key "
            f"into a file and the file's path into {at}api_key_file."
        )
    return None


def is_loopback(base_url: str) -> bool:
    """Whether a base URL stays on this machine, where servers seldom want a key."""
    host = host_of(base_url)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def account_names(settings: Settings) -> list[str]:
    """A name for each account of a run (in the order of `accounts_of`), the same in every run on it; '' for no limit.

    It is a digest of addresses and keys, slow to make (PBKDF2), so neither can be read or guessed from it. An address
    on this machine is another one on each machine. Raises what `read_key` raises.
    """
    names = []
    for account in accounts_of(settings):
        role = account.roles[0]
        limited = account.is_limited and settings.of_role(role).model.kind == "openai"
        names.append(_digest(role_accesses(settings, role)) if limited else "")
    return names


def _digest(at: list[Access]) -> str:
    parts = set()
    for access in at:
        local = is_loopback(access.base_url)
        key = read_key(access, required=not local)
        url = access.base_url.rstrip("/").lower()
        parts.add("\n".join((url, socket.gethostname() if local else "", "" if key is None else key.reveal())))
    text = "\n\n".join(sorted(parts)).encode()
    return hashlib.pbkdf2_hmac("sha256", text, b"populace account", _DIGEST_ROUNDS, _DIGEST_BYTES).hex()
