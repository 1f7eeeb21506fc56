"""The model of one role as a client asks it: its servers, its rules, and what to tell where it refuses for good."""

from __future__ import annotations

from typing import Final, NamedTuple

from populace.budget.amounts import Rate
from populace.core.records import EMBED_ROLE
from populace.models.chat import Mode, Writer
from populace.models.completions import Prompts
from populace.models.dispatch.retry import Retry
from populace.models.endings import Fatal
from populace.models.history import History
from populace.models.http import Http
from populace.settings import setting_of

_OF_PARAMETERS: Final = {"max_tokens": "max_tokens", "temperature": "temperature"}


class Server(NamedTuple):
    """One endpoint that a client asks: how it is reached, how it wants to be asked.

    `key_source` names, for errors, where its key comes from; `setting` which setting gives its address; `history` is
    what it has answered so far.
    """

    http: Http
    writer: Writer
    key_source: str
    setting: str
    history: History


class RoleModel(NamedTuple):
    """A model as it is asked for one role; chats in batches cost `batch_rate`, where they go so.

    `servers` serve it, in the order of the client's lanes. `choice_mode` says whether choices are read from the
    probabilities of labels. With `prompts`, text and labels are asked for as raw prompts.
    """

    role: str
    label: str
    servers: tuple[Server, ...]
    retry: Retry
    choice_mode: Mode
    prompts: Prompts | None = None
    batch_rate: Rate | None = None


def explain(fatal: Fatal, model: RoleModel, server: Server, asked: str) -> str:
    """Why no further call of this model can succeed, and what to do, in words; `asked` is the role of the ask."""
    said = _explained(fatal, model, server)
    if asked == EMBED_ROLE != model.role:
        said += (
            " This was asked by ctx.embed, and the settings name no model for it: set model.roles.embed.name to one "
            "that gives embeddings, and model.roles.embed.endpoint.base_url where another server has it."
        )
    return said


def _explained(fatal: Fatal, model: RoleModel, server: Server) -> str:
    url, detail, name = server.http.base_url, fatal.detail, setting_of(model.role, "name")
    match fatal.kind:
        case "key":
            return f"{url} refused the API key ({detail}). Put a valid key into {server.key_source}."
        case "model":
            more = " and serves /completions (endpoint.batch_prompts asks for it)" if model.prompts else ""
            return (
                f"{url} has no model {model.label!r} ({detail}). Set {name} to one that it serves: GET "
                f"{url}/models lists them. If every path is unknown there, see whether {server.setting} ends in "
                f"/v1{more}."
            )
        case "address":
            return f"{url}: {detail}. Nothing was sent there. Name the model's own address in {server.setting}."
        case "certificate":
            return f"{url}: its certificate could not be verified: {detail}."
        case "quota":
            return f"{url} has no quota left for this key ({detail}). Add credit, or use another key, and resume."
        case "batches":
            return (
                f"{url} does not take batches as they are sent ({detail}). Nothing was billed for it. Put right what "
                "it names, or ask directly, at the full price: endpoint.batches.on = false."
            )
        case "tokens":
            return (
                f"{url} has answered no ask of a kind, since {detail}. A run keeps "
                f"{setting_of(model.role, 'max_tokens')} to its end, so begin a new one with more (reasoning models "
                "want thousands), or have the agent ask with more."
            )
    if fatal.parameter:
        known = _OF_PARAMETERS.get(fatal.parameter)
        other = "ask another endpoint or another model"
        step = f"begin a new run with another {setting_of(model.role, known)}" if known else other
        return f"{url} refuses {fatal.parameter} in every form ({detail}). Calls can't be made like that: {step}."
    if fatal.status < 400:
        return (
            f"{url} does not answer as a model's endpoint: {detail}. Set {server.setting} to the address at which "
            "it does (it often ends in /v1), and resume."
        )
    return (
        f"{url} has refused all asks of a kind alike and answered none: {detail}. If it names the model, that is "
        f"{name} = {model.label!r}; if it names the address, {server.setting} sets that; if it names "
        f"something of the prompts or of an answer's type, the society's code does."
    )
