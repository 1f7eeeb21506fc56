"""A process that plays a run, and its memory: when the collector runs, and what goes back to the machine. A shell."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SELDOM: Final = (200_000, 20, 20)
"""The collector's thresholds while a run goes on."""
FEW: Final = 10_000
"""Of fewer agents there is nothing to give back that is worth a look through all that the process holds."""
_FROZEN_BY_PYTHON: Final = gc.get_freeze_count()


def spare_what_is_loaded() -> None:
    """Never look for garbage in what a process of a run has loaded so far, which is next to none of it."""
    gc.freeze()


def tune_collector() -> None:
    """Have Python's cyclic garbage collector run seldom, and never over what is there now.

    For processes that belong to a run. Turns make few cycles, and a young collection walks every turn that is open:
    with thousands open, that costs more than the turns do.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*SELDOM)


def let_go(agents: int) -> None:
    """Give back to the machine what building a run of so many agents left behind, unless they are few.

    glibc keeps what is freed between what is not: of a large network and its agents as much as they take.
    """
    if agents < FEW:
        return
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None:
        trim(0)


@contextmanager
def tuned_collector() -> Iterator[None]:
    """The same for as long as a run lasts, in a process that has other work too.

    What was there before is not looked through, however much it is: each run sees to what it leaves behind itself, as
    it ends. Where the process has frozen what it holds, nothing is frozen beside it: Python would thaw both together.
    """
    before, frozen = gc.get_threshold(), gc.get_freeze_count() > _FROZEN_BY_PYTHON
    if not frozen:
        gc.freeze()
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.collect()
        if not frozen:
            gc.unfreeze()
        gc.set_threshold(*before)
