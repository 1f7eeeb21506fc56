"""`manifest.json`: what a run was and what it came to. Written whole or not at all, and never with a key in it."""

from __future__ import annotations

import json
import platform
import re
import shlex
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any, Final

import msgspec
import numpy as np
import psutil

from populace.core.errors import SettingsError, StorageError
from populace.core.records import UNPUT, Counts
from populace.files import write_whole
from populace.settings import LimitSettings
from populace.store.journal.write import segment_name

MANIFEST: Final = "manifest.json"

REQUIRED: Final = (
    "trace_hash",
    "scenario",
    "settings",
    "seed",
    "versions",
    "agents",
    "ticks",
    "turns",
    "messages",
    "asks",
    "calls_billed",
    "tokens_in",
    "tokens_out",
    "cost_usd",
    "wall_s",
    "peak_rss_mb",
)
"""The keys that every manifest has."""


class _Spent(msgspec.Struct):
    calls: int
    tokens_in: int
    tokens_out: int
    cost_usd: float
    asks: int = 0
    abstained: dict[str, int] = {}


class _Asks(msgspec.Struct):
    by_purpose: dict[str, _Spent]
    made: int
    answered: int
    abstained: int
    by_role: dict[str, dict[str, _Spent]] = {}


class _Messages(msgspec.Struct):
    sent: int
    delivered: int
    expired: int
    refused: int


class _Read(msgspec.Struct):
    """The types of what is read of a manifest, wherever it is."""

    scenario: str
    agents: int
    ticks: int
    settings: dict[str, Any]
    messages: _Messages
    asks: _Asks
    calls_billed: int
    tokens_in: int
    tokens_out: int
    cost_usd: float
    status: str = ""
    trace_hashes: list[str] = []
    world_hashes: list[str] = []
    world_parts: dict[str, list[str]] = {}
    parameters: dict[str, Any] = {}
    journal: dict[str, int] = {}


REDACTED: Final = "[redacted]"

_PACKAGES: Final = (
    "populace",
    "aiohttp",
    "asyncio-throttle",
    "igraph",
    "msgpack",
    "msgspec",
    "numpy",
    "prometheus-client",
    "psutil",
    "pyarrow",
    "pydantic",
    "ray",
    "rich",
    "typer",
    "xllamacpp",
)

