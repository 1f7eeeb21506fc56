"""Calls of a run's actors over Ray: what they give, how those that fail are named, and a shard's way to the account."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import ray

from populace.budget.service import RemoteLink
from populace.core.errors import ActorLost, PopulaceError, TransportError

QUOTA_S: Final = 10.0
"""How long an exchange with the account may take before it is sent again."""


THE_WORLD: Final = "the world"
THE_QUOTA: Final = "the quota"


def shard_name(index: int) -> str:
    """A shard, as errors name it."""
    return f"shard {index}"


async def result(reference: Any, name: str) -> Any:
    """What a call of `name` gave. An error of populace's own comes out as itself; a lost actor as ActorLost."""
    try:
        return await reference
    except ray.exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, PopulaceError):
            raise cause from None
        if isinstance(cause, ray.exceptions.RayError) and not isinstance(cause, ray.exceptions.RayTaskError):
            raise ActorLost([name], first_line(cause)) from error
        raise TransportError(f"{name} failed: {cause!r}\n{error}") from error
    except ray.exceptions.RayError as error:
        raise ActorLost([name], first_line(error)) from error


def first_line(error: Exception) -> str:
    """What Ray says in its first lines; the rest is its own troubleshooting."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:500] or type(error).__name__


def link_to(quota: Any) -> RemoteLink:
    """A shard's way to the `QuotaActor`."""

    async def call(want: bytes) -> bytes:
        try:
            async with asyncio.timeout(QUOTA_S):
                lease: bytes = await quota.exchange.remote(want)
                return lease
        except (ray.exceptions.RayTaskError, ray.exceptions.ActorDiedError) as error:
            raise ActorLost([THE_QUOTA], first_line(error)) from error
        except ray.exceptions.RayError as error:
            raise OSError(f"the account of the run's limits does not answer: {error}") from error

    return RemoteLink(call)
