"""Hands each ask to the gateway of its model role."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from populace.core.records import DEFAULT_ROLE, Ask
from populace.models.protocol import Deliver, Gateway, Pressure


class ByRole:
    """A gateway over those of several roles. `of` says which of `inner` a role's asks go to.

    Those of roles that do not stand there go where the default role's do, or else to the first.
    """

    def __init__(self, inner: Sequence[Gateway], of: Mapping[str, int]) -> None:
        self.inner = tuple(inner)
        self._of = dict(of)
        self._default = self._of.get(DEFAULT_ROLE, 0)

    async def open(self) -> None:
        """Open all of them."""
        for one in self.inner:
            await one.open()

    @property
    def failure(self) -> Exception | None:
        """The first one's reason why no further ask of its roles can succeed."""
        return next((one.failure for one in self.inner if one.failure is not None), None)

    def pressure(self) -> Pressure:
        """What all have on their hands together."""
        together = Pressure()
        for one in self.inner:
            together.add(one.pressure())
        return together

    def offer(self, asks: Sequence[Ask], deliver: Deliver) -> None:
        """Part the asks by role, and pass them on."""
        parts: dict[int, list[Ask]] = {}
        for ask in asks:
            parts.setdefault(self._of.get(ask.model_role, self._default), []).append(ask)
        for index, part in parts.items():
            self.inner[index].offer(part, deliver)

    def wind_down(self) -> None:
        """Have none begin another call."""
        for one in self.inner:
            one.wind_down()

    def abort(self) -> None:
        """Break off what is in flight anywhere."""
        for one in self.inner:
            one.abort()

    async def close(self) -> None:
        """Close all of them."""
        await asyncio.gather(*(one.close() for one in self.inner))