_HASH_NAME: Final = re.compile(r"(?:^|[_\-. ])(?:hash(?:es)?|sha256|digest|checksum)$", re.IGNORECASE)
_OF_THE_SOCIETY: Final = frozenset({("settings", "society"), ("settings", "levers"), ("parameters",), ("levers",)})
"""What decides who is drawn and what happens: kept to the letter, so that a run copied from a manifest is the same."""
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_SECRET_TEXT: Final = re.compile(
    r"""
    (?<=://)[^/?\#@\s]+(?=@)                                               # user:password@ of an address
    | (?<=[?&])(?:api[_-]?key|key|(?:access_|auth_)?token|sig|signature|secret|password)=[^&\#\s]+   # ?api_key=...
    | (?<![A-Za-z0-9])(?:sk|pk|rk|hf|gsk|xai|ghp|gho|ghs|glpat|pplx|nvapi|r8|csk|fw|xox[abprs])
      [-_](?=[A-Za-z_\-]*[0-9])[A-Za-z0-9_\-]{12,}                          # a maker's prefix, then a digit somewhere
    | (?<![A-Za-z0-9])github_pat_\w{20,}
    | (?<![A-Za-z0-9])AIza[A-Za-z0-9_\-]{30,}
    | (?<![A-Za-z0-9])A(?:KIA|SIA)[A-Z0-9]{16}(?![A-Za-z0-9])
    | (?<![A-Za-z0-9])eyJ[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]*   # JSON web token
    | (?i:(?<=bearer\s)\S+)
    | (?<![A-Za-z0-9])(?=[A-Za-z0-9]*[a-z])(?=[A-Za-z0-9]*[A-Z])(?=[A-Za-z0-9]*[0-9])[A-Za-z0-9]{24,}
    """,
    re.VERBOSE,
)
_BARE_HEX: Final = re.compile(r"[0-9a-fA-F]{32,}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def redact(value: Any, *at: str) -> Any:
    """A copy of `value` as plain data in which nothing that looks like a key stands; `at` is where in a manifest it is.

    No setting holds a secret by its type (keys are named by variable or file), so what is looked for here was put
    somewhere by mistake: what cannot be the name of an environment variable where one belongs (`api_key_env`), text
    that is nothing but 32 or more hex digits (unless its name says that it is a hash), known makers' prefixes,
    passwords and keys in addresses, and long unbroken words of mixed case and digits. What belongs to the society and
    its levers stays to the letter, whatever it is called. Raises TypeError for a value that is not plain data.
    """
    name = at[-1] if at else ""
    if isinstance(value, Mapping):
        return {str(key): redact(item, *at, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item, *at) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, bytes):
        return redact(value.hex(), *at)
    if not isinstance(value, (str, PurePath)):
        raise TypeError(f"manifest: '{name}' holds a {type(value).__name__}, which is not plain data")
    text = str(value)
    if not text or at[:1] in _OF_THE_SOCIETY or at[:2] in _OF_THE_SOCIETY:
        return text
    if name.endswith("_env") and not _VARIABLE.fullmatch(text):
        return REDACTED
    if _BARE_HEX.fullmatch(text) and not _HASH_NAME.search(name):
        return REDACTED
    return _SECRET_TEXT.sub(REDACTED, text)


def tally(total: Counts) -> dict[str, Any]:
    """The part of a manifest that counts: turns, messages, actions, rounds, asks, calls, tokens and cost of a run."""
    return {
        "turns": total.turns,
        "turns_failed": total.turns_failed,
        "messages": {
            "sent": total.sent,
            "delivered": total.delivered,
            "expired": total.expired,
            "refused": sum(total.refused.values()),
            "refused_by_reason": dict(sorted(total.refused.items())),
        },
        "actions": {
            "taken": total.acted,
            "applied": total.applied,
            "refused": sum(total.acts_refused.values()),
            "refused_by_reason": dict(sorted(total.acts_refused.items())),
        },
        "rounds": {
            "held": total.rounds,
            "contributions": total.said,
            "heard": total.heard,
            "closed": sum(total.unheard.values()),
            "closed_by_reason": dict(sorted(total.unheard.items())),
        },
        "asks": {
            "made": total.asked,
            "answered": total.answered,
            "cached": total.cached,
            "replayed": total.replayed,
            "surrogate": total.surrogate,
            "abstained": sum(total.abstained.values()),
            "by_reason": dict(sorted(total.abstained.items())),
            "cut": total.cut,
            "extracted": total.extracted,
            "coerced": total.coerced,
            "left_out": dict(sorted(total.left_out.items())),
            "by_purpose": {name: msgspec.to_builtins(total.purposes[name]) for name in sorted(total.purposes)},
            "by_role": {
                role: {name: msgspec.to_builtins(parts[name]) for name in sorted(parts)}
                for role, parts in total.by_role().items()
            },
        },
        **_surrogates(total),
        "calls_billed": total.calls,
        "tokens_in": total.tokens_in,
        "tokens_out": total.tokens_out,
        "cost_usd": total.cost_usd,
        "estimated_tokens": total.estimated_tokens,
        "estimated_usd": total.estimated_usd,
    }


def _surrogates(total: Counts) -> dict[str, Any]:
    """What surrogates came to, where there were any: `excess_disagreement` is over audits, beyond chance."""
    if not (total.surrogate or total.audits):
        return {}
    excess = (total.surprise - total.expected) / total.audits if total.audits else None
    figures = {"answered": total.surrogate, "audits": total.audits, "alarms": total.alarms}
    return {"surrogates": {**figures, "excess_disagreement": excess}}


_ADVICE: Final[Mapping[str, str]] = {
    "refusal": "The model or a filter declined: see what it says, and change the prompts or the model.",
    "schema": "Answers could not be read as their types: see what they say; a larger model, simpler types or more "
    "max_tokens may help.",
    "deadline": "Answers came too late: raise the timeout, or ask fewer at once.",
    "error": "The endpoint failed: see what it says.",
}


def verdict(total: Counts, limits: LimitSettings) -> dict[str, Any]:
    """The part of a manifest that says whether a run's figures may be used: `valid`, and in words `why_invalid`.

    A run of which a greater share of asks stayed without an answer than `limits.abstained` is not valid; the words say
    by which reasons. Asks that no model had its chance to answer (`UNPUT`) say nothing about it and are left out.
    """
    missing = {reason: n for reason, n in total.abstained.items() if reason not in UNPUT}
    abstained = sum(missing.values())
    put = total.answered + total.cached + total.replayed + abstained
    if abstained <= limits.abstained * put:
        return {"valid": True, "why_invalid": None}
    by_purpose = {name: _put(purpose.abstained) for name, purpose in total.purposes.items()}
    often = max(by_purpose, key=lambda name: by_purpose[name], default="")
    most = max(missing, key=lambda reason: missing[reason])
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(missing.items()))
    return {
        "valid": False,
        "why_invalid": f"{abstained:,} of {put:,} asks ({abstained / put:.1%}) have no answer ({reasons}), most of "
        f"purpose {often!r}; limits.abstained allows {limits.abstained:.1%}. {_ADVICE.get(most, '')}".rstrip(),
    }


