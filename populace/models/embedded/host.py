"""What a run starts once for all its shards: the embedded model's server; and whether a model can be reached."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from populace.budget.accounts import roles_of
from populace.core.errors import ModelError, PopulaceError
from populace.core.records import DEFAULT_ROLE, EMBED_ROLE
from populace.files import cache_folder
from populace.models.embedded.process import NO_XLLAMACPP, EmbeddedServer, threads_for
from populace.models.embedded.weights import Progress, is_cached, weights_path
from populace.models.endings import Late
from populace.models.http import Http, Reply
from populace.models.keys import Access, is_loopback, read_key, role_accesses
from populace.settings import Model, Settings

_PROBE_TIMEOUT_S: Final = 10.0


class Probe(NamedTuple):
    """Whether a model can be used: what was found, and what to do next ('' when nothing has to be done).

    `refused` says that an endpoint answered and won't take the key: no waiting mends that.
    """

    ok: bool
    found: str
    next_step: str = ""
    refused: bool = False


class ModelHost:
    """Opened once a run, by its coordinator, before the shards' gateways.

    `base_url` is where the embedded model serves while the host is open; None where no role asks it. For models at
    endpoints opening only looks whether these can be reached and take the key.
    """

    def __init__(self, settings: Settings, progress: Progress | None = None) -> None:
        self._settings = settings
        self._roles = [(role, settings.of_role(role)) for role in roles_of(settings)]
        self._progress = progress
        self.server: EmbeddedServer | None = None
        self.base_url: str | None = None

    async def open(self) -> str | None:
        """Start what has to be started, and give `base_url`. Raises ModelError, which says what to do."""
        for role, probes in (await self.probe_roles(("openai",))).items():
            bad = [probe for probe in probes if not probe.ok]
            # One endpoint of several that is down is left out while it is; a wrong key has to be put right.
            if len(bad) == len(probes) or any(probe.refused for probe in bad):
                what = "" if role == DEFAULT_ROLE else f"the model role {role!r}: "
                raise ModelError(what + " ".join(f"{probe.found} {probe.next_step}" for probe in bad))
        if any(own.model.kind == "embedded" for _, own in self._roles):
            self.server = EmbeddedServer(self._settings.model, self._progress)
            self.base_url = await self.server.open()
        return self.base_url

    async def close(self) -> None:
        """End what `open` started."""
        server, self.server, self.base_url = self.server, None, None
        if server is not None:
            await server.close()

    async def probe_roles(self, kinds: Sequence[str] = ("embedded", "openai", "rules", "scripted")) -> _Probes:
        """Whether the models of these kinds can be used, by their roles; the default one comes first.

        Roles that ask the same model at the same endpoints are one, under the first one's name, but for `embed`. Each
        has a probe for each endpoint, or one. Starts nothing, downloads nothing, costs nothing, raises nothing.
        """
        found: _Probes = {}
        seen: list[object] = []
        for role, own in self._roles:
            alike = own.model.kind, own.model.label, own.endpoint, role == EMBED_ROLE
            if own.model.kind in kinds and alike not in seen:
                seen.append(alike)
                found[role] = await self._probe(role, own.model)
        return found

    async def _probe(self, role: str, model: Model) -> list[Probe]:
        try:
            match model.kind:
                case "rules":
                    return [Probe(True, "The society's rules need nothing.")]
                case "scripted":
                    return [Probe(True, "The scripted model needs nothing.")]
                case "embedded":
                    return [await asyncio.to_thread(_probe_embedded, model)]
                case _:
                    at = role_accesses(self._settings, role)
                    return list(await asyncio.gather(*(_guarded(access, model.name) for access in at)))
        except PopulaceError as error:
            return [Probe(False, str(error), refused=True)]


_Probes: TypeAlias = dict[str, list[Probe]]


async def _guarded(access: Access, name: str) -> Probe:
    try:
        return await _probe_endpoint(access, name)
    except PopulaceError as error:
        return Probe(False, str(error), refused=True)


def _probe_embedded(model: Model) -> Probe:
    if importlib.util.find_spec("xllamacpp") is None:
        return Probe(False, "The embedded model cannot run:", NO_XLLAMACPP)
    if model.path is not None:
        return Probe(True, f"The embedded model is {weights_path(model.path)}, on {threads_for(model)} threads.")
    if is_cached():
        return Probe(True, f"The embedded model's weights are in {cache_folder()}; {threads_for(model)} threads.")
    return Probe(True, "The embedded model's weights are not here yet; the first run fetches them (93 MB).")


async def _probe_endpoint(access: Access, model: str) -> Probe:
    """Ask the endpoint for its models. Servers that don't list them are taken as they are."""
    loopback = is_loopback(access.base_url)
    key = read_key(access, required=not loopback)
    http = Http(access.base_url, key=key, connections=1, timeout_s=_PROBE_TIMEOUT_S, setting=access.setting)
    await http.open()
    try:
        reply = await http.get("/models")
    finally:
        await http.close()
    url = http.base_url
    if not isinstance(reply, Reply):
        step = "Start its server" if loopback else "Look at the network"
        said = "does not answer" if isinstance(reply, Late) else "cannot be reached"
        return Probe(False, f"{url} {said} ({reply.detail}).", f"{step}, or set {access.setting} to where it is.")
    if reply.status in (401, 403):
        said, which = ("wants an API key", "one") if key is None else ("refuses the API key", "a valid one")
        return Probe(False, f"{url} {said} ({reply.status}).", f"Put {which} into {access.key_source}.", refused=True)
    names = _names(reply.body) if reply.status == 200 else []
    if names and model and model not in names:
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        # Some endpoints serve more than they list, so this alone stops nothing.
        return Probe(True, f"{url} answers, and lists no model {model!r}.", f"It lists: {shown}.")
    return Probe(True, f"{url} answers{f' and has {model}' if names and model else ''}.")


def _names(body: bytes) -> list[str]:
    try:
        listed: Any = msgspec.json.decode(body)
        return [str(entry["id"]) for entry in listed["data"]]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return []
