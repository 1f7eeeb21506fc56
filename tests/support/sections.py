"""Settings of a model that is asked, written flat: each value goes to the section that has it."""

from __future__ import annotations

from typing import Any, Final

from populace.settings import Budget, EndpointSettings, Model, Settings

_SECTIONS: Final = {"model": Model, "endpoint": EndpointSettings, "budget": Budget}


def sectioned(**values: Any) -> Settings:
    """Settings with these values; seed 7 unless another is given."""
    sections: dict[str, dict[str, Any]] = {name: {} for name in _SECTIONS}
    rest: dict[str, Any] = {"seed": 7}
    for key, value in values.items():
        if key in sections:
            sections[key] |= value
            continue
        homes = [name for name, section in _SECTIONS.items() if key in section.model_fields]
        assert len(homes) < 2, f"{key} is in {homes}"
        (sections[homes[0]] if homes else rest)[key] = value
    return Settings(**sections, **rest)
