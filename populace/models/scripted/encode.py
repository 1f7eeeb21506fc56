"""A value that a society's own function gives, as the text that a model would have given."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pydantic

from populace.agents.answers import AnswerSpec, Chosen

to_json: Final = msgspec.json.Encoder().encode


def encode(spec: AnswerSpec, value: Any) -> str:
    """A str for text, a label or `Chosen` for a `Choice`, else a value of the type. Raises TypeError for another."""
    if spec.kind == "text":
        if not isinstance(value, str):
            raise TypeError(f"a text ask takes a str, not {type(value).__name__}")
        return value
    if spec.kind == "choice" and isinstance(value, str):
        value = Chosen(value)
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump_json()
    return to_json(value).decode()
