"""The order in which what was sent in a tick takes effect: places in an inbox, reading, and actions on a part.

In a run of trace version 2 the order is fair: senders stand in the order of a number that each of them draws anew for
every tick and every receiver or part, and what one sender sent in the order in which it was sent. So no id has the
better place, and the order of some messages is the same whichever others there are. What the world itself sends (its
parts' messages and levers', sender -1) stands first, in the order in which it was sent: it competes with nobody.

In a run of version 1 the order is (sender, nth).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from populace.core.draws import WORLD, Draws, word_of, words

_PURPOSE: Final = "populace.order"
_MANY: Final = 1000

Int32 = NDArray[np.int32]
Places = NDArray[np.intp]


def total_order(receiver: Int32, sender: Int32, nth: Int32) -> Places:
    """The permutation that sorts by (receiver, sender, nth); equal to `np.lexsort((nth, sender, receiver))`."""
    return _sort(receiver, sender.astype(np.int64) + 2, sender, nth)


def fair_order(seed: int, tick: int, receiver: Int32, sender: Int32, nth: Int32) -> Places:
    """The permutation that sorts by receiver, then fairly; `tick` is the tick in which the messages were sent."""
    if not len(sender):
        return np.empty(0, np.intp)
    lot = _lots(words(seed, tick, _PURPOSE, sender, receiver), sender)
    return _sort(receiver, lot, sender, nth)


def fair_lots(seed: int, tick: int) -> Callable[[int, int], int]:
    """Gives for a sender, an agent, and a receiver the number by which `fair_order` sorts senders."""
    word = word_of(seed, tick, _PURPOSE)
    return lambda sender, receiver: (word(sender, receiver) >> 33) + 1


def fair_actions(draw: Draws, parts: Sequence[str], sender: Int32, nth: Int32) -> Places:
    """The permutation that puts actions on the same part together, and these in the fair order of the tick.

    `draw` are the world's draws in the tick; `parts` names the part that each action is on.
    """
    names = sorted(set(parts))
    number = {name: at for at, name in enumerate(names)}
    part = np.fromiter((number[name] for name in parts), np.int32, len(parts))
    return fair_places(draw, names, part, sender, nth)


def fair_places(draw: Draws, names: Sequence[str], part: Int32, sender: Int32, nth: Int32) -> Places:
    """`fair_actions`, with the part of each action by its place among `names`, which are sorted."""
    lot = np.empty(len(part), np.int64)
    for at, name in enumerate(names):
        mine = slice(None) if len(names) == 1 else part == at
        lot[mine] = _lots(draw.words(f"{_PURPOSE}/{name}", sender[mine]), sender[mine])
    return _sort(part, lot, sender, nth)


def _lots(drawn: NDArray[np.uint64], sender: Int32) -> NDArray[np.int64]:
    """The drawn words as 1 to 2**31, and 0 for the world."""
    lot = (drawn >> np.uint64(33)).astype(np.int64) + 1
    lot[sender == WORLD] = 0
    return lot


def _sort(group: Int32, lot: NDArray[np.int64], sender: Int32, nth: Int32) -> Places:
    """The permutation that sorts by (group, lot, sender, nth), for lots below 2**32.

    One stable sort of a combined 64-bit key is faster than a sort by four, and enough wherever those of one key stand
    in the order (sender, nth) already, as they do in frames that came in order.
    """
    key = (group.astype(np.int64) << 32) | lot
    bits = len(key).bit_length()
    if len(key) > _MANY and key.min() >= 0 and int(key.max()) < 2**32:
        # Of one group: two stable sorts by 16 bits, which NumPy does by counting, are faster still.
        order = np.argsort((key & 0xFFFF).astype(np.uint16), kind="stable")
        order = order[np.argsort((key >> 16).astype(np.uint16)[order], kind="stable")]
        key = key[order]
    elif len(key) > _MANY and key.min() >= 0 and int(key.max()).bit_length() + bits < 64:
        # A row's place in the lowest bits makes the sort stable, and a sort of numbers is several times an argsort.
        key <<= bits
        key |= np.arange(len(key))
        key.sort()
        order = key & ((1 << bits) - 1)
        key >>= bits
    else:
        order = np.argsort(key, kind="stable")
        key = key[order]
    tied = key[1:] == key[:-1]
    if not tied.any():
        return order
    by, places = sender[order], nth[order]
    if (tied & ((np.diff(by) < 0) | ((np.diff(by) == 0) & (np.diff(places) < 0)))).any():
        return np.lexsort((nth, sender, lot, group))
    return order