def _put(abstained: Mapping[str, int]) -> int:
    return sum(n for reason, n in abstained.items() if reason not in UNPUT)


def write_manifest(out: Path, manifest: Mapping[str, Any]) -> Path:
    """Write `manifest.json` into the folder `out`, whole or not at all; give its path.

    Everything passes `redact` first; NaN and infinities, which JSON lacks, become null. Raises ValueError, naming
    them, when keys of `REQUIRED` are missing, and StorageError when the disk refuses.
    """
    missing = [key for key in REQUIRED if key not in manifest]
    if missing:
        raise ValueError(f"manifest lacks {', '.join(missing)}")
    content = msgspec.json.format(msgspec.json.encode(redact(manifest)), indent=2) + b"\n"
    path = out / MANIFEST
    write_whole(path, content)
    return path


def is_complete(run: Path) -> bool:
    """Whether a run's folder has a manifest that says that it is complete. Raises SettingsError if it is unreadable."""
    return (run / MANIFEST).exists() and read_manifest(run).get("status") == "complete"


def is_placebo(folder: Path) -> bool:
    """Whether the answers of a run that has ended were drawn by lot; False where it has no manifest yet."""
    return (folder / MANIFEST).exists() and read_manifest(folder).get("answers") == "placebo"


def read_manifest(run: Path) -> dict[str, Any]:
    """The manifest of a run, given its folder or the file itself.

    Raises SettingsError, naming the file and what to do, when there is none, and StorageError when it is not one.
    """
    path = run if run.name == MANIFEST else run / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if (path.parent / "run.json").exists():
            raise SettingsError(
                f"{path}: there is no such file: a run writes its manifest at its end, and this one has not come to it "
                "(it was killed, or is still at work). If it is not at work, go on with it: "
                f"populace resume {shlex.quote(str(path.parent))}"
            ) from None
        raise SettingsError(
            f"{path}: there is no such file. Give the folder that a run was told with --out; "
            "a run writes its manifest at its end."
        ) from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise StorageError(f"{path}: is not JSON ({error}). It was cut or edited: {_mending(path)}") from None
    missing = [key for key in REQUIRED if key not in manifest] if isinstance(manifest, dict) else list(REQUIRED)
    if missing:
        raise StorageError(f"{path}: is not the manifest of a run: it lacks {', '.join(missing)}. {_mending(path)}")
    try:
        msgspec.convert(manifest, _Read)
    except msgspec.ValidationError as error:
        raise StorageError(f"{path}: is not what populace wrote: {error}. {_mending(path)}") from None
    return dict(manifest)


def _mending(path: Path) -> str:
    run = shlex.quote(str(path.parent))
    return f"Put a good copy back, or remove it: `populace resume {run}` then writes it anew, with no call paid twice."


def journal_files(run: Path) -> dict[str, int]:
    """The files of a run's journal with their lengths in bytes when it ended, as its manifest has them; else none.

    Where an older populace wrote the manifest of a complete run, it is the first file of each shard of its last
    attempt, at any length.
    """
    if not (run / MANIFEST).exists():
        return {}
    manifest = read_manifest(run)
    files = manifest.get("journal")
    if files is not None:
        return dict(files)
    if manifest.get("status") != "complete" or "attempt" not in manifest:
        return {}
    if manifest["settings"].get("journal") == "off":
        return {}
    shards = manifest["settings"].get("shards", 1)
    return {segment_name(shard, manifest["attempt"], 0): 0 for shard in range(shards)}


def versions() -> dict[str, str]:
    """The versions of Python, of populace and of what it stands on; 'not installed' where that is so."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def peak_rss_mb() -> float:
    """The most resident memory of this process and of its living descendants, in units of 10**6 bytes.

    It sums each process' own peak, which is at least what they held together at any one time; pages that they
    share count once for each. Processes on other machines and descendants that have ended are not in it, so ask
    before the shards are stopped.
    """
    me = psutil.Process()
    total = 0
    for process in (me, *me.children(recursive=True)):
        try:
            total += _peak_bytes(process)
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def _peak_bytes(process: Any) -> int:
    if sys.platform == "linux":
        try:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:  # it ended, or /proc is closed to us
            status = ""
        if peak := re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE):
            return int(peak[1]) * 1024
    memory = process.memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))
