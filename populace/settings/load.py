"""Settings read from TOML, from `--set key=value` and from options; what is wrong is named with its source."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeAlias, get_args

import pydantic

from populace.core.errors import SettingsError
from populace.interventions.levers import (
    in_words,
    keys_at,
    missing_key,
    parse_lever,
    plain_path,
    sentence,
    unknown_key,
)
from populace.settings.moved import moved_to
from populace.settings.paths import keys_of
from populace.settings.schema import Model, Settings

_NAMES: Final = re.compile(r'(?:^|\.)(?:"([^"]*)"|([^".]*))')
_OPTIONS: Final = {"model.kind": "model", "log.file": "log"}

Assignment: TypeAlias = str | tuple[str, Any]
"""A setting as `key=value`, whose value is read as TOML and, failing that, as text; or a key and its value as it is."""


def load_settings(file: Path | None = None, assignments: Iterable[Assignment] = (), **options: Any) -> Settings:
    """Read settings from a TOML file, then assignments, then options (None ones are skipped).

    Later sources win. Raises SettingsError, naming key and source, with the keys there are.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    if file is not None:
        _merge(values, _read_toml(file), sources, str(file))
    return _finish(values, sources, assignments, options)


def revise_settings(settings: Settings, assignments: Iterable[Assignment] = (), **options: Any) -> Settings:
    """Settings with some changed, by assignments and options as in `load_settings`. Raises SettingsError."""
    return _finish(settings.model_dump(mode="json"), {}, assignments, options)


def changed_keys(before: Settings, after: Settings) -> list[str]:
    """The keys, as 'section.key', under which two settings differ, in order."""
    was, now = (_leaves(one.model_dump(mode="json")) for one in (before, after))
    return sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))


def _leaves(values: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            leaves.update(_leaves(value, f"{at}{key}."))
        else:
            leaves[f"{at}{key}"] = value
    return leaves


def _finish(
    values: dict[str, Any], sources: dict[str, str], assignments: Iterable[Assignment], options: Mapping[str, Any]
) -> Settings:
    for assignment in assignments:
        if not isinstance(assignment, str):
            key, value = assignment
            _merge(values, _nest(key, value), sources, f"settings[{key!r}]")
            continue
        key, equals, text = _parted(assignment)
        if not equals or not key.strip():
            raise SettingsError(f"--set {assignment}: write it as key=value, for example --set model.temperature=0.2")
        _merge(values, _nest(key.strip(), _read_value(text)), sources, f"--set {key.strip()}")
    for key, value in options.items():
        if value is not None:
            name = key.replace("__", ".")
            option = _OPTIONS.get(name, name.rpartition(".")[2].replace("_", "-"))
            _merge(values, _nest(name, value), sources, f"--{option}")
    if options.get("model__kind") is not None:
        _of_every_role(values)
    try:
        return Settings.model_validate(values)
    except pydantic.ValidationError as error:
        raise SettingsError(_explain(error, sources)) from None


def _of_every_role(values: dict[str, Any]) -> None:
    """The kind of model that is chosen for a run is that of every role: a scripted run pays nobody."""
    model = values.get("model")
    roles = model.get("roles") if isinstance(model, dict) else None
    for own in roles.values() if isinstance(roles, dict) else ():
        if isinstance(own, dict):
            own.pop("kind", None)


def _parted(assignment: str) -> tuple[str, str, str]:
    """`key=value` in its parts; an equals sign in quotes belongs to the key."""
    found = re.match(r'((?:"[^"]*"|[^"=])*)(=)(.*)', assignment, re.DOTALL)
    return ("", "", "") if found is None else (found[1], found[2], found[3])


def with_levers(settings: Settings, levers: Iterable[str | Mapping[str, Any]]) -> Settings:
    """The settings with more levers, each as `interventions.levers.parse_lever` reads it. Raises SettingsError."""
    return settings.model_copy(update={"levers": (*settings.levers, *map(parse_lever, levers))})


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read ({error.strerror}). Check the path given to --settings.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: is not valid TOML: {error}") from None


def _read_value(text: str) -> Any:
    try:
        read = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return read["value"] if len(read) == 1 else text


def _nest(key: str, value: Any) -> dict[str, Any]:
    """The value under a key of several names; one that holds a dot is quoted, as in TOML: `prices."gpt-4.1".usd`."""
    names = [quoted or plain for quoted, plain in _NAMES.findall(key)]
    for name in reversed(names if key.count('"') else key.split(".")):
        value = {name: value}
    return dict(value)


def _merge(into: dict[str, Any], new: Mapping[str, Any], sources: dict[str, str], source: str, at: str = "") -> None:
    for key, value in new.items():
        path = f"{at}{key}"
        known = keys_of(path.split("."))
        if known and isinstance(value, Mapping) and not isinstance(into.get(key, {}), dict):
            raise SettingsError(_section(sources.get(path, source), path, into[key], known))
        if isinstance(value, Mapping) and isinstance(into.get(key, {}), dict):
            _merge(into.setdefault(key, {}), value, sources, source, f"{path}.")
        else:
            into[key] = value
        sources[path] = source


def _explain(error: pydantic.ValidationError, sources: Mapping[str, str]) -> str:
    lines = []
    for problem in error.errors():
        path = plain_path(problem["loc"])
        if not path:
            lines.append(str(problem["ctx"]["error"]) if "ctx" in problem else problem["msg"])
            continue
        source = next((sources[key] for n in range(len(path), 0, -1) if (key := ".".join(path[:n])) in sources), "")
        name = ".".join(path)
        if problem["type"] == "extra_forbidden" and (now := _now(name, problem["input"])):
            lines.append(f"{source}: '{name}' stands elsewhere now: {now}.")
        elif problem["type"] == "extra_forbidden":
            known = keys_at(problem["loc"]) if path[0] == "levers" else keys_of(path[:-1])
            lines.append(f"{source}: {unknown_key(name, known)}")
        elif problem["type"] == "missing":
            lines.append(f"{source}: {missing_key(name)}")
        elif list(path) == ["model", "kind"]:
            kinds: tuple[str, ...] = get_args(Model.model_fields["kind"].annotation)
            given = problem["input"]
            near = get_close_matches(str(given), kinds, 1)
            meant = f" Is '{near[0]}' meant?" if near else ""
            named = given if isinstance(given, str) else "NAME"
            lines.append(
                f"{source}: {json.dumps(given, default=str)} is no kind of model: there are {', '.join(kinds)}."
                f"{meant} What a model is called goes to model.name: --model openai --set model.name={named}"
            )
        elif problem["type"] in ("model_type", "model_attributes_type") and (keys := keys_of(path)):
            lines.append(_section(source, name, problem["input"], keys))
        else:
            value = "" if problem["type"] == "value_error" else f" = {json.dumps(problem['input'], default=str)}"
            lines.append(f"{source}: '{name}'{value}: {sentence(in_words(problem))}")
    return "\n".join(lines)


def _section(source: str, name: str, value: Any, known: list[str]) -> str:
    given = json.dumps(value, default=str)
    keys = ", ".join(f"{name}.{key}" for key in known)
    return f"{source}: '{name}' = {given}: is a section. Set one of its keys: {keys}."


def _now(name: str, value: Any) -> str:
    """Where a setting of an older populace, or each that a section of it holds, stands now; '' for any other."""
    new = moved_to(name)
    if new is None:
        return ""
    if not isinstance(value, Mapping) or not value:
        return f"write '{new}'"
    return "write " + ", ".join(f"'{new}.{key}' for '{name}.{key}'" for key in _leaves(value))
