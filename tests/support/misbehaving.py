"""The fake endpoint as tests of the client use it: answers that are none of the placebo's, and all that it does wrong.

```python
with Misbehaving(plan=[status(500), status(429, retry_after="1"), OK]) as server:
    client = ...(base_url=server.base_url)      # http://127.0.0.1:<free port>/v1
    ...
    server.seen        # every request: when, which path, which header names, what body
    server.billed      # what a provider would have charged for
    server.invented    # what the model behind it said, before anything was done to it
```

Answers are drawn from the request's own content (model, messages, schema, seed) and satisfy the schema that came with
it, by other code than that of the product.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from aiohttp import web

from populace.testing.acts import (
    BOMB,
    CLOSING,
    CUT,
    DRIP,
    DROP,
    HANG,
    MALFORMED,
    NO_QUOTA,
    OK,
    REFUSE,
    TO_ITSELF,
    UNSCHEMATIC,
    WRONG_TYPE,
    Act,
    Billed,
    Plan,
    RateLimit,
    Seen,
    http_date,
    redirect,
    slow,
    status,
)
from populace.testing.endpoint import Asked, FakeEndpoint
from support.misbehaving_answers import invent

__all__ = [
    "BOMB",
    "CLOSING",
    "CUT",
    "DRIP",
    "DROP",
    "HANG",
    "MALFORMED",
    "NO_QUOTA",
    "OK",
    "REFUSE",
    "TO_ITSELF",
    "UNSCHEMATIC",
    "WRONG_TYPE",
    "Act",
    "Billed",
    "Holding",
    "Misbehaving",
    "Plan",
    "RateLimit",
    "Seen",
    "http_date",
    "redirect",
    "slow",
    "status",
]


class Misbehaving(FakeEndpoint):
    """The fake endpoint; its plan comes first."""

    def __init__(self, plan: Plan = (), **options: Any) -> None:
        super().__init__(_invented, plan=plan, **options)


class Holding(Misbehaving):
    """Keeps what it says to a request back until `until` allows it: in flight is what is to be, on any machine."""

    def __init__(self, until: Callable[[Seen], bool], plan: Plan = (), **options: Any) -> None:
        super().__init__(plan, **options)
        self.until = until

    async def _respond(self, request: web.Request, seen: Seen) -> web.StreamResponse:
        while not self.until(seen):
            await asyncio.sleep(0.01)
        return await super()._respond(request, seen)


def _invented(asked: Asked) -> str:
    body = asked.body
    prompt = body.get("messages", asked.text)
    content = json.dumps([asked.model, prompt, asked.schema, body.get("seed")], sort_keys=True)
    return invent(asked.schema, blake2b(content.encode()).digest())
