"""Settings that stood elsewhere once: where each stands now, and the settings of old runs brought up to date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MOVED: Final = {
    "model.base_url": "endpoint.base_url",
    "model.api_key_env": "endpoint.api_key_env",
    "model.api_key_file": "endpoint.api_key_file",
    "model.timeout_s": "endpoint.timeout_s",
    "model.retries": "endpoint.retries",
    "model.outage_s": "endpoint.outage_s",
    "model.batch_prompts": "endpoint.batch_prompts",
    "model.endpoints": "endpoint.replicas",
    "model.throttle": "endpoint",
    "model.budget": "budget",
    "model.prices": "budget.prices",
}
"""Where a setting, or all that stood in a section, stands now."""


def migrated(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as an older populace wrote them (`run.json`, `manifest.json`), with every key where it stands now.

    Those that need no change come back as they are.
    """
    model = settings.get("model")
    if not isinstance(model, Mapping) or not any(old.partition(".")[2] in model for old in MOVED):
        return dict(settings)
    found = {key: dict(value) if isinstance(value, Mapping) else value for key, value in settings.items()}
    for old, new in MOVED.items():
        name = old.partition(".")[2]
        if name in model:
            _put(found, new.split("."), found["model"].pop(name))
    return found


def moved_to(key: str) -> str | None:
    """Where the setting 'section.key' of an older populace stands now; None where it never stood there."""
    for old, new in MOVED.items():
        if key == old or key.startswith(f"{old}."):
            return new + key[len(old) :]
    return None


def _put(into: dict[str, Any], path: list[str], value: Any) -> None:
    *sections, last = path
    for section in sections:
        into = into.setdefault(section, {})
    if isinstance(value, Mapping):
        into.setdefault(last, {}).update(value)
    else:
        into[last] = value
