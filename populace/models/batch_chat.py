"""What a client and its batches tell each other. Data only."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from populace.models.dispatch.lanes import Lane
from populace.models.dispatch.retry import Pending
from populace.models.endings import Ending


class Chat(NamedTuple):
    """What a client does with an ask whose chat goes in a batch.

    `write` gives the request's body, `begun` notes that it was put, `read` reads the body of a 200, `done` is told
    how it ended. `stop` and `fail` are told why no further call will be made; `label` is the model that is asked.
    """

    write: Callable[[Pending], bytes]
    begun: Callable[[Pending], None]
    read: Callable[[Pending, bytes], Ending]
    done: Callable[[Pending, Ending, Lane, bool], None]
    stop: Callable[[str, str], None]
    fail: Callable[[Exception], None]
    label: Callable[[Pending], str]


class Times(NamedTuple):
    """How long, in seconds, a call may take whose fate is looked for, and how long an endpoint may not answer."""

    call_s: float
    outage_s: float
