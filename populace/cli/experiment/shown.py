"""What a person sees of an experiment that is conducted, and what a signal does to it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from populace.core.errors import Interrupted, PopulaceError

if TYPE_CHECKING:
    from populace.experiments.progress import Silent
    from populace.runs.stop import Stop


@contextmanager
def conducted(stream: TextIO, *, quiet: bool, again: str = "") -> Iterator[tuple[Silent, Stop]]:
    """A display on `stream`, and what ends the experiment: SIGINT and SIGTERM have its runs saved, and it can go on.

    `again` is the command that goes on with it, where that is not `populace resume`.
    """
    from populace.experiments.ending import leading_on
    from populace.experiments.progress import choose_display
    from populace.runs.stop import Stop

    display, stop = choose_display(stream, quiet=quiet), Stop()
    before = signal.signal(signal.SIGTERM, lambda *_: stop())
    try:
        yield display, stop
    except KeyboardInterrupt:
        ended = Interrupted("the experiment was interrupted; what its runs have committed is saved")
        raise (leading_on(ended, again) if again else ended) from None
    except PopulaceError as error:
        raise leading_on(error, again) if again else error  # noqa: B904  # the same error
    finally:
        signal.signal(signal.SIGTERM, before)
        display.close()
