"""API keys: read where they are used, from the environment or a file."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from populace.agents.llm.safety import Secret
from populace.core.errors import ModelError, SettingsError
from populace.settings import Model


def read_key(model: Model, *, required: bool) -> Secret | None:
    """The key from `model.api_key_file`, else from the environment variable that `model.api_key_env` names.

    None when there is none and none is required. Raises SettingsError, naming file or variable, for a file that cannot
    be read and for what cannot be a key, ModelError for a required key that is missing.
    """
    if model.api_key_file is not None:
        try:
            text = model.api_key_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"model.api_key_file: {model.api_key_file} cannot be read ({error}).") from None
        return Secret(text, f"model.api_key_file: {model.api_key_file}")
    text = os.environ.get(model.api_key_env, "")
    if text.strip():
        return Secret(text, f"the environment variable {model.api_key_env}")
    if required:
        raise ModelError(
            f"{model.base_url} needs an API key: set the environment variable {model.api_key_env}, or put the key into "
            f"a file and the file's path into model.api_key_file."
        )
    return None


def is_loopback(base_url: str) -> bool:
    """Whether a base URL stays on this machine, where servers seldom want a key."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
