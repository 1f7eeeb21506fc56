"""What `populace doctor` looks at: Python, packages, memory, disk, Ray, the model. A shell."""

from __future__ import annotations

import asyncio
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
import psutil

from populace.cluster.shared_limits import runs_at_work
from populace.core.errors import PopulaceError
from populace.core.records import DEFAULT_ROLE, EMBED_ROLE
from populace.models.embedded.host import ModelHost
from populace.models.keys import role_accesses
from populace.models.probing import try_endpoint
from populace.monitoring.pace import counted
from populace.settings import Settings
from populace.store.manifest import versions

_FREE_BYTES: Final = 2 * 2**30
_RAY_TIMEOUT_S: Final = 90.0
_RAY_CHECK: Final = (
    "import os, ray; os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0'); "
    "ray.init(**({} if os.environ.get('RAY_ADDRESS') else {'address': 'local', 'include_dashboard': False}), "
    "log_to_driver=False, configure_logging=False); "
    "print(int(ray.cluster_resources().get('CPU', 0)), len(ray.nodes()))"
)


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at: whether it is good, what was found, and what to do where it is not."""

    what: str
    good: bool
    found: str
    remedy: str = ""


async def examine(settings: Settings, *, ask: bool = False) -> list[Finding]:
    """Look at everything that a run with these settings needs. With `ask`, endpoints are asked, which is billed."""
    return [
        _python(),
        Finding("packages", True, ", ".join(f"{name} {version}" for name, version in versions().items())),
        _memory(),
        _disk(),
        await asyncio.to_thread(_ray),
        *await _model(settings, ask),
        *await asyncio.to_thread(_shared_limits, settings),
    ]


def _python() -> Finding:
    good = sys.version_info >= (3, 11)
    return Finding("Python", good, platform.python_version(), "" if good else "install Python 3.11 or newer")


def _memory() -> Finding:
    free = psutil.virtual_memory().available
    good = free > _FREE_BYTES
    found = f"{free / 2**30:.1f} GiB free, {psutil.cpu_count()} cores"
    return Finding("memory", good, found, "" if good else "close other programs, or run fewer shards")


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    good = free > _FREE_BYTES
    return Finding("disk", good, f"{free / 2**30:.1f} GiB free here", "" if good else "free some space or use --out")


def _ray() -> Finding:
    try:
        done = subprocess.run(  # noqa: S603  # our own program text
            [sys.executable, "-c", _RAY_CHECK], capture_output=True, text=True, timeout=_RAY_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding("Ray", False, f"did not answer in {_RAY_TIMEOUT_S:g} s", "check RAY_ADDRESS, or use local")
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return Finding("Ray", False, reason[0], "check RAY_ADDRESS, or use --transport local")
    cpus, nodes = done.stdout.split()[-2:]
    return Finding("Ray", True, f"{cpus} CPUs on {nodes} node(s)")


def _shared_limits(settings: Settings) -> list[Finding]:
    at = settings.endpoint.share_limits
    if at is None or settings.asks_nobody:
        return []
    try:
        runs = runs_at_work(settings)
    except (PopulaceError, ValueError) as error:
        return [
            Finding("shared limits", False, f"{at}: {error}", "set endpoint.share_limits to a place all runs reach")
        ]
    return [Finding("shared limits", True, f"at {at}, {counted(runs, 'run')} at work")]


async def _model(settings: Settings, ask: bool) -> list[Finding]:
    findings = []
    for role, probes in (await ModelHost(settings).probe_roles()).items():
        own = settings.of_role(role)
        kind = own.model.kind if role == DEFAULT_ROLE else f"{role}: {own.model.kind}"
        names = [f"model ({kind})" if len(probes) == 1 else f"model ({kind}, {n})" for n in range(1, len(probes) + 1)]
        findings += [
            Finding(name, probe.ok, probe.found, probe.next_step) for name, probe in zip(names, probes, strict=True)
        ]
        if not ask or own.model.kind != "openai" or any(probe.refused for probe in probes):
            continue
        for name, probe, access in zip(names, probes, role_accesses(settings, role), strict=True):
            if probe.ok:
                trials = await try_endpoint(own, access, time.time(), embeds=role == EMBED_ROLE)
                findings += [Finding(f"{name}, {one.what}", one.good, one.found, one.next_step) for one in trials]
    return findings
