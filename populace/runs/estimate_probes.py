"""What the surveys that a run declares will come to, apart from it: by what a pilot's agents would be asked. A shell.

How many asks there are follows from instruments, waves and samples. What stands in them is counted as the pilot's
agents at its end would be asked; how long answers are is known only between ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Final

import msgspec
import numpy as np

from populace.agents.mind.prompt import estimate_tokens
from populace.agents.society import Society
from populace.budget.amounts import PICO_USD
from populace.budget.prices import rate_of
from populace.cluster.probing import Draft, Planned, Prober, look
from populace.cluster.surveying import declared
from populace.cluster.transport import Transport
from populace.core.draws import Stream
from populace.core.errors import PopulaceError
from populace.core.records import DEFAULT_ROLE
from populace.models.protocol import Fence
from populace.models.scripted.gateway import answer_writer
from populace.monitoring.pace import counted
from populace.monitoring.progress import money
from populace.settings import Settings

_MOST: Final = 20
"""How many of a pilot's agents are looked at."""


class ProbesExpected(msgspec.Struct, frozen=True):
    """What surveys are expected to come to: asks, tokens and money, of which the last two go from `low` to `high`.

    `surveys` counts them. Tokens are estimates by length; repairs are not in them.
    """

    surveys: int
    asks: int
    tokens_in: int
    tokens_out_low: int
    tokens_out_high: int
    usd_low: float
    usd_high: float

    def text(self) -> str:
        """It in a line."""
        return (
            f"Probes, apart from the run: {counted(self.surveys, 'survey')}, {counted(self.asks, 'ask')}, about "
            f"{self.tokens_in:,} tokens in and {self.tokens_out_low:,} to {self.tokens_out_high:,} out, "
            f"{money(self.usd_low)} to {money(self.usd_high)}."
        )


class Sizing:
    """Looks at a pilot's agents as it ends, and says how long what a survey asks of one is.

    A pilot whose agents cannot be asked says nothing of it.
    """

    def __init__(self, society: Society, settings: Settings, last: int, ticks: int) -> None:
        self.base_url: str | None = None
        self.fence: Fence | None = None
        self.plans = declared(society, settings, lambda _: None, ticks)
        self.drafts: dict[str, list[Draft]] = {}
        self._prober = Prober(society, settings, Path(), "")
        self._last = last

    def due(self, tick: int) -> bool:
        """At the pilot's end."""
        return tick == self._last

    async def at(self, transport: Transport, tick: int) -> None:
        """Look."""
        for one in self.plans:
            there = await transport.present()
            of = one.survey.type
            ids = np.concatenate([found for name, found in there.items() if of in (None, name)])[:_MOST]
            try:
                standing = await look(transport, tick, ids.tolist(), None, self._prober.settings.seed)
                self.drafts[one.name] = [put.draft for put in self._prober.drafted(one, standing)]
            except PopulaceError:
                continue

    def expected(self, settings: Settings, agents: int, counts: dict[str, int]) -> ProbesExpected | None:
        """What the surveys of the whole run come to, of so many agents; None where there are none."""
        sums = [_expected(one, self.drafts.get(one.name, ()), settings, agents, counts) for one in self.plans]
        if not sums:
            return None
        asks, tokens_in, low, high = (sum(one[at] for one in sums) for at in range(4))
        usd_low, usd_high = (sum(one[at] for one in sums) for at in (4, 5))
        return ProbesExpected(len(sums), int(asks), int(tokens_in), int(low), int(high), usd_low, usd_high)


def _expected(
    one: Planned, drafts: Sequence[Draft], settings: Settings, agents: int, counts: dict[str, int]
) -> tuple[float, float, float, float, float, float]:
    survey = one.survey
    there = agents if survey.type is None else counts.get(survey.type, agents)
    if survey.sample is None:
        asked = there
    elif isinstance(survey.sample, float):
        asked = max(1, round(survey.sample * there))
    else:
        asked = min(there, survey.sample if isinstance(survey.sample, int) else len(survey.sample))
    looked_at = len({draft.agent for draft in drafts})
    if not looked_at:
        return (0.0,) * 6
    asks = asked * len(survey.at) * len(drafts) / looked_at
    own = settings.of_role(drafts[0].role or DEFAULT_ROLE)
    each_in = fmean(estimate_tokens("".join(text for _, text in draft.messages)) for draft in drafts)
    each_out = fmean(_least(draft) for draft in drafts)
    rate = rate_of(own, direct=True)
    usd_in, usd_out = rate.pico_usd_in / PICO_USD, rate.pico_usd_out / PICO_USD
    tokens_in, low, high = asks * each_in, asks * each_out, asks * max(each_out, own.model.max_tokens)
    return asks, tokens_in, low, high, tokens_in * usd_in + low * usd_out, tokens_in * usd_in + high * usd_out


def _least(draft: Draft) -> float:
    """How many tokens the shortest answers of this kind take: as the scripted model would write one."""
    if draft.facts:  # rules answer
        return 0.0
    if draft.spec.kind == "choice":
        return fmean(estimate_tokens(f'{{"label":"{label}"}}') for label in draft.spec.labels)
    return estimate_tokens(answer_writer(draft.spec)(Stream(0, draft.agent, 0, "estimate")))
