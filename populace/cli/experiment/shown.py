"""What a person sees of an experiment that is conducted, and what a signal does to it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from populace.core.errors import Interrupted

if TYPE_CHECKING:
    from populace.experiments.progress import Silent
    from populace.runs.stop import Stop


@contextmanager
def conducted(stream: TextIO, *, quiet: bool) -> Iterator[tuple[Silent, Stop]]:
    """A display on `stream`, and what ends the experiment: SIGINT and SIGTERM have its runs saved, and it can go on."""
    from populace.experiments.progress import choose_display
    from populace.runs.stop import Stop

    display, stop = choose_display(stream, quiet=quiet), Stop()
    before = signal.signal(signal.SIGTERM, lambda *_: stop())
    try:
        yield display, stop
    except KeyboardInterrupt:
        raise Interrupted("the experiment was interrupted; what its runs have committed is saved") from None
    finally:
        signal.signal(signal.SIGTERM, before)
        display.close()
