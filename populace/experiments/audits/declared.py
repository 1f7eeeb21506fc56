"""What an experiment's file declares to be audited by. Data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final, Literal

import msgspec

from populace.agents.society import Society

GENERIC: Final = (
    "option order", "message order", "topology", "temperature 0", "temperature 1", "persona shuffle", "placebo lever",
)  # fmt: skip
"""The audits that need no declaration, by name; the last two are negative controls."""


class Perturbation(msgspec.Struct, frozen=True, kw_only=True):
    """How a society is made another one, as plain data that its text ends with.

    `options` shuffles the labels of choices, and where they stand in the prompt; `messages` shuffles inboxes; `rewire`
    is for which share of the ties a swap of partners is tried, degrees kept; `reword` replaces pieces of prompts,
    `personas` pieces of the population's texts; `shuffle` names the columns of the population that are dealt anew
    among agents.
    """

    options: bool = False
    messages: bool = False
    rewire: float = 0.0
    reword: dict[str, str] = {}
    personas: dict[str, str] = {}
    shuffle: list[str] = []


@dataclass(frozen=True)
class Audit:
    """One way in which an experiment is done again: the claim has to hold in it too, or, of a control, to vanish.

    `reword` replaces pieces of prompts by others ({"Do you agree?": "What do you say?"}), `personas` pieces of the
    population's texts ({"You are": "The respondent is"}); `parameters` of the society and `settings` are those of all
    arms; `society` is another one, whose prompt files or persona formats differ. A control deals the columns `shuffle`
    of the population anew among agents, or has `levers` in place of those of the treated arms, which touch nothing that
    matters. `kind` is 'control' where these are given, else 'perturbation', unless it is said.
    """

    name: str
    _: KW_ONLY
    reword: Mapping[str, str] = field(default_factory=dict)
    personas: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    society: Society | str | None = None
    shuffle: Sequence[str] = ()
    levers: Sequence[str | Mapping[str, Any]] = ()
    kind: Literal["", "perturbation", "control"] = ""
    about: str = ""

    @property
    def of_kind(self) -> Literal["perturbation", "control"]:
        """What it is."""
        return self.kind or ("control" if self.shuffle or self.levers else "perturbation")

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return bool(
            self.reword or self.personas or self.parameters or self.settings or self.society is not None
            or self.shuffle or self.levers
        )  # fmt: skip


class DesignedAudit(msgspec.Struct, frozen=True, kw_only=True):
    """An audit as `experiment.json` holds it; `society` counts in the design's `societies`, None for the arm's own."""

    name: str
    kind: Literal["perturbation", "control"]
    about: str = ""
    perturbation: Perturbation = Perturbation()
    parameters: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    society: int | None = None
    levers: list[dict[str, Any]] = []
